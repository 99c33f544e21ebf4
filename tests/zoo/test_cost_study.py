"""The cost study, and its numbers in docs/costs.md."""

from pathlib import Path

from mmcnn.zoo import cost_study

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'costs.md'


def test_docs_are_current():
    block = DOCS.read_text(encoding='utf-8').partition('<!-- costs -->')[2].partition('<!-- end of costs -->')[0]
    assert block.strip() == cost_study.report(), 'run make table'


def test_pairs_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(cost_study, 'PAIRS', (('darknet53', 'cspdarknet53', 'backbone'), ('darknet53', 'x', 'whole')))
    report = cost_study.report()
    assert 'Not in the zoo, so left out: darknet53 and x.' in report
    assert '| `darknet53`, `cspdarknet53` | backbone | 416 | 24.52 G, 17.25 G | 70.4% |' in report
