"""A comparison as Markdown, and the rows for programs that read release 0.1's format."""

from mmcnn.compare.results import CandidateResult, Comparison, Cost, PairResult, RunResult
from mmcnn.compare.table import as_markdown, old_rows


def run(seed, ap, ap50, seconds, failure=None):
    metrics = {} if failure else dict(bbox_mAP=ap, bbox_mAP_50=ap50)
    return RunResult(seed, None, f'a/seed_{seed}', failure, metrics, seconds=seconds)


def candidate(name, runs, **costs):
    return CandidateResult(
        name, name, 'scratch', 1.0, {key: Cost(value, '', 'how') for key, value in costs.items()}, {}, runs
    )


def comparison(*candidates, pairs=()):
    return Comparison('yolo --epochs 3', 'mmcnn compare yolo', '2026-11-27', {}, {}, [*candidates], [*pairs])


DARKNET = candidate(
    'darknet53', [run(0, 0.31, 0.5, 100), run(1, 0.33, 0.6, 101)],
    parameters=61_234_567, multiply_adds=4e9, latency=40.04,
)  # fmt: skip
FAILED = run(1, 0, 0, 9, 'CUDA out of memory')
VGG = candidate('vgg16', [run(0, 0.2, 0.4, 3725), FAILED], parameters=20_000_000, latency=12.25)
FINISHED = candidate('vgg16', [run(0, 0.2, 0.4, 3725)])
XCEPTION = candidate('xception', [run(0, 0, 0, 0, 'no'), run(1, 0, 0, 0, 'no more')])
APART = PairResult('darknet53', 'vgg16', 0.12, 0.01, 0.23, 2, 0.001, 0.001, None, 'darknet53 > vgg16 (...)')
NOT = PairResult('darknet53', 'vgg16', 0.12, -0.01, 0.25, 2, 0.001, 0.001, None, 'darknet53 and vgg16 are not (...)')


def test_markdown_by_hand():
    assert as_markdown(comparison(DARKNET, VGG, XCEPTION)).splitlines() == [
        'yolo --epochs 3.',
        '',
        '| backbone | AP | AP50 | parameters | multiply-adds | latency, ms | training time |',
        '|---|--:|--:|--:|--:|--:|--:|',
        # The standard deviation of a sample of two is half the difference times the root of 2.
        '| `darknet53` | 0.320 ± 0.014 | 0.550 ± 0.071 | 61,234,567 | 4,000,000,000 | 40.0 | 1 min 40 s |',
        '| `vgg16` | 0.200 | 0.400 | 20,000,000 | - | 12.2 | 1 h 02 min |',
        '| `xception` | failed | failed | failed | failed | failed | failed |',
        '',
        '- `vgg16`, seed 1: failed: CUDA out of memory',
        '- `xception`, seed 0: failed: no',
        '- `xception`, seed 1: failed: no more',
    ]  # fmt: skip


def test_verdicts_stand_below_the_table():
    lines = as_markdown(comparison(DARKNET, FINISHED, pairs=[APART, NOT])).splitlines()
    assert lines[-3:] == ['1 of 2 pairs are distinguishable, 1 are not:', '', '- darknet53 > vgg16 (...)']
    lines = as_markdown(comparison(DARKNET, FINISHED, pairs=[NOT])).splitlines()
    assert lines[-3:] == ['0 of 1 pairs are distinguishable.', '', '- darknet53 and vgg16 are not (...)']
    lines = as_markdown(comparison(DARKNET, FINISHED, pairs=[APART] * 12)).splitlines()
    assert lines[-1] == '- 2 more are in comparison.html'


def test_rows_of_release_0_1():
    rows = old_rows(comparison(DARKNET, VGG, XCEPTION))['rows']
    assert [row['AP'] for row in rows] == [[0.31, 0.33], [0.2], []]
    assert [row['latency_ms'] for row in rows] == [40.04, 12.25, None]
    assert rows[1]['failures'] == {1: 'CUDA out of memory'}
    assert rows[0]['parameters'] == 61_234_567


def test_where_there_was_nothing_to_measure():
    lines = as_markdown(comparison(candidate('vgg16', [run(0, None, None, 5)], parameters=1, latency=1.0))).splitlines()
    assert lines[4] == '| `vgg16` | - | - | 1 | - | 1.0 | 5 s |'
    assert lines[-1] == 'Nothing to measure: the validation images have no objects.'
