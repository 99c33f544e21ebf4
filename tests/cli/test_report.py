"""mmcnn report on the command line."""

import pytest

from mmcnn.errors import UsageError


def test_findings_are_printed_and_files_written(run_command, trained, tmp_path):
    result = run_command('report', trained.work_dir, '--out', tmp_path, '--images', '1', '--device', 'cpu')
    assert result.code == 0
    assert '- Val has ' in result.out and f'{tmp_path / "report.html"} and report.json' in result.out
    assert {'report.html', 'report.json'} <= {path.name for path in tmp_path.iterdir()}


def test_scores_are_shares(run_command, tmp_path):
    with pytest.raises(UsageError, match=r'score_thr'):
        run_command('report', tmp_path, '--score-thr', '1.5')
