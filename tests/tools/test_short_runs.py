import re

import pytest


@pytest.mark.slow
def test_both_kinds_of_statistics_are_measured(run_tool, shapes):
    result = run_tool(
        'short_runs', '--data', shapes, '--img-size', 64, '--batch-size', 4, '--workers', 0, '--device', 'cpu',
        '--lengths', 1, 2, '--seeds', 1, '--cfg-options', 'model.backbone.widen_factor=0.25',
    )  # fmt: skip
    assert result.code == 0, result.err
    numbers = (
        r'AP 0\.\d+, AP50 0\.\d+; boxes per image with a score of at least 0\.25: [\d.]+, of at least 0\.99: '
        r'[\d.]+'
    )
    expected = [
        f'{epochs} epochs, seed 0: {2 * epochs} iterations, {kind} statistics: {numbers}'
        for epochs in (1, 2)
        for kind in ('running', 'measured')
    ]
    lines = result.out.splitlines()
    assert len(lines) == 4 and all(map(re.fullmatch, expected, lines)), result.out


def test_a_fault_is_one_sentence(run_tool, tmp_path):
    result = run_tool('short_runs', '--data', tmp_path / 'gone')
    assert (result.code, result.err.startswith(f'error: {tmp_path}/gone does not exist')) == (1, True)
