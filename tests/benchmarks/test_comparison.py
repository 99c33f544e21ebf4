import json

import pytest
from PIL import Image

from mmcnn.benchmarks import comparison
from mmcnn.benchmarks.comparison import Comparison, Ratio, Side, compare, median_interval
from mmcnn.errors import UsageError


def figures(values):
    values = iter(values)
    return lambda: next(values)


def three_sides():
    sides = [
        Side('ours', figures([100, 1, 3, 2])),
        Side('slow', figures([100, 8, 8, 8]), peer=True),
        Side('fast', figures([100, 2, 4, 4]), peer=True),
    ]
    return compare('vgg16', sides, 3)


def test_ratios_are_those_of_the_same_round_to_the_best_peer():
    found = three_sides()
    assert found.best_peer == 'fast'
    assert found.ratio('ours') == Ratio(0.5, 0.5, 0.75, None)
    assert found.ratio('slow') == Ratio(2, 2, 4, None)


def test_the_best_peer_of_rates_is_the_largest():
    found = Comparison('x', 'images/s', {'ours': [4.0], 'a': [2.0], 'b': [1.0]}, frozenset('ab'), more_is_better=True)
    assert found.best_peer == 'a'
    assert found.ratio('ours').median == 2


def test_without_a_peer_there_is_no_ratio(tmp_path):
    found = Comparison('x', 's', {'ours': [1.0, 2.0]})
    assert found.best_peer is None and found.ratio('ours') is None
    assert comparison.report([found]) == 'x                                ours       1.5 s (1 to 2)'
    with pytest.raises(UsageError, match='there is no peer for ratios to plot'):
        comparison.plot(tmp_path / 'x.png', 'title', [found])


def test_report():
    lines = comparison.report([three_sides()]).splitlines()
    assert [' '.join(line.split()) for line in lines] == [
        'vgg16 ours 2 s (1 to 3) 0.50 (0.50 to 0.75) x fast',
        'vgg16 slow 8 s (8 to 8) 2.00 (2.00 to 4.00) x fast',
        'vgg16 fast 4 s (2 to 4) the best peer',
        'Medians of 3 interleaved rounds; ratios are computed within each round, with smallest and largest.',
    ]


def test_the_interval_of_a_median_is_that_of_the_sign_test():
    """The extremes of 6 values cover the median with 1 - 2 / 2^6 = 0.969; of 10, the second and ninth with 0.979."""
    assert median_interval([5, 1, 2, 3, 4]) is None
    assert median_interval([6, 1, 2, 3, 4, 5]) == (1, 6)
    assert median_interval(range(10)) == (1, 8)


def test_json_has_all_that_the_report_says(tmp_path):
    path = tmp_path / 'new' / 'x.json'
    comparison.write_json(path, 'backbone', 'mmcnn benchmark backbone', [three_sides()])
    content = json.loads(path.read_text())
    assert (content['benchmark'], content['command']) == ('backbone', 'mmcnn benchmark backbone')
    assert {'processor', 'flags', 'cores', 'load', 'torch', 'date'} <= set(content['machine'])
    assert content['machine']['cores'] >= 1 and content['machine']['torch']
    (row,) = content['comparisons']
    assert (row['row'], row['best_peer'], row['unit']) == ('vgg16', 'fast', 's')
    assert row['sides']['ours'] == dict(
        figures=[1, 3, 2], median=2, peer=False, ratio=0.5, ratio_range=[0.5, 0.75], ratio_interval=None
    )


def test_plot(tmp_path):
    path = tmp_path / 'x.png'
    comparison.plot(path, 'backbones', [three_sides(), three_sides()])
    with Image.open(path) as image:
        assert image.width == 800 and len(image.convert('RGB').getcolors(2**20)) > 10


def test_small_ratios_have_digits():
    assert str(Ratio(0.0135, 0.0128, 0.0141, None)) == '0.0135 (0.0128 to 0.0141)'
    assert str(Ratio(0.954, 0.9, 1.01, (0.91, 1.0))) == '0.95 (0.91 to 1.00)'
