import argparse

import pytest

from mmcnn import cli


def test_option_without_value(run_tool):
    result = run_tool('train', 'yolov4_cspdarknet53', '--cfg-options', 'model')
    assert result.code == 2
    assert result.err.splitlines()[-1] == "train.py: error: argument --cfg-options: 'model' is not KEY=VALUE"


def options(backbone=None, **cfg_options):
    return cli.options_of(argparse.Namespace(backbone=backbone, cfg_options=cfg_options))


def test_backbone_is_one_of_the_options():
    key = 'model.backbone.type'
    assert options() == {}
    assert options('resnet18', **{'a.b': 1}) == {key: 'mmcnn.resnet18', 'a.b': 1}
    assert options('mmcnn.resnet18', **{key: 'mmcnn.resnet18'}) == {key: 'mmcnn.resnet18'}
    with pytest.raises(
        cli.UsageError, match=r'--backbone resnet18 and --cfg-options model\.backbone\.type=mmcnn\.vgg11'
    ):
        options('resnet18', **{key: 'mmcnn.vgg11'})
