"""mmcnn run mmdet-tool: the arguments it passes on; finding the tools is tested with mmcnn/compat/mmdet_tools.py."""

import pytest

from mmcnn.errors import UsageError


def test_without_a_name_it_lists_them(run_command):
    lines = run_command('run', 'mmdet-tool').out.splitlines()
    assert {'test', 'analysis_tools/browse_dataset'} <= set(lines)


def test_options_after_the_name_are_the_tools_own(run_command):
    result = run_command(
        'run', 'mmdet-tool', 'print_config', 'mmcnn::yolov5_s', '--cfg-options', 'model.widen_factor=9'
    )
    assert result.code == 0 and 'widen_factor=9' in result.out


def test_help_after_the_name_is_the_tools_own(run_command, capsys):
    with pytest.raises(SystemExit):
        run_command('run', 'mmdet-tool', 'print_config', '--help')


def test_a_tool_without_mmdet_tool_before_it(run_command):
    with pytest.raises(UsageError, match=r"not 'test': use mmcnn run mmdet-tool test x\.py y\.pth --out z$"):
        run_command('run', 'test', 'x.py', 'y.pth', '--out', 'z')
