"""MMDetection's own tools: found by name, run with mmcnn imported."""

import sys

import pytest

from mmcnn.compat import mmdet_tools
from mmcnn.compat.mmdet_tools import find_tool, run_tool, tools
from mmcnn.errors import DependencyError, UsageError


@pytest.fixture
def own_tools(tmp_path, monkeypatch):
    """A MMDetection with tools of our own, inside of it: the folder of the tools."""
    folder = tmp_path / 'mmdet' / '.mim' / 'tools'
    (folder / 'deep' / 'deeper').mkdir(parents=True)
    monkeypatch.setattr(mmdet_tools, 'package_folder', lambda name: tmp_path / 'mmdet')
    return folder


def test_mmdetections_tools_are_there():
    assert {'test', 'train', 'analysis_tools/browse_dataset', 'model_converters/publish_model'} <= tools().keys()


@pytest.mark.parametrize(
    'name',
    ['browse_dataset', 'browse_dataset.py', 'analysis_tools/browse_dataset', 'tools/analysis_tools/browse_dataset.py'],
)
def test_a_tool_by_its_name_or_path(name):
    assert find_tool(name).as_posix().endswith('.mim/tools/analysis_tools/browse_dataset.py')


def test_of_several_the_outer_one_is_meant():
    assert find_tool('mot/browse_dataset').parent.name == 'mot'
    assert find_tool('test').parent.name == 'tools'


def test_a_tool_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"has no tool 'brows_dataset'; did you mean browse_dataset .*lists all \d+\)"):
        run_tool('brows_dataset', [])


def test_without_mmdetection_or_its_tools(tmp_path, monkeypatch):
    monkeypatch.setattr(mmdet_tools, 'package_folder', lambda name: None)
    with pytest.raises(DependencyError, match='MMDetection is not installed: pip install mmdet'):
        tools()
    monkeypatch.setattr(mmdet_tools, 'package_folder', lambda name: tmp_path / 'mmdet')
    with pytest.raises(DependencyError, match='has no tools: looked in'):
        tools()
    (tmp_path / 'tools').mkdir()  # a checkout
    (tmp_path / 'tools' / 'mine.py').touch()
    assert [*tools()] == ['mine']


def test_a_tool_runs_as_its_path_would(own_tools, capsys):
    (own_tools / 'deep' / 'beside.py').write_text('NAME = "beside"\n')
    (own_tools / 'deep' / 'mine.py').write_text(
        'import sys\nimport beside\nimport mmcv._ext\nprint(__name__, sys.argv, beside.NAME, mmcv._ext.nms.__name__)\n'
    )
    before = sys.argv, sys.path[:]
    run_tool('mine', ['x.py', '--help'])
    assert capsys.readouterr().out == f"__main__ ['{own_tools / 'deep' / 'mine.py'}', 'x.py', '--help'] beside nms\n"
    assert (sys.argv, sys.path) == before


def test_configs_of_packages_reach_a_tool_as_paths(own_tools, capsys):
    (own_tools / 'mine.py').write_text('import sys\nprint(*sys.argv[1:], sep="\\n")\n')
    run_tool('mine', ['mmdet::retinanet/retinanet_r50_fpn_1x_coco', 'mmcnn::yolov5_s', 'a.b=mmdet', 'http://a:1'])
    first, second, *others = capsys.readouterr().out.splitlines()
    assert first.endswith('/retinanet_r50_fpn_1x_coco.py') and second.endswith('configs/yolov5_s.py')
    assert others == ['a.b=mmdet', 'http://a:1']
    with pytest.raises(UsageError, match="mmdet has no config 'x'"):
        run_tool('mine', ['mmdet::x'])


def test_errors_and_exit_codes_of_a_tool_are_its_own(own_tools):
    (own_tools / 'ends.py').write_text('raise SystemExit(3)\n')
    with pytest.raises(SystemExit, match='3'):
        run_tool('ends', [])
    (own_tools / 'fails.py').write_text('raise AttributeError("no anchor_generator")\n')
    with pytest.raises(AttributeError, match='no anchor_generator'):
        run_tool('fails', [])


def test_anchors_of_our_heads_have_a_command_of_their_own(tmp_path):
    with pytest.raises(UsageError, match=r'reads model.bbox_head.anchor_generator, .*: mmcnn anchors proposes anchors'):
        run_tool('optimize_anchors', ['mmcnn::yolov5_s', '--device', 'cpu'])
