"""Gradient accumulation with MMEngine's OptimWrapper, set up from the config: micro-batches step like the whole batch.

BatchNorm depends on the batch, so its statistics are fixed. Box and class terms of YOLOMeanLoss are means over
positives, so each micro-batch has the same number of positives on each level.
"""

import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.registry import MODELS
from mmcnn.runs.batches import set_batches
from mmcnn.runs.options import RunOptions

IMAGES = 8
NARROW = {'model.backbone.widen_factor': 0.0625, 'model.backbone.deepen_factor': 0.33}
NARROW_NECK = {'model.neck.widen_factor': 0.0625, 'model.neck.deepen_factor': 0.33}
CLASSES = {'model.bbox_head.num_classes': 3}


def config(name, batch_size, **options):
    """Return a config as tools/train.py sets it up for steps of IMAGES images in batches of ``batch_size``."""
    cfg = load_config(name, {'nominal_batch_size': IMAGES, **NARROW, **CLASSES, **options})
    set_batches(cfg, RunOptions(batch_size=batch_size, workers=0, launcher='none'), None)
    assert cfg.optim_wrapper.accumulative_counts == IMAGES // batch_size
    wire_model(cfg)
    return cfg


def samples(dtype):
    boxes = torch.tensor([[8.0, 8.0, 30.0, 34.0], [20.0, 4.0, 62.0, 60.0]], dtype=dtype)
    found = []
    for _ in range(IMAGES):
        sample = DetDataSample(metainfo=dict(img_shape=(64, 64), batch_input_shape=(64, 64), pad_shape=(64, 64)))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long))
        found.append(sample)
    return found


def step(cfg, model, images):
    """Make one optimizer step with all images; return its gradients, after clipping if the config clips."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    gradients = []
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    )
    batch_size = cfg.train_dataloader.batch_size
    wrapper.initialize_count_status(model, 0, IMAGES // batch_size)
    truth = samples(images.dtype)
    for first in range(0, IMAGES, batch_size):
        part = slice(first, first + batch_size)
        with wrapper.optim_context(model):
            loss, _ = model.parse_losses(model.loss(images[part], truth[part]))
        wrapper.update_params(loss)
    (only,) = gradients
    return only


def built(cfg, images):
    """Return an initialised model in eval mode whose BatchNorm has the statistics of the images."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None  # use the statistics of a single batch
    model.to(images.dtype).train()
    with torch.no_grad():
        model(images)
    return model.eval()


@pytest.mark.parametrize('batch_size', [4, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize('name', ['yolov4_cspdarknet53', 'yolov4_cspdarknet53_darknet', 'yolov5_s'])
def test_micro_batches_step_as_the_batch(name, batch_size):
    # Clipping would hide gradients that are too large.
    options = {**NARROW_NECK, 'optim_wrapper.clip_grad': None}
    cfg, cut = config(name, IMAGES, **options), config(name, batch_size, **options)
    assert cfg.optim_wrapper.optimizer == cut.optim_wrapper.optimizer
    images = torch.rand(IMAGES, 3, 64, 64, dtype=torch.float64)
    model = built(cfg, images)
    other, before = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    whole, parts = step(cfg, model, images), step(cut, other, images)
    assert whole.keys() == parts.keys()
    for key, gradient in whole.items():
        torch.testing.assert_close(
            parts[key], gradient, rtol=1e-6, atol=1e-9, msg=lambda text, key=key: f'{key}: {text}'
        )
    assert sum(gradient.abs().max() > 1e-3 for gradient in whole.values()) > 100
    for key, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-6, atol=1e-9)
    moved = [key for key, _ in model.named_parameters() if not torch.equal(before[key], model.state_dict()[key])]
    assert len(moved) > 100


@pytest.mark.parametrize('max_norm', [35.0, 1e9])
def test_summed_losses_step_as_the_batch(max_norm):
    """YOLOv3's losses are sums over the images of a GPU: rate, decay and clipping compensate for their number."""
    options = {
        'model.backbone.init_cfg': None,
        'model.neck.out_channels': [64, 32, 16],
        'model.bbox_head.out_channels': [128, 64, 32],
        'optim_wrapper.clip_grad.max_norm': max_norm,
        'optim_wrapper.optimizer.weight_decay': 10.0,  # so that it has a visible effect
    }
    cfg, cut = config('yolov3_darknet53', IMAGES, **options), config('yolov3_darknet53', 2, **options)
    assert cut.optim_wrapper.optimizer.lr == pytest.approx(4 * cfg.optim_wrapper.optimizer.lr)
    images = torch.rand(IMAGES, 3, 64, 64)  # MMDetection's head only supports float32
    model = built(cfg, images)
    other, before = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    whole, parts = step(cfg, model, images), step(cut, other, images)
    norm = torch.stack([gradient.norm() for gradient in whole.values()]).norm().item()
    assert (norm == pytest.approx(35, rel=1e-3)) if max_norm == 35 else 35 < norm < 1e6  # clipped or not
    # Tensors are compared as a whole, because small entries only contain rounding errors.
    for key, gradient in whole.items():
        assert (4 * parts[key] - gradient).norm() < 1e-2 * gradient.norm(), key
    for key, value in model.named_parameters():
        moved, expected = other.state_dict()[key] - before[key], value.detach() - before[key]
        assert (moved - expected).norm() < 1e-2 * expected.norm(), key
