"""Our configs of MMDetection's detectors against its own, with the same weights: losses and detections."""

from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch.nn.modules.batchnorm import _BatchNorm

import mmcnn
from mmcnn.config.load import load_config

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'
# ours: MMDetection's
PAIRS = {
    'yolov3_darknet53': 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
    'faster_rcnn_resnet50_fpn': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
}


def build(model):
    model = dict(model)
    model['backbone'] = {**model['backbone'], 'init_cfg': None}
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model)


def random_statistics(model):
    """Gives an untrained model statistics that differ and scores above the thresholds."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.8, 1.2)
        for name, p in model.named_parameters():
            if name.startswith(('bbox_head.convs_pred', 'rpn_head.rpn_', 'roi_head.bbox_head.fc_reg')) and p.ndim > 1:
                p.normal_(0, 0.05)
            if name == 'roi_head.bbox_head.fc_cls.weight':
                p.normal_(0, 3)
            if name.startswith('bbox_head.convs_pred') and p.ndim == 1:
                p.zero_()
    return model


def samples():
    """A batch of two images of different sizes, with three objects and one object."""
    rng = np.random.default_rng(0)
    inputs, data_samples = [], []
    for size, boxes in (
        ((128, 160), [[10, 12, 70, 90], [60, 20, 150, 60], [5, 70, 40, 120]]),
        ((96, 128), [[30, 10, 90, 80]]),
    ):
        inputs.append(torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8)))
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32), labels=torch.arange(len(boxes)) * 11
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        data_samples.append(sample)
    return dict(inputs=inputs, data_samples=data_samples)


@pytest.mark.parametrize('ours', PAIRS)
def test_same_losses_and_detections(tmp_path, ours):
    name = PAIRS[ours]
    cfg = load_config(ours)
    theirs = random_statistics(build(Config.fromfile(CONFIGS / name).model))
    mine = build(cfg.model)
    # As a run with exponential moving averages writes it: state_dict has the averages.
    state = theirs.state_dict()
    raw = {'steps': torch.tensor(1), **{f'module.{key}': torch.zeros_like(value) for key, value in state.items()}}
    torch.save(dict(meta=dict(epoch=12), state_dict=state, ema_state_dict=raw), tmp_path / 'epoch_12.pth')
    report = mmcnn.load_weights(mine, tmp_path / 'epoch_12.pth')
    assert report.source == 'mmdet' and not report.left_out

    losses, found = [], []
    for model in (theirs, mine):
        model.eval()  # batch statistics of two images would only add noise
        with torch.no_grad():
            torch.manual_seed(1)  # Faster R-CNN samples at random
            batch = model.data_preprocessor(samples(), training=False)
            losses.append(model.loss(batch['inputs'], batch['data_samples']))
            batch = model.data_preprocessor(samples(), training=False)
            found.append(model.predict(batch['inputs'], batch['data_samples']))
    assert losses[0].keys() == losses[1].keys() and 'loss_cls' in losses[0]
    for key, value in losses[0].items():
        values, expected = (torch.stack(v) if isinstance(v, list) else v for v in (losses[1][key], value))
        assert torch.allclose(values, expected, rtol=1e-4), key
        assert expected.isfinite().all(), key
        assert key == 'acc' or sum(value if isinstance(value, list) else [value]).sum() > 0, key
    for a, b in zip(*([sample.pred_instances for sample in samples] for samples in found), strict=True):
        assert len(a) == len(b) > 0
        assert torch.equal(a.labels, b.labels)
        assert torch.allclose(a.scores, b.scores, rtol=1e-4) and torch.allclose(
            a.bboxes, b.bboxes, rtol=1e-4, atol=1e-2
        )
