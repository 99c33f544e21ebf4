"""Backbones and classifiers as ONNX files, compared with PyTorch at other sizes and batches than at export.

BatchNorm has random statistics. The slow tests take a narrow variant of each family; all 105 in full width are a
campaign, whose result is in docs/benchmarks.md.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.compat.private_names import BatchNorm
from mmcnn.config.load import load_config
from mmcnn.deployment.files import write
from mmcnn.deployment.networks import Exportable, exportable
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.models.families import backbone_families
from mmcnn.runtime.metadata import CLASSIFICATION, FEATURES
from mmcnn.weights.record import digest
from mmcnn.weights.sources.catalog import CATALOG
from tests.deployment.small_detectors import TINY

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

#: Largest difference of an output, relative to its largest value.
BOUND = 5e-6
#: The first variant of each family by name; OTHERS pad or pool differently.
ROWS = {family: name for name, family in sorted(backbone_families().items(), reverse=True)}.values()
OTHERS = ('inceptionv1-tv', 'inceptionv4', 'vovnetv2-39', 'xception-timm', 'resnet50v2')
CLASSIFIERS = ('vgg11', 'xception', 'efficientnet-b0', 'resnext50-32x4d', 'inceptionv3', 'mobilenetv3-small')
SIZES = ((97, 100), (64, 96), (127, 65))
NARROW = dict(widen_factor=0.125, deepen_factor=0.1)


def with_random_statistics(network):
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            nn.init.normal_(module.running_mean, std=0.2, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
    return network.eval()


def check(network, path, sizes, dynamic):
    """Export a network at the first size, and compare it at all sizes."""
    classifies = hasattr(network, 'top')
    found = Exportable(
        network=with_random_statistics(network),
        task=CLASSIFICATION if classifies else FEATURES,
        name='network',
        image=network.image if classifies else network.arch.image,
        classes=('a',) if classifies else (),
    )
    plan = plan_export(found, ExportOptions(source='network', img_size=sizes[0], dynamic=dynamic))
    write(plan, path, plan.metadata())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    draw = np.random.default_rng(0)
    for height, width in sizes:
        for batch in (1, 3):
            images = draw.uniform(0, 255, (batch, 3, height, width)).astype(np.float32)
            with torch.no_grad():
                expected = plan.module(torch.from_numpy(images))
            expected = expected if isinstance(expected, tuple) else (expected,)
            for mine, other in zip(expected, session.run(None, {'images': images}), strict=True):
                assert tuple(mine.shape) == other.shape, (height, width, batch)
                difference = np.abs(mine.numpy() - other).max()
                assert difference <= BOUND * float(mine.abs().max()), (height, width, batch)
                assert difference < float(mine.abs().max())  # the outputs are not all 0


@pytest.mark.parametrize('name', ['mobilenet', 'cspdarknet-focus-s'])
def test_exported_at_one_size_right_at_others(name, tmp_path):
    network = mmcnn.build_backbone(name, widen_factor=0.125, deepen_factor=0.33, out_indices=(2,))
    check(network, tmp_path / 'a.onnx', SIZES, 'all')


@pytest.mark.slow
@pytest.mark.parametrize('name', [*ROWS, *OTHERS])
def test_a_row_of_each_family(name, tmp_path):
    check(mmcnn.build_backbone(name, **NARROW), tmp_path / 'a.onnx', SIZES, 'all')


@pytest.mark.slow
@pytest.mark.parametrize('name', CLASSIFIERS)
def test_classifiers(name, tmp_path):
    network = mmcnn.build_classifier(name, num_classes=11, **NARROW)
    native = network.image.size
    check(network, tmp_path / 'a.onnx', [(native, native)], 'batch')


@pytest.mark.campaign
@pytest.mark.parametrize('name', mmcnn.list_backbones())
def test_all_backbones(name, tmp_path):
    network = mmcnn.build_backbone(name)
    side = network.arch.image.size
    for number, size in enumerate([(side, side), (side + 1, side - 3)]):
        check(network, tmp_path / f'{number}.onnx', [size], 'batch')


@pytest.mark.campaign
@pytest.mark.parametrize('name', mmcnn.list_classifiers())
def test_all_classifiers(name, tmp_path):
    network = mmcnn.build_classifier(name)
    side = network.image.size
    for number, size in enumerate([(side, side), (side + 1, side + 2)]):
        check(network, tmp_path / f'{number}.onnx', [size], 'batch')


def described(source, **options):
    said = []
    return exportable(ExportOptions(source=source, **options), said.append), said


def test_names_of_classes_are_those_of_the_configs_data():
    cfg = load_config('yolov5_n', TINY)
    cfg.test_dataloader.dataset.metainfo = dict(classes=('ant', 'bee', 'cat'))
    assert described(cfg)[0].classes == ('ant', 'bee', 'cat')
    assert described(cfg, classes='x,y,z')[0].classes == ('x', 'y', 'z')


def test_names_that_are_taken_to_be_those_of_coco_are_said():
    found, said = described('yolov5_n', cfg_options=TINY | {'model.bbox_head.num_classes': 80})
    assert found.classes[:2] == ('person', 'bicycle')
    assert said[-1] == "note: the 80 classes of yolov5_n have no names and are assumed to be COCO's"
    assert described('yolov5_n', cfg_options=TINY)[0].classes == ('class 0', 'class 1', 'class 2')


def test_names_and_licence_of_the_file_of_weights(tmp_path, monkeypatch):
    """Published weights do not contain their licence; the catalog has it by name and hash."""
    path, meta = tmp_path / 'tiny.pth', dict(dataset_meta=dict(classes=('ant', 'bee', 'cat')))
    model = described('yolov5_n', cfg_options=TINY)[0].network
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    found, _ = described('yolov5_n', cfg_options=TINY, weights=path)
    assert found.classes == ('ant', 'bee', 'cat') and found.licence is None
    known = SimpleNamespace(file='tiny.pth', urls=('tiny.pth',), sha256=digest(path), licence='AGPL-3.0')
    monkeypatch.setitem(CATALOG, 'tiny', known)
    found, _ = described('yolov5_n', cfg_options=TINY, weights=path)
    assert found.licence == 'AGPL-3.0' and found.checkpoint == dict(name='tiny.pth', sha256=digest(path))
