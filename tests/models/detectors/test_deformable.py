"""MMDetection's detectors with deformable convolutions train a step and predict without compiled operators."""

from pathlib import Path

import mmdet
import pytest
import torch
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

import mmcnn  # noqa: F401  (puts the operators where mmcv looks for them)

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'
NAMES = {
    'TOOD': 'tood/tood_r50_fpn_1x_coco.py',
    'VFNet': 'vfnet/vfnet_r50_fpn_1x_coco.py',
    'GA-RetinaNet': 'guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco.py',
    'RepPoints': 'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    'DDOD': 'ddod/ddod_r50_fpn_1x_coco.py',
    'DyHead': 'dyhead/atss_r50-caffe_fpn_dyhead_1x_coco.py',
    'Faster R-CNN with DCN': 'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py',
    'Faster R-CNN with DCNv2': 'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py',
}


def narrow(name):
    """Builds the packaged config with a ResNet-50 of a sixteenth of the width and random weights."""
    model = Config.fromfile(CONFIGS / NAMES[name]).model
    model.backbone.update(base_channels=4, stem_channels=4, init_cfg=None, frozen_stages=-1, norm_eval=False)
    model.test_cfg.get('rcnn', model.test_cfg).score_thr = 0.0  # no untrained score is high
    neck = model.neck[0] if isinstance(model.neck, list) else model.neck
    neck.in_channels = [16, 32, 64, 128]
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(model)
        built.init_weights()
    return built


def batch():
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for size, boxes in (((128, 160), [[10, 12, 70, 90], [60, 20, 150, 60]]), ((96, 128), [[30, 10, 90, 80]])):
        inputs.append(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator))
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
        labels = torch.arange(len(boxes)) + 3
        sample.gt_instances = InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32), labels=labels)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_trains_a_step_and_predicts(name):
    torch.manual_seed(0)
    MessageHub.get_current_instance().update_info('epoch', 0)  # TOOD's head reads it
    model = narrow(name).train()
    data = model.data_preprocessor(batch(), training=True)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for _ in range(2):  # from the second step on, the offsets are not 0
        loss, values = model.parse_losses(model(**data, mode='loss'))
        assert loss.isfinite(), values
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    deformable = {each: m for each, m in model.named_modules() if isinstance(m, (DeformConv2d, ModulatedDeformConv2d))}
    assert deformable or name == 'TOOD'  # its head calls the operator directly
    without = [each for each, m in deformable.items() if m.weight.grad is None or not m.weight.grad.any()]
    assert not without
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        for image, sample in zip(*batch().values(), strict=True):  # guided anchoring takes one image at a time
            data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]))
            (found,) = model(**data, mode='predict')
            assert len(found.pred_instances) > 0
            assert found.pred_instances.bboxes.isfinite().all()
