import re
import sys

import pytest

TINY = ['--img-size', 64, '--batch-size', 2, '--workers', 0, '--cache-gb', 0.1]


def test_pipeline(run_tool, shapes):
    result = run_tool('benchmark', 'pipeline', '--data', shapes, *TINY, '--samples', 2, '--runs', 1)
    assert result.code == 0, result.err
    rates = re.findall(r'^(.+?) +[\d.]+ images/s .* ([\d.]+) x MMDetection$', result.out, re.MULTILINE)
    names = 'plain decode', 'MMDetection', 'mmcnn', 'mmcnn, cached', 'mmcnn, cached, for the device'
    assert [name for name, _ in rates] == list(names)
    assert dict(rates)['MMDetection'] == '1.00'


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_slope(run_tool, shapes):
    result = run_tool('benchmark', 'slope', '--data', shapes, *TINY, '--batches', 200)
    assert result.code == 0, result.err
    assert re.search(r'200 batches: \d+ MB after 50, .* slope of the second half [+-][\d.]+ MB for 1,000', result.out)


def test_waiting(run_tool, shapes):
    result = run_tool(
        'benchmark', 'waiting', '--data', shapes, *TINY, '--samples', 2, '--runs', 1, '--device', 'cpu',
        '--cfg-options', 'model.widen_factor=0.0625', 'model.deepen_factor=0.33',
    )  # fmt: skip
    assert result.code == 0, result.err
    for side in ('workers', 'device'):
        assert re.search(
            rf'^drawn by the {side}: [\d.]+ images/s, [\d.]+% of the time waiting', result.out, re.MULTILINE
        )
