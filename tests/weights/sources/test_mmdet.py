import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import nn

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.mmdet import SOURCE, from_mmdet_detector, refuse_caffe_style
from mmcnn.weights.sources.translate import OtherRowError


def checkpoint(path, state, **others):
    """Save a checkpoint as MMEngine's Runner does."""
    torch.save(dict(meta=dict(epoch=12), state_dict=state, optimizer=dict(state={}), **others), path)
    return path


def mmdet_model(type, **kwargs):
    with torch.device('meta'):
        return MODELS.get(f'mmdet.{type}')(**kwargs)


def test_the_averages_of_a_run_are_the_state_dict(tmp_path):
    state = MODELS.get('mmdet.ResNet')(18).state_dict()
    raw = {key: torch.zeros_like(value) for key, value in state.items()}
    path = checkpoint(tmp_path / 'x.pth', state, ema_state_dict=dict(steps=torch.tensor(3), **raw))
    model = mmcnn.build_backbone('resnet18')
    report = mmcnn.load_weights(model, path)
    assert report.left_out == {} and torch.equal(model.stem.conv.weight, state['conv1.weight'])


def test_mmpretrain_resnet(torchvision, tmp_path):
    state = torchvision.models.resnet18(weights=None).state_dict()
    state = {f'head.{key}' if key.startswith('fc.') else f'backbone.{key}': value for key, value in state.items()}
    path = checkpoint(tmp_path / 'x.pth', state)
    model = mmcnn.build_classifier('resnet18')
    report = mmcnn.load_weights(model, path)
    assert report.source == 'mmdet' and report.left_out == {}
    assert torch.equal(model.top.classes.weight, state['head.fc.weight'])
    assert torch.equal(model.backbone.stage1.blocks[0].conv1.bn.weight, state['backbone.layer1.0.bn1.weight'])


@pytest.mark.parametrize('variant', ['vgg11', 'vgg13-bn'])
def test_mmpretrain_vgg(tmp_path, variant):
    depths, norm = mmcnn.build_backbone(variant).arch.depths, dict(type='BN') if variant.endswith('-bn') else None
    peer, channels = nn.Sequential(), 3
    for depth, out in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            peer.append(ConvModule(channels, out, 3, padding=1, bias=True, norm_cfg=norm))
            channels = out
        peer.append(nn.MaxPool2d(2))
    state = {f'backbone.features.{key}': value for key, value in peer.state_dict().items()}
    top = {'backbone.classifier.0.bias': torch.ones(4096), 'backbone.classifier.6.bias': torch.ones(1000)}
    model = mmcnn.build_backbone(variant)
    report = mmcnn.load_weights(model, checkpoint(tmp_path / 'x.pth', state | top))
    assert report.left_out == {'the top of the classifier': ('top.hidden.0.bias', 'top.classes.bias')}
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, got = peer.eval()(images), model.eval()(images)[-1]
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-6 * expected.abs().max())


def test_a_backbone_out_of_a_detector(tmp_path):
    state = {f'backbone.{key}': value for key, value in MODELS.get('mmdet.ResNet')(18).state_dict().items()}
    others = {'neck.lateral_convs.0.conv.weight': torch.ones(1), 'rpn_head.rpn_cls.bias': torch.ones(1)}
    model = mmcnn.build_backbone('resnet18')
    report = mmcnn.load_weights(model, checkpoint(tmp_path / 'x.pth', state | others))
    assert report.left_out == {"the detector's neck and heads": tuple(others)}
    assert torch.equal(model.stem.conv.weight, state['backbone.conv1.weight'])


def test_rows_of_another_form_are_refused():
    state = mmdet_model('Darknet').state_dict()
    with pytest.raises(OtherRowError, match=r'act=.*0\.1\}, but darknet53-timm has .* with its weights$') as error:
        SOURCE.translate(state, 'darknet53-timm')
    assert error.value.fitting == ('darknet53',)
    with pytest.raises(CheckpointError, match='MMDetection has no weights for mobilenet'):
        SOURCE.translate(state, 'mobilenet')


def test_a_detector_without_our_backbone_is_refused():
    model = nn.Sequential()
    with pytest.raises(CheckpointError, match='Sequential has no mmcnn backbone, so none of its layers need renaming'):
        from_mmdet_detector({'backbone.conv1.weight': torch.ones(1)}, model)
    model.backbone = nn.Identity()
    with pytest.raises(CheckpointError, match='has no mmcnn backbone, so none of its layers'):
        from_mmdet_detector({}, model)


@pytest.mark.parametrize(
    'name',
    [
        'open-mmlab://detectron2/resnet50_caffe',
        'https://127.0.0.1:1/third_party/resnet101_msra-6cc46731.pth',
        'weights/resnet50_caffe-788b5fa3.pth',
    ],
)
def test_names_that_say_where_the_strides_are(name):
    with pytest.raises(CheckpointError, match=r"holds a ResNet of style 'caffe'.* would load but give wrong results$"):
        mmcnn.load_weights(mmcnn.build_backbone('resnet50-tv', widen_factor=0.1), name)


def test_other_names_are_not_touched():
    for name in ('open-mmlab://vgg16_caffe', 'resnet50_caffe_mine.pth', 'resnet50-0676ba61.pth'):
        refuse_caffe_style(name)
