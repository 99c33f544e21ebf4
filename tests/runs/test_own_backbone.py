"""A user's backbone in a package outside mmcnn: trained, and only imported again on request."""

import sys
from types import SimpleNamespace

import pytest
import torch

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.registry import MODELS
from mmcnn.runs.infer import infer
from mmcnn.runs.options import InferOptions, TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from mmcnn.weights import own_modules

#: The example of docs/own_backbone.md.
PACKAGE = """
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import nn


@MODELS.register_module()
class PlainNet(BaseModule):
    \"\"\"Strided convolutions; maps of strides 8, 16 and 32.\"\"\"

    def __init__(self, channels=(8, 8, 16, 16, 32), init_cfg=None):
        super().__init__(init_cfg)
        inputs = (3, *channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in zip(inputs, channels)
        )

    def forward(self, x):
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs[2:])
"""
CONFIG = """
_base_ = 'mmcnn::yolov4_cspdarknet53_narrow'
model = dict(backbone=dict(_delete_=True, type='PlainNet'))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A package on the path, not yet imported, and a config: ``package``, ``config``, ``ran`` (a file it creates)."""
    name = f'own_package_{tmp_path.name}'
    (tmp_path / name).mkdir()
    ran = tmp_path / 'ran'
    code = f'open({str(ran)!r}, "a").close()\n{PACKAGE}'
    (tmp_path / name / '__init__.py').write_text('')
    (tmp_path / name / 'backbones.py').write_text(code)
    (tmp_path / 'mine.py').write_text(CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(own_modules, '_TRUSTED', set())
    from mmdet.registry import MODELS as MMDET

    before = dict(MMDET.module_dict)
    yield SimpleNamespace(package=f'{name}.backbones', config=str(tmp_path / 'mine.py'), ran=ran)
    MMDET.module_dict.clear()
    MMDET.module_dict.update(before)
    for module in [each for each in sys.modules if each.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def checkpoint(own, tmp_path):
    """A checkpoint of the user's detector from another process: his package is neither imported nor trusted here."""
    own_modules.import_modules([own.package])
    cfg = load_config(own.config)
    own_modules.record_imports(cfg, [own.package])
    cfg.model.bbox_head.num_classes = 3
    wire_model(cfg)
    model = MODELS.build({'_scope_': 'mmdet', **cfg.model})
    path = tmp_path / 'best.pth'
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=('circle', 'square', 'triangle')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    from mmdet.registry import MODELS as MMDET

    del MMDET.module_dict['PlainNet'], sys.modules[own.package]
    own_modules._TRUSTED.clear()
    own.ran.unlink()
    return path


def test_a_recorded_import_is_not_done_and_named(own, checkpoint):
    words = (
        rf"rejected, line \d+: `type='PlainNet'` names a type that is not registered; nothing was run; if it is your "
        rf"own type, import the module that registers it: --import MODULE \(imports=\['MODULE'\]\); its run had "
        rf'imported {own.package}, which is not imported unless asked for$'
    )
    with pytest.raises(CheckpointError, match=words):
        mmcnn.Detector(checkpoint, device='cpu')
    assert not own.ran.exists()


def test_what_the_process_has_imported_is_not_trusted_by_itself(own, checkpoint):
    __import__(own.package)
    with pytest.raises(CheckpointError, match=rf'{own.package}, which is not trusted; .*--import {own.package}'):
        mmcnn.Detector(checkpoint, device='cpu')


def test_detecting_with_it(own, checkpoint, shapes, tmp_path):
    detector = mmcnn.Detector(checkpoint, device='cpu', imports=[own.package])
    assert own.ran.exists() and type(detector.model.backbone).__name__ == 'PlainNet'
    options = InferOptions(
        checkpoint=checkpoint, sources=str(shapes / 'images' / 'val_00000.jpg'), out=tmp_path / 'out',
        device='cpu', imports=[own.package],
    )  # fmt: skip
    assert infer(options, say=lambda line: None).images == 1


def test_a_training_imports_it_and_writes_that_down(own, shapes, tmp_path):
    options = dict(config=own.config, data=shapes, work_dir=tmp_path / 'run', device='cpu')
    with kept_process_state(), pytest.raises(UsageError, match='PlainNet'):
        prepare(TrainOptions(**options))
    with kept_process_state():
        cfg = prepare(TrainOptions(**options, imports=[own.package])).cfg
    assert cfg.custom_imports.imports == ['mmcnn', own.package]
    assert cfg.model.neck.in_channels == [16, 16, 32]


def test_a_plain_module_takes_the_place_of_mmdetections(own, tmp_path):
    """It has no init_cfg and out_indices, and is used by a config that inherits from MMDetection's, and by name."""
    code = (tmp_path / own.package.replace('.', '/')).with_suffix('.py')
    text = code.read_text().replace('BaseModule)', 'nn.Module)').replace(', init_cfg=None', '')
    code.write_text(text.replace('super().__init__(init_cfg)', 'super().__init__()').replace('[2:]', '[1:]'))
    own_modules.import_modules([own.package])
    base = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco'
    (tmp_path / 'mine.py').write_text(
        f"_base_ = '{base}'\nmodel = dict(backbone=dict(_delete_=True, type='PlainNet'))\n"
    )
    said = []
    inherited = load_config(own.config, say=said.append).model
    assert said[0] == 'backbone: PlainNet in place of ResNet, which the config inherits'
    swapped = mmcnn.swap_backbone(base, 'mmdet.PlainNet', say=said.append).model
    assert inherited.backbone == swapped.backbone == dict(type='PlainNet')
    assert inherited.neck.in_channels == swapped.neck.in_channels == [8, 16, 16, 32]
    with pytest.raises(
        UsageError, match=r'PlainNet returns maps of the strides \[4, 8, 16, 32\] and has no out_indices'
    ):
        mmcnn.swap_backbone('yolov5_n', 'mmdet.PlainNet', say=said.append)


def test_a_plain_module_takes_converted_weights(tmp_path, own):
    from torch import nn

    from mmcnn.weights.convert import _detector

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in ((3, 4), (4, 8), (8, 8), (8, 8), (8, 8)))

        def forward(self, x):
            maps = [x := stage(x) for stage in self.stages]
            return tuple(maps[2:])

    cfg = load_config('yolov4_cspdarknet53_narrow')
    cfg.model.backbone = dict(type=Plain)
    assert type(_detector(cfg.model, None).backbone) is Plain


def test_an_exported_network_needs_none(tmp_path):
    (tmp_path / 'x.onnx').touch()
    (tmp_path / 'x.png').touch()
    options = InferOptions(checkpoint=tmp_path / 'x.onnx', sources=str(tmp_path / 'x.png'), imports=['a'])
    with pytest.raises(UsageError, match=r"imports=\['a'\] has no effect on .*x.onnx, an exported network"):
        infer(options)


@pytest.mark.slow
def test_by_the_command_from_outside(own, shapes, tmp_path):
    """Train, test, export and detect in separate processes with the package only on PYTHONPATH."""
    import os
    import subprocess

    def command(*args):
        environment = os.environ | dict(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')]))
        call = [sys.executable, '-W', 'ignore', '-m', 'mmcnn', *map(str, args)]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    run = tmp_path / 'run'
    size = ['--img-size', 64, '--workers', 0, '--batch-size', 4, '--device', 'cpu']
    code, out = command(
        'train', own.config, '--import', own.package, '--data', shapes, '--epochs', 1, '--work-dir', run, *size
    )
    assert code == 0, out
    image = shapes / 'images' / 'val_00000.jpg'
    code, out = command('infer', run / 'last.pth', image)
    assert code == 1 and f'its run had imported {own.package}, which is not imported unless asked for' in out
    for call in (['infer', run / 'last.pth', image], ['test', run / 'last.pth'], ['export', run / 'last.pth']):
        code, out = command(*call, '--import', own.package)
        assert code == 0, out
