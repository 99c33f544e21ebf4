"""The file that stores a comparison."""

import json

import pytest

from mmcnn.compare.api import write
from mmcnn.compare.results import OLD_ENTRIES, CandidateResult, Comparison, Cost, PairResult, RunResult
from mmcnn.errors import DataError


def comparison():
    runs = [
        RunResult(0, 5, 'a/seed_0', None, {'bbox_mAP': 0.25, 'bbox_mAP_s': None}, [{'epoch': 1, 'AP': 0.25}], [],
                  9.5, 'ab', 'mmcnn train', 'a/seed_0/detections.npz'),
        RunResult(1, 6, 'a/seed_1', 'killed'),
    ]  # fmt: skip
    candidate = CandidateResult('a', 'a', 'scratch', 0.5, {'latency': Cost(None, 'ms', 'not')}, {'epochs': 3}, runs)
    pair = PairResult('a', 'b', 0.1, None, None, 1, None, None, None, 'one seed cannot tell')
    return Comparison('t', 'c', '2026-11-27', {'torch': '2'}, {'num_val': 3}, [candidate], [pair], ['m'], ['n'])


def test_what_is_stored_is_read_again():
    assert Comparison.from_json(comparison().as_json()) == comparison()


def test_the_file_with_the_entries_of_release_0_1_is_read_too(tmp_path):
    write(comparison(), tmp_path)
    stored = (tmp_path / 'comparison.json').read_text()
    assert json.loads(stored).keys() >= {*OLD_ENTRIES}
    assert Comparison.from_json(stored) == comparison()


@pytest.mark.parametrize(
    'text', ['', '[]', '{}', '{"format": "mmcnn comparison 1"}', '{"format": "mmcnn comparison 2"}']
)
def test_what_is_no_comparison(text):
    with pytest.raises(DataError, match='comparison'):
        Comparison.from_json(text)


def test_numbers_that_json_has_not_are_refused():
    content = json.loads(comparison().as_json())
    content['candidates'][0]['runs'][0]['seconds'] = float('nan')
    with pytest.raises(ValueError, match='not JSON compliant'):
        Comparison.from_json(json.dumps(content)).as_json()
