"""Every config in configs/: it loads, builds, is short and described, and refers only to existing names."""

import ast
import inspect

import pytest
import torch
from mmcv import ops as mmcv_ops
from mmdet.registry import DATA_SAMPLERS as MMDET_DATA_SAMPLERS
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
from mmengine.runner import Runner

import mmcnn
from mmcnn.config.files import config_folder, new_name, own_configs
from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.ops import NMS_KINDS
from mmcnn.runs.execution import HELPERS

LEAVES = sorted(path for path in own_configs().values() if new_name(path) is None)
DETECTORS = [path for path in LEAVES if path.parent == config_folder()]
RENAMED = {path.stem: new_name(path) for path in own_configs().values() if new_name(path)}
YOLOV4 = ['yolov4_cspdarknet53', 'yolov4_cspdarknet53_darknet']
#: Entries other than the arguments of MMEngine's Runner.
OF_A_RUN = {'custom_imports', 'nominal_batch_size', 'performance', 'scale_lr', 'summed_batch_size', 'vis_backends'}
#: Registries by key; the innermost key on the path to a type decides.
REGISTRIES = {
    'model': MODELS,
    'init_cfg': WEIGHT_INITIALIZERS,
    'batch_augments': MODELS,
    'bbox_coder': TASK_UTILS,
    'anchor_generator': TASK_UTILS,
    'batch_sampler': MMDET_DATA_SAMPLERS,
    'assigner': TASK_UTILS,
    'dataset': DATASETS,
    'sampler': DATA_SAMPLERS,
    'pipeline': TRANSFORMS,
    **dict.fromkeys(('train_pipeline', 'test_pipeline', 'mosaic_affine', 'random_hsv'), TRANSFORMS),
    **dict.fromkeys(('resize', 'train_resize', 'before_train_resize', 'after_train_resize'), TRANSFORMS),
    **dict.fromkeys(('test_resize', 'before_test_resize', 'after_test_resize'), TRANSFORMS),
    **dict.fromkeys(('schedule_hook', 'ema_hook'), HOOKS),
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
    return load_config(name)


def types(node, keys=()):
    """Yield (path of keys, type) for every part of a config."""
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
    assert f'python tools/train.py configs/{path.relative_to(config_folder())}' in run


@pytest.mark.parametrize('path', sorted(config_folder().rglob('*.py')), ids=lambda path: path.stem)
def test_parts_are_named_and_not_counted(path):
    """No config modifies lists of another config: entries have names, from which a new list is composed."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Subscript | ast.Delete | ast.AugAssign), ast.unparse(node)
        assert not isinstance(node, ast.Call) or ast.unparse(node.func) == 'dict', ast.unparse(node)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_variable_is_an_entry_of_a_run_or_a_helper(path):
    runner = inspect.signature(Runner).parameters.keys() - {'cfg'}
    assert set(config(str(path))) - set(HELPERS) <= runner | OF_A_RUN


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_type_exists(path):
    found = list(types(Config.fromfile(path).to_dict()))
    assert len(found) > 20
    with DefaultScope.overwrite_default_scope('mmdet'):
        for keys, kind in found:
            if keys[-1] == 'nms':
                assert kind in (*NMS_KINDS, 'nms')  # MMCV's NMS, in MMDetection's heads
                continue
            if keys[-1] == 'roi_layer':
                assert hasattr(mmcv_ops, kind)
                continue
            if keys[-2:] in (('rpn', 'sampler'), ('rcnn', 'sampler')):
                assert TASK_UTILS.get(kind) is not None
                continue
            registry = REGISTRIES[next(key for key in reversed(keys) if key in REGISTRIES)]
            assert registry.get(kind) is not None, f'{kind} at {".".join(keys)}'
        constructor = config(str(path)).optim_wrapper.get('constructor')
        assert constructor is None or OPTIM_WRAPPER_CONSTRUCTORS.get(constructor) is not None


def built(cfg):
    wire_model(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('path', DETECTORS, ids=lambda path: path.stem)
def test_model_wires_and_builds(path):
    cfg = config(str(path))
    model = built(cfg)
    assert cfg.model.type != 'mmcnn.wired'
    order = -1 if cfg.model.neck.type == 'YOLOV3Neck' else 1
    if 'in_channels' in cfg.model.neck:
        assert cfg.model.neck.in_channels == list(model.backbone.out_channels)[::order]
    head = cfg.model.get('bbox_head') or cfg.model.rpn_head
    strides = [4, 8, 16, 32, 64] if path.stem.startswith('faster_rcnn') else [8, 16, 32]
    assert (head.get('strides') or head.anchor_generator.strides) == strides[::order]
    assert all(parameter.is_meta for parameter in model.parameters())


#: Published numbers of trainable parameters with 80 classes.
PARAMETERS = {
    'yolov3_darknet53': 61_949_149,
    'yolov4_cspdarknet53': 64_363_101,
    'yolov4_cspdarknet53_darknet': 64_363_101,
    'yolov5_n': 1_872_157,
    'yolov5_s': 7_235_389,
    'yolov5_m': 21_190_557,
    'yolov5_l': 46_563_709,
    'yolov5_x': 86_749_405,
    'yolov5_s_focus': 7_276_605,
    'faster_rcnn_resnet50_fpn': 41_527_712,
}


@pytest.mark.parametrize('name', PARAMETERS)
def test_parameters_of_the_published_networks(name):
    assert mmcnn.count_parameters(built(config(name)))[1] == PARAMETERS[name]


def test_old_names_are_children_of_the_new_ones():
    assert {f'faster_rcnn_resnet-fpn{end}': f'faster_rcnn_resnet50_fpn{end}' for end in ('', '_2x')} == RENAMED
    for old, new in RENAMED.items():
        with pytest.warns(DeprecationWarning, match=f'Please use {new} instead'):  # MMEngine's warning
            cfg = Config.fromfile(own_configs()[old])
        assert cfg.to_dict() == Config.fromfile(own_configs()[new]).to_dict()


def test_faster_rcnn_counts_what_is_frozen_too():
    assert sum(p.numel() for p in built(config('faster_rcnn_resnet50_fpn')).parameters()) == 41_753_056


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
    assert [hook.type for hook in wky.custom_hooks] == ['mmcnn.ScheduleHook', 'mmcnn.StepEMAHook']
    assert [hook.type for hook in darknet.custom_hooks] == ['mmcnn.ScheduleHook']
    assert (wky.img_scale, darknet.img_scale) == ((640, 640), (608, 608))
    assert wky.model.bbox_head.anchors == darknet.model.bbox_head.anchors


@pytest.mark.parametrize('path', DETECTORS, ids=lambda path: path.stem)
def test_coco_paths_and_images_of_a_step(path):
    cfg = config(str(path))
    for loader, part in (('train_dataloader', 'train'), ('val_dataloader', 'val'), ('test_dataloader', 'val')):
        dataset = cfg[loader].dataset
        dataset = dataset.get('dataset', dataset)
        assert dataset.data_root == 'data/coco/'
        assert dataset.ann_file == f'annotations/instances_{part}2017.json'
        assert dataset.data_prefix == dict(img=f'{part}2017/')
        assert cfg[loader].sampler.shuffle == (part == 'train')
    assert cfg.test_evaluator.ann_file == 'data/coco/annotations/instances_val2017.json'
    nominal = 16 if path.stem.startswith('faster_rcnn') else 64
    assert cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts == cfg.nominal_batch_size == nominal
