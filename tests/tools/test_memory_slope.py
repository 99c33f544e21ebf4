import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

memory_slope = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'memory_slope.py')))


def test_a_leak_is_seen_and_flat_memory_is_flat():
    counts = np.arange(100, 2001, 100)
    flat = memory_slope.report(counts, np.full(20, 500e6))
    assert flat.startswith('2000 batches: 500 MB after 100, 500 MB after 1100, 500 MB at the end; the slope')
    assert flat.endswith('slope of the second half is +0.0 MB per 1,000 batches')
    leak = memory_slope.report(counts, 500e6 + counts * 30e3)
    assert leak.endswith('+30.0 MB per 1,000 batches')


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_readings_over_several_epochs():
    counts, sizes = memory_slope.measure(range(7), batches=20, every=5)
    assert counts.tolist() == [5, 10, 15, 20] and (sizes > 1e7).all()


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_the_program(run_tool, shapes):
    options = ['--img-size', 64, '--batch-size', 2, '--workers', 0, '--cache-gb', 0.1, '--batches', 200]
    result = run_tool('memory_slope', '--data', shapes, *options)
    assert result.code == 0, result.err
    assert re.search(
        r'200 batches: \d+ MB after 50, .* the slope of the second half is [+-][\d.]+ MB per 1,000', result.out
    )
