"""Configs in MMEngine's newer style are converted to the older one."""

import re

import pytest
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import FUNCTIONS
from torch import nn

from mmcnn.config.lazy_style import imported_bases, with_names
from mmcnn.config.load import load_config, set_backbone
from mmcnn.config.model import wire_model
from mmcnn.errors import UsageError
from mmcnn.models.wiring import wire
from tests.wired_models import retinanet

#: The modules that the types of the base are imported from.
MODULES = {
    'RetinaNet': 'mmdet.models.detectors',
    'ResNet': 'mmdet.models.backbones',
    'FPN': 'mmdet.models.necks',
    'RetinaHead': 'mmdet.models.dense_heads',
    'AnchorGenerator': 'mmdet.models.task_modules.prior_generators',
    'DetDataPreprocessor': 'mmdet.models.data_preprocessors',
}


@pytest.fixture
def plain():
    """A RetinaNet on ResNet-18 with all channels and strides set."""
    backbone = dict(type='ResNet', depth=18, out_indices=(1, 2, 3), frozen_stages=1)
    images = dict(type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3, bgr_to_rgb=True)
    return wire(retinanet(backbone=backbone, data_preprocessor=images)).to_dict()


@pytest.fixture
def lazy(plain, tmp_path):
    """Write a config that imports this model from another file, with classes as types: ``lazy(content)``."""
    classes = re.sub(r"'type': '(\w+)'", r"'type': \1", repr(plain))
    imports = '\n'.join(f'from {module} import {name}' for name, module in MODULES.items())
    (tmp_path / 'inner').mkdir()
    (tmp_path / 'inner' / 'base.py').write_text(f'{imports}\nmodel = {classes}\n')

    def write(content=''):
        head = 'from mmengine.config import read_base\nwith read_base():\n    from .inner.base import *\n'
        (tmp_path / 'own.py').write_text(f'{head}{content}\n')
        return tmp_path / 'own.py'

    return write


def test_types_have_the_names_that_they_are_registered_by(lazy, plain):
    cfg = load_config(lazy())
    assert cfg.model.to_dict() == plain and cfg.default_scope == 'mmdet' and cfg.filename.endswith('own.py')
    assert "type='RetinaNet'" in cfg.pretty_text and 'RetinaHead' not in cfg
    assert load_config(Config.fromfile(lazy())).model == cfg.model


def test_the_backbone_is_swapped_by_one_word(lazy, plain):
    said, cfg = [], load_config(lazy())
    set_backbone(cfg, 'mobilenetv2', {}, said.append)
    wire_model(cfg)
    assert cfg.model.neck.in_channels == [32, 96, 320] and said[0] == 'backbone: mobilenetv2 in place of ResNet'
    old = Config(dict(model=plain))
    set_backbone(old, 'mobilenetv2', {}, lambda line: None)
    wire_model(old)
    assert cfg.model == old.model


@pytest.mark.parametrize(
    'change',
    [
        "model.update(dict(backbone=dict(type='mmcnn.mobilenetv2')))",
        "model.update(dict(backbone=dict(_delete_=True, type='mmcnn.mobilenetv2')))",  # MMEngine keeps _delete_
        "model.backbone = dict(type='mmcnn.mobilenetv2')",
        "model.merge(dict(backbone=dict(_delete_=True, type='mmcnn.mobilenetv2')))",
    ],
)
def test_a_backbone_in_the_config_is_adopted(lazy, change):
    said = []
    cfg = load_config(lazy(change), say=said.append)
    assert said[0] == 'backbone: mobilenetv2 in place of ResNet, which the config inherits'
    assert cfg.model.backbone == dict(type='mmcnn.mobilenetv2', out_indices=(3, 4, 5))
    assert cfg.model.neck.in_channels == [32, 96, 320]


def test_numbers_of_its_own_are_checked(lazy):
    cfg = load_config(lazy("model.backbone = dict(type='mmcnn.mobilenetv2')\nmodel.neck.in_channels = [1, 2, 3]"))
    with pytest.raises(UsageError, match=r'neck\.in_channels=\[1, 2, 3\] does not match mmcnn\.mobilenetv2'):
        wire_model(cfg)


def test_classes_of_ours_and_of_nobody():
    from mmcnn.models.necks import YOLOv4PAN

    class Own(nn.Module):
        pass

    cfg = with_names(Config(dict(a=[dict(type=YOLOv4PAN), dict(type=Own)], b=(dict(type=nn.Conv2d), 1))))
    assert cfg.a[0].type == 'mmcnn.YOLOv4PAN' and cfg.a[1].type == f'{__name__}.{Own.__qualname__}'
    assert cfg.b == (dict(type='Conv2d'), 1)


def test_functions_that_are_types_have_names_as_well():
    """A run starts by dumping its config, which fails on functions without names."""

    def own(batch):
        return batch

    cfg = with_names(Config(dict(a=dict(collate_fn=dict(type=default_collate)), b=dict(type=own), c=own)))
    assert cfg.a.collate_fn.type == 'default_collate' and FUNCTIONS.get('default_collate') is default_collate
    assert cfg.b.type == f'{__name__}.{own.__qualname__}' and cfg.c is own
    cfg.pop('c')
    assert "collate_fn=dict(type='default_collate')" in cfg.pretty_text


def test_a_config_without_classes_is_left_alone():
    cfg = Config(dict(model=dict(type='mmcnn.wired'), default_scope=None))
    assert with_names(cfg) is cfg


def test_bases_are_found_where_mmengine_finds_them(tmp_path):
    path = tmp_path / 'a' / 'own.py'
    path.parent.mkdir()
    path.write_text(
        'with read_base():\n    from .b import *\n    from ..c.d import x\n    from mmcnn.models.layers import y\n'
    )
    import mmcnn

    package = mmcnn.__path__[0]
    assert [str(each) for each in imported_bases(path)] == [
        str(tmp_path / 'a' / 'b.py'), str(tmp_path / 'c' / 'd.py'), f'{package}/models/layers.py',
    ]  # fmt: skip
    path.write_text("_base_ = 'x.py'\n")
    assert imported_bases(path) == []


def test_configs_that_the_package_lacks_are_refused_by_name(tmp_path):
    (tmp_path / 'own.py').write_text(
        'from mmengine.config import read_base\nwith read_base():\n'
        '    from mmdet.configs.retinanet.retinanet_r50_fpn_1x_coco import *\n'
    )
    with pytest.raises(UsageError, match=r"only a checkout of MMDetection has .*_base_ = 'mmdet::FOLDER/NAME'$"):
        load_config(tmp_path / 'own.py')
    (tmp_path / 'own.py').write_text('from mmengine.config import read_base\nwith read_base():\n    from .x import *\n')
    with pytest.raises(UsageError, match=r"own.py' cannot be read as a config: .*x.py not found"):
        load_config(tmp_path / 'own.py')
