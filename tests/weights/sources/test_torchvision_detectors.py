"""torchvision's Faster R-CNN and ours find the same boxes with the same file."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn import ops
from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta
from mmcnn.config.of_weights import config_of, config_of_conversion
from mmcnn.errors import CheckpointError
from mmcnn.models.wiring import set_num_classes, wire
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.convert import convert
from mmcnn.weights.loading import load_weights
from mmcnn.weights.sources.torchvision_detectors import COCO_90, from_torchvision_detector, norm_eps

CLASSES = 3
SIZE = (170, 220)  # not a multiple of the stride: padded to 192 x 224


def peer(backbone, norm_layer=nn.BatchNorm2d):
    """Build torchvision's detector with random weights that keep the activations moderate."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    trunk = resnet_fpn_backbone(backbone_name=backbone, weights=None, norm_layer=norm_layer, trainable_layers=5)
    model = FasterRCNN(trunk, num_classes=1 + CLASSES, min_size=SIZE[0], max_size=400).eval()
    with torch.no_grad():
        for name, module in model.named_modules():
            if hasattr(module, 'running_mean'):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.fill_(0.3 if name.endswith(('bn2', 'bn3')) else 1)
        model.rpn.head.cls_logits.weight.normal_(0, 0.02)
        model.rpn.head.bbox_pred.weight.normal_(0, 0.02)
        model.roi_heads.box_predictor.cls_score.weight.normal_(0, 0.3)
        model.roi_heads.box_predictor.cls_score.bias.normal_(0, 1)
        model.roi_heads.box_predictor.bbox_pred.weight.normal_(0, 0.05)
    return model


@pytest.fixture
def operators(torchvision, monkeypatch):
    """Replace torchvision's compiled operators, which need a matching build of torch, by ours."""
    from torchvision.models.detection.rpn import box_ops
    from torchvision.ops import poolers

    def roi_align(maps, boxes, output_size, spatial_scale, sampling_ratio):
        return ops.roi_align_forward(maps, boxes, output_size, spatial_scale, sampling_ratio, aligned=False)[0]

    monkeypatch.setattr(
        box_ops, 'batched_nms', lambda boxes, scores, labels, iou: ops.batched_nms(boxes, scores, labels, iou)
    )
    monkeypatch.setattr(poolers, 'roi_align', roi_align)


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = wire(cfg.model)
        model.backbone.init_cfg = None
        return MODELS.build(model).eval()


@pytest.mark.slow
def test_boxes_are_torchvision_s(operators, tmp_path):
    theirs = peer('resnet18')
    torch.save(theirs.state_dict(), tmp_path / 'a.pth')
    said = []
    cfg, names = config_of(Checkpoint.open(tmp_path / 'a.pth'), ['a', 'b', 'c'], said.append)
    assert cfg.model.backbone.type == 'mmcnn.resnet18' and names == ('a', 'b', 'c')
    assert "torchvision's Faster R-CNN on resnet18" in said[0] and 'eps of BatchNorm 1e-05' in said[0]
    ours = build(cfg)
    report = load_weights(ours, tmp_path / 'a.pth')
    assert report.source == 'torchvision' and not report.left_out and len(report.reshaped) == 4

    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    sample = DetDataSample(metainfo=dict(img_shape=SIZE, ori_shape=SIZE, scale_factor=(1.0, 1.0)))
    with torch.no_grad():
        (expected,) = theirs([image.flip(0).float() / 255])
        batch = ours.data_preprocessor(dict(inputs=[image], data_samples=[sample]), False)
        found = ours.predict(batch['inputs'], batch['data_samples'])[0].pred_instances
    assert len(found) == len(expected['boxes']) > 10
    assert torch.equal(found.labels + 1, expected['labels'])  # torchvision's class 0 is the background
    torch.testing.assert_close(found.bboxes, expected['boxes'], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores, expected['scores'], rtol=0, atol=1e-5)


def test_frozen_norms_have_the_eps_of_the_coco_weights(torchvision, tmp_path):
    from torchvision.ops import FrozenBatchNorm2d

    state = peer('resnet18', FrozenBatchNorm2d).state_dict()
    assert norm_eps(state) == (0.0, 1e-5)
    # The names before torchvision 0.13, which the published file still has.
    for new, old in (('.0.weight', '.weight'), ('.0.bias', '.bias')):
        state = {k.replace(new, old) if '.fpn.' in k else k: v for k, v in state.items()}
    state = {key.replace('rpn.head.conv.0.0.', 'rpn.head.conv.'): value for key, value in state.items()}
    torch.save(state, tmp_path / 'a.pth')
    said = []
    cfg, _ = config_of(Checkpoint.open(tmp_path / 'a.pth'), 'a,b,c', said.append)
    assert cfg.model.backbone.norm_cfg.eps == 0 and 'eps of BatchNorm 0, as in its COCO weights' in said[0]
    load_weights(build(cfg), tmp_path / 'a.pth')


def test_a_conversion_keeps_what_decides_its_boxes(torchvision, tmp_path):
    """A config with other anchors, RoIAlign or eps is refused; the conversion records the one that fits."""
    from torchvision.ops import FrozenBatchNorm2d

    torch.save(peer('resnet18', FrozenBatchNorm2d).state_dict(), tmp_path / 'a.pth')
    file = Checkpoint.open(tmp_path / 'a.pth')
    named, _ = config_of(file, ['a', 'b', 'c'])
    cfg = config_of_conversion(file, named, [].append)
    _, record = convert(file.path, tmp_path / 'b.pth', 'mine', model_cfg=named.model, config=cfg)
    converted, source = (config_of(Checkpoint.open(tmp_path / name), ['a', 'b', 'c'])[0] for name in ('b.pth', 'a.pth'))
    assert converted.model == source.model
    assert record.norm_eps == str(source.model.backbone.norm_cfg.eps)
    load_weights(build(converted), tmp_path / 'b.pth')  # like mmcnn test, which checks the record


def test_a_config_that_makes_other_boxes_is_refused(torchvision):
    cfg = load_config('faster_rcnn_resnet50_fpn')
    cfg.model.backbone.type = 'mmcnn.resnet18'
    set_num_classes(cfg.model, CLASSES)
    with pytest.raises(CheckpointError, match='other anchors, RoIAlign than this model, which would give wrong boxes'):
        from_torchvision_detector(peer('resnet18').state_dict(), build_on_meta(cfg))


def test_names_are_coco_s_categories_by_number():
    assert len(COCO_90) == len(set(COCO_90)) == 90
    assert (COCO_90[0], COCO_90[11], COCO_90[12], COCO_90[89]) == ('person', 'N/A 12', 'stop sign', 'toothbrush')


def test_they_agree_with_torchvision(torchvision):
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    theirs = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta['categories'][1:]
    assert [name if not name.startswith('N/A') else 'N/A' for name in COCO_90] == theirs[:90]
