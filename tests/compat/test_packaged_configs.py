"""Configs by package and name, in ``_base_`` and in MMEngine's functions, regardless of the import order."""

import importlib.util
from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.utils import get_installed_path, is_installed

from mmcnn.compat import packaged_configs
from mmcnn.compat.packaged_configs import configs_below, folder_below, is_packaged, packaged_config
from mmcnn.config.files import config_folder
from mmcnn.errors import UsageError

MMDET = Path(mmdet.__file__).parent
RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco'


@pytest.fixture
def based_on(tmp_path):
    """``based_on(*bases, text='')``: the path of a user's config that inherits from others."""

    def write(*bases, text=''):
        path = tmp_path / 'mine.py'
        path.write_text(f'_base_ = {list(bases) if len(bases) > 1 else bases[0]!r}\n{text}')
        return str(path)

    return write


@pytest.mark.parametrize('name', [RETINANET, f'{RETINANET}.py', RETINANET.replace('::', '::configs/')])
def test_a_config_of_mmdetection(name):
    path = packaged_config(name)
    assert path == MMDET / '.mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py' and path.is_file()


def test_a_config_of_ours_from_a_checkout():
    assert packaged_config('mmcnn::yolov5_s') == config_folder() / 'yolov5_s.py'
    assert packaged_config('mmcnn::_base_/models/yolov5.py') == config_folder() / '_base_/models/yolov5.py'


def test_a_package_that_is_installed_has_its_own_inside(tmp_path, monkeypatch):
    package = tmp_path / 'somebodys'
    inside, beside = package / '.mim' / 'configs', tmp_path / 'configs'
    for folder in (inside / 'a', beside):
        folder.mkdir(parents=True)
    (package / '__init__.py').write_text('raise RuntimeError("it is not to be imported")\n')
    (beside / 'outer.py').write_text('x = 1\n')
    (inside / 'a' / 'inner.py').write_text('x = 2\n')
    (inside / 'more.yaml').write_text('x: 3\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_config('somebodys::a/inner') == inside / 'a' / 'inner.py'
    assert packaged_config('somebodys::more.yaml') == inside / 'more.yaml'
    with pytest.raises(UsageError, match="somebodys has no config 'outer'; known: a/inner"):
        packaged_config('somebodys::outer')
    assert folder_below(tmp_path / 'another') == beside and configs_below(beside) == {'outer': beside / 'outer.py'}


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        (
            'mmdet::retinanet/retinanet_r50_fpn_1x_cocoo',
            "mmdet has no config .*_cocoo'; did you mean retinanet/retinanet",
        ),
        ('mmdet::retinanet_r50_fpn_1x_coco', 'did you mean retinanet/retinanet_r50_fpn_1x_coco[?]$'),
        ('mmdet::../../__init__', "mmdet has no config '../../__init__'"),
        ('mmcnn::yolov5_z', "mmcnn has no config 'yolov5_z'; did you mean .*yolov5_"),
        ('nowhere::x', "'nowhere::x': the package nowhere is not installed"),
        ('json::x', "'json::x': json has no configs in .*json"),
        ('mmdet::', "'mmdet::': use PACKAGE::NAME for the config of a package, such as mmcnn::yolov5_s"),
        ('a::b::c', "'a::b::c': use PACKAGE"),
        ('a.b::c', "'a.b::c': use PACKAGE"),
    ],
)
def test_what_is_none(name, words):
    with pytest.raises(UsageError, match=words):
        packaged_config(name)


def test_a_file_goes_before_a_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_packaged('mmcnn::yolov5_s') and not is_packaged('mmcnn://yolov5_s') and not is_packaged('yolov5_s')
    (tmp_path / 'mmcnn::yolov5_s').write_text('x = 1\n')
    assert not is_packaged('mmcnn::yolov5_s')


# ------------------------------------------------------------------------------------------------- MMEngine's Config


def test_bases_are_found_by_their_packages(based_on):
    cfg = Config.fromfile(based_on(f'{RETINANET}.py', text='model = dict(bbox_head=dict(num_classes=3))\n'))
    assert cfg.model.type == 'RetinaNet' and cfg.model.bbox_head.num_classes == 3
    assert cfg.model._scope_ == 'mmdet'  # as MMEngine documents
    cfg = Config.fromfile(based_on('mmcnn::yolov4_cspdarknet53_narrow', text='max_epochs = 3\n'))
    own = Config.fromfile(config_folder() / 'yolov4_cspdarknet53_narrow.py')
    assert cfg.max_epochs == 3 and cfg.model == own.model  # no scope, since bare names in it are MMDetection's
    several = based_on('mmdet::_base_/models/retinanet_r50_fpn.py', 'mmdet::_base_/default_runtime.py')
    assert Config.fromfile(several).default_scope == 'mmdet'


def test_files_are_still_found_by_their_paths(based_on, tmp_path):
    (tmp_path / 'base.py').write_text('x = 1\n')
    assert Config.fromfile(based_on('base.py')).x == 1
    assert Config.fromfile(based_on('./base.py', 'mmcnn::_base_/default_runtime')).x == 1


def test_a_base_that_is_not_there(based_on):
    with pytest.raises(UsageError, match="mmdet has no config 'retinanet/x'"):
        Config.fromfile(based_on('mmdet::retinanet/x'))


@pytest.mark.parametrize('first', ['mmcnn', 'mmengine.runner, mmengine.hub, mmcnn'])
def test_whichever_is_imported_first(first, based_on, python):
    path = based_on(f'{RETINANET}.py')
    code = f"""
import {first}
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.utils import get_installed_path
print(Config.fromfile({path!r}).model.type, get_config({RETINANET + '.py'!r}).model.type)
print(get_installed_path('mmdet').endswith('mmdet'))
"""
    assert python(code) == ('RetinaNet RetinaNet\nTrue', '')


# ----------------------------------------------------------------------------------------------- MMEngine's functions


@pytest.mark.skipif(importlib.util.find_spec('pkg_resources') is not None, reason='MMEngine has what it needs')
def test_mmengines_functions_work_without_pkg_resources():
    assert is_installed is packaged_configs.is_installed
    assert get_config(f'{RETINANET}.py').model.type == 'RetinaNet'


def test_functions():
    assert packaged_configs.is_installed('mmdet') and packaged_configs.is_installed('mmcv-lite')
    assert not packaged_configs.is_installed('mmseg')
    assert packaged_configs.get_installed_path('mmdet') == str(MMDET)
    assert packaged_configs.get_installed_path('mmcv-lite').endswith('mmcv')  # its package has another name
    with pytest.raises(ModuleNotFoundError, match='mmseg is not installed'):
        packaged_configs.get_installed_path('mmseg')


def test_functions_are_left_alone_where_pkg_resources_is(monkeypatch):
    holder = type(packaged_configs)('mmengine.hub.hub')
    holder.is_installed = before = object()
    monkeypatch.setitem(packaged_configs.sys.modules, 'mmengine.hub.hub', holder)
    with monkeypatch.context() as patch:
        patch.setattr(packaged_configs.importlib.util, 'find_spec', lambda name: object())
        packaged_configs.install_functions()
        assert holder.is_installed is before
        patch.setattr(packaged_configs.importlib.util, 'find_spec', lambda name: None)
        packaged_configs.install_functions()
    assert holder.is_installed is packaged_configs.is_installed


def test_it_is_installed_once():
    once = Config._get_cfg_path
    packaged_configs.install_names()
    assert Config._get_cfg_path is once
    assert get_installed_path is not None
