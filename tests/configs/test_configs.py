"""Every config in configs/: loads, is short and says what it is, builds, and names nothing that does not exist."""

import pytest
import torch
from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TASK_UTILS, TRANSFORMS, VISUALIZERS
from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    LOG_PROCESSORS,
    LOOPS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    VISBACKENDS,
    WEIGHT_INITIALIZERS,
    DefaultScope,
)

import mmcnn
from mmcnn import cli
from mmcnn.ops import NMS_KINDS

LEAVES = sorted(path for path in cli.config_folder().rglob('*.py') if '_base_' not in path.parts)
DETECTORS = sorted(cli.config_folder().glob('*.py'))
YOLOV4 = ['yolov4_cspdarknet53', 'yolov4_cspdarknet53_darknet']
#: Registries by the key that holds the part; the deepest key on the way to a type decides.
REGISTRIES = {
    'model': MODELS,
    'init_cfg': WEIGHT_INITIALIZERS,
    'batch_augments': MODELS,
    'bbox_coder': TASK_UTILS,
    'assigner': TASK_UTILS,
    'dataset': DATASETS,
    'sampler': DATA_SAMPLERS,
    'pipeline': TRANSFORMS,
    'train_pipeline': TRANSFORMS,
    'test_pipeline': TRANSFORMS,
    'val_evaluator': METRICS,
    'test_evaluator': METRICS,
    'default_hooks': HOOKS,
    'custom_hooks': HOOKS,
    'train_cfg': LOOPS,
    'val_cfg': LOOPS,
    'test_cfg': LOOPS,
    'optim_wrapper': OPTIM_WRAPPERS,
    'optimizer': OPTIMIZERS,
    'visualizer': VISUALIZERS,
    'vis_backends': VISBACKENDS,
    'log_processor': LOG_PROCESSORS,
}


def config(name):
    return cli.load_config(name)


def types(node, keys=()):
    """(path of keys, type) of every part of a config."""
    if isinstance(node, dict):
        if 'type' in node:
            yield keys, node['type']
        for key, value in node.items():
            yield from types(value, (*keys, key))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from types(value, keys)


def test_there_are_configs():
    assert set(YOLOV4) <= {path.stem for path in LEAVES}


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaf_is_short_and_says_what_it_is(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 20
    opening = []
    for line in lines:
        if not line.startswith('#'):
            break
        opening.append(line)
    text = '\n'.join(opening)
    assert 'Expected:' in text
    assert 'Time:' in text
    run = next(line for line in opening if line.startswith('# Run:'))
    assert f'python tools/train.py configs/{path.relative_to(cli.config_folder())}' in run


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_type_exists(path):
    found = list(types(Config.fromfile(path).to_dict()))
    assert len(found) > 20
    with DefaultScope.overwrite_default_scope('mmdet'):
        for keys, kind in found:
            if keys[-1] == 'nms':
                assert kind in NMS_KINDS
                continue
            registry = REGISTRIES[next(key for key in reversed(keys) if key in REGISTRIES)]
            assert registry.get(kind) is not None, f'{kind} at {".".join(keys)}'
        constructor = config(str(path)).optim_wrapper.get('constructor')
        assert constructor is None or OPTIM_WRAPPER_CONSTRUCTORS.get(constructor) is not None


def built(cfg):
    cli.wire_model(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('path', DETECTORS, ids=lambda path: path.stem)
def test_model_wires_and_builds(path):
    cfg = config(str(path))
    model = built(cfg)
    assert cfg.model.type != 'mmcnn.wired'
    assert cfg.model.neck.in_channels == list(model.backbone.out_channels)
    assert cfg.model.bbox_head.strides == [8, 16, 32]
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize('name', YOLOV4)
def test_yolov4_has_the_parameters_of_the_public_network(name):
    assert mmcnn.count_parameters(built(config(name)))[1] == 64_363_101


def test_the_two_recipes_differ_where_they_should():
    wky, darknet = (config(name) for name in YOLOV4)
    head, other = wky.model.bbox_head, darknet.model.bbox_head
    assert (head.loss.type, other.loss.type) == ('mmcnn.YOLOMeanLoss', 'mmcnn.DarknetLoss')
    assert (head.bbox_coder.size, other.bbox_coder.size) == ('sigmoid', 'exp')
    assert (head.bbox_coder.scale_xy, other.bbox_coder.scale_xy) == (2.0, (1.2, 1.1, 1.05))
    assert not {'obj_gain', 'level_balance'} & other.loss.keys()
    assert wky.model.train_cfg.assigner.type == 'mmcnn.RatioAssigner'
    assert darknet.model.train_cfg.assigner == dict(type='mmcnn.ShapeIoUAssigner', iou_threshold=0.213)
    assert (wky.model.test_cfg.nms.type, darknet.model.test_cfg.nms.type) == ('iou', 'greedy_diou')
    optimizer, other = wky.optim_wrapper.optimizer, darknet.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.nesterov) == (0.01, 0.937, True)
    assert (other.lr, other.momentum, other.get('nesterov', False)) == (1.3e-3, 0.949, False)
    assert [hook.type for hook in wky.custom_hooks] == ['mmcnn.YOLOScheduleHook', 'mmcnn.StepEMAHook']
    assert [hook.type for hook in darknet.custom_hooks] == ['mmcnn.YOLOScheduleHook']
    assert (wky.img_scale, darknet.img_scale) == ((640, 640), (608, 608))
    assert wky.model.bbox_head.anchors == darknet.model.bbox_head.anchors


@pytest.mark.parametrize('path', DETECTORS, ids=lambda path: path.stem)
def test_coco_paths_and_gradient_of_64_images(path):
    cfg = config(str(path))
    for loader, part in (('train_dataloader', 'train'), ('val_dataloader', 'val'), ('test_dataloader', 'val')):
        dataset = cfg[loader].dataset
        dataset = dataset.get('dataset', dataset)
        assert dataset.data_root == 'data/coco/'
        assert dataset.ann_file == f'annotations/instances_{part}2017.json'
        assert dataset.data_prefix == dict(img=f'{part}2017/')
        assert cfg[loader].sampler.shuffle == (part == 'train')
    assert cfg.test_evaluator.ann_file == 'data/coco/annotations/instances_val2017.json'
    assert cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts == cfg.nominal_batch_size == 64
