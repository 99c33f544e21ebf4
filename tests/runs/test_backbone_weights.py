"""Weights for the backbone of a detector only."""

import pytest
import torch

from mmcnn.config.load import load_config
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs.backbone_weights import check_backbone_weights


def test_weights_of_a_backbone_are_looked_into(trained_classifier_file):
    cfg, said = load_config('yolov3_darknet53'), []
    check_backbone_weights(cfg, trained_classifier_file, said.append)
    (line,) = said
    assert line.startswith(f'warning: {trained_classifier_file} was trained with mean=[1.0, 2.0, 3.0]')
    for weights in ('/not/there.pth', 'mmcnn://nothing/here'):
        with pytest.raises(CheckpointError):
            check_backbone_weights(cfg, weights, said.append)


@pytest.mark.parametrize(
    ('config', 'options', 'words'),
    [
        ('classification/darknet53', {}, 'is for detectors: for a classifier use load_from=x.pth, with allow_head'),
        (
            'faster_rcnn_resnet50_fpn',
            {'model.backbone': dict(_delete_=True, type='ResNet', depth=18)},
            'ResNet is not one',
        ),
    ],
)
def test_weights_of_a_backbone_are_for_detectors_on_ours(config, options, words):
    with pytest.raises(UsageError, match=words):
        check_backbone_weights(load_config(config, options), 'x.pth', print)


@pytest.fixture
def trained_classifier_file(tmp_path):
    """A checkpoint of a run with unusual normalisation."""
    images = 'dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], bgr_to_rgb=False)'
    cfg = f'model = dict(type="mmcnn.Classifier", data_preprocessor={images})'
    torch.save(dict(state_dict={'backbone.a': torch.ones(3)}, meta=dict(cfg=cfg)), tmp_path / 'c.pth')
    return tmp_path / 'c.pth'
