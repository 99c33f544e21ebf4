import re

import pytest


@pytest.mark.slow
def test_both_sides_are_measured(run_tool, shapes):
    result = run_tool(
        'waiting', '--data', shapes, '--img-size', 64, '--batch-size', 2, '--workers', 0, '--cache-gb', 0.1,
        '--iterations', 2, '--runs', 1, '--device', 'cpu',
        '--cfg-options', 'model.widen_factor=0.0625', 'model.deepen_factor=0.33',
    )  # fmt: skip
    assert result.code == 0, result.err
    for side in ('workers', 'device'):
        assert re.search(
            rf'^drawn by the {side}: [\d.]+ images/s, [\d.]+% of the time waiting', result.out, re.MULTILINE
        )


def test_a_fault_is_one_sentence(run_tool, tmp_path):
    result = run_tool('waiting', '--data', tmp_path / 'gone')
    assert (result.code, result.err.startswith(f'error: {tmp_path}/gone does not exist')) == (1, True)
