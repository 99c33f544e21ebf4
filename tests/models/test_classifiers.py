"""The contract of every classifier, and the loss and prediction of a small one."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import nn

import mmcnn
from mmcnn.image_format import CAFFE, SYMMETRIC
from mmcnn.models.backbones.row import Top
from mmcnn.models.classifiers import Classifier
from mmcnn.registry import BACKBONE_FAMILIES

NAMES = mmcnn.list_classifiers()
#: The first classifier of each family, which represents it where weights are needed.
FAMILIES = list({BACKBONE_FAMILIES[name]: name for name in reversed(NAMES)}.values())
EVERY_CLASSIFIER = [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAMILIES)) for name in NAMES]


def on_meta(name, **kwargs):
    with torch.device('meta'):
        return mmcnn.build_classifier(name, **kwargs)


def narrow(name, **kwargs):
    return mmcnn.build_classifier(name, num_classes=7, widen_factor=0.25, deepen_factor=0.33, **kwargs)


@pytest.mark.parametrize('name', EVERY_CLASSIFIER)
def test_logits_at_the_reference_size(name):
    classifier = on_meta(name, num_classes=11)
    size = classifier.image.size
    assert classifier(torch.empty(2, 3, size, size, device='meta')).shape == (2, 11)


@pytest.mark.parametrize('name', EVERY_CLASSIFIER)
def test_trunk_and_backbone_hold_the_same_weights(name):
    trunk = on_meta(name).backbone
    with torch.device('meta'):
        backbone = mmcnn.build_backbone(name)
    shapes = {key: value.shape for key, value in trunk.state_dict().items()}
    assert shapes == {key: value.shape for key, value in backbone.state_dict().items()}


@pytest.mark.parametrize('name', FAMILIES)
def test_trunk_weights_go_to_the_backbone_and_back(name, tmp_path):
    classifier = narrow(name).eval()
    torch.save(dict(state_dict=classifier.state_dict()), tmp_path / 'classifier.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'classifier.pth'), prefix='backbone.')
    backbone = mmcnn.build_backbone(name, widen_factor=0.25, deepen_factor=0.33, init_cfg=pretrained)
    torch.save(backbone.state_dict(), tmp_path / 'backbone.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))
    again = narrow(name, init_cfg=pretrained)
    again.top.load_state_dict(classifier.top.state_dict())
    size = 64 if BACKBONE_FAMILIES[name].variants[name].image.size < 299 else 139
    image = torch.randn(1, 3, size, size)
    assert torch.equal(again.eval()(image), classifier(image))


@pytest.mark.parametrize('name', FAMILIES)
def test_every_parameter_gets_a_gradient(name):
    classifier = narrow(name).train()
    size = 64 if classifier.image.size < 299 else 139
    samples = [BaseDataElement(gt_label=i) for i in range(2)]
    classifier(torch.randn(2, 3, size, size), samples, mode='loss')['loss'].backward()
    without = [key for key, p in classifier.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


def test_each_part_of_a_top_is_built():
    row = dataclasses.replace(
        BACKBONE_FAMILIES['darknet53'].variants['darknet53'], top=Top(conv=48, pool=2, hidden=(40, 24), dropout=0.3)
    )
    top = mmcnn.build_classifier('darknet53', num_classes=5, arch=dict(top=row.top), widen_factor=0.25).top
    assert top.conv.conv.weight.shape == (16, 256, 1, 1)  # the factor scales all widths, in multiples of 8
    assert [layer.weight.shape for layer in top.hidden] == [(16, 16 * 2 * 2), (8, 16)]
    assert top.classes.weight.shape == (5, 8)
    assert top.dropout.p == 0.3 and isinstance(top.act, nn.LeakyReLU)
    assert top(torch.randn(2, 256, 7, 7)).shape == (2, 5)


def test_the_paper_form_is_a_field_that_can_be_overridden(monkeypatch):
    row = BACKBONE_FAMILIES['darknet53'].variants['darknet53']
    special = dataclasses.replace(row, as_classifier=dict(depths=(1, 1, 1, 1, 1)))
    monkeypatch.setitem(BACKBONE_FAMILIES['darknet53'].variants, 'darknet53', special)
    assert on_meta('darknet53').backbone.arch.depths == (1, 1, 1, 1, 1)
    assert on_meta('darknet53', arch=dict(depths=(1, 1, 2, 1, 1))).backbone.arch.depths == (1, 1, 2, 1, 1)
    with torch.device('meta'):
        assert mmcnn.build_backbone('darknet53').arch.depths == (1, 2, 8, 8, 4)


@pytest.mark.parametrize('name', FAMILIES)
def test_class_and_variant_build_what_the_short_name_builds(name):
    cls = BACKBONE_FAMILIES[name]
    with torch.device('meta'):
        classifier = Classifier(dict(type=f'mmcnn.{cls.__name__}', variant=name))
    assert classifier.backbone.arch == on_meta(name).backbone.arch


#: Dropout rates before the classes (and after hidden layers) in the papers; all others have none. VGG: section 3.1.
#: GoogLeNet: section 5. Inception-v4 and Inception-ResNet: "keep 0.8", figures 9 and 15. Xception: section 4.3.
#: MobileNetV3: section 6.1, whose "dropout of 0.8" is kept. EfficientNet: 0.2 for B0 to 0.5 for B7, section 5.2.
#: MobileNet's is from Keras, those of rows with -tv are from torchvision.
DROPOUTS = {
    r'vgg.*': 0.5, r'inceptionv1(-paper)?': 0.4, r'inceptionv1-tv': 0.2, r'inceptionv3-tv': 0.5,
    r'inceptionv4.*|inception-resnet.*': 0.2, r'xception.*': 0.5, r'mobilenet(-\d+)?': 1e-3, r'mobilenetv2-tv': 0.2,
    r'mobilenetv3.*': 0.2, r'efficientnet-b[01](-tv)?': 0.2, r'efficientnet-b[23](-tv)?': 0.3,
    r'efficientnet-b[45](-tv)?': 0.4, r'efficientnet-b[67](-tv)?': 0.5,
}  # fmt: skip


@pytest.mark.parametrize('name', NAMES)
def test_dropout_is_that_of_the_paper(name):
    expected = next((rate for pattern, rate in DROPOUTS.items() if re.fullmatch(pattern, name)), 0.0)
    assert on_meta(name, num_classes=2).top.dropout.p == expected


@pytest.mark.parametrize('hidden', [(), (64, 64)])
def test_dropout_is_before_the_classes_and_behind_hidden_layers(hidden):
    arch = dict(top=Top(hidden=hidden, dropout=0.5))
    top = mmcnn.build_classifier('darknet53', num_classes=5, arch=arch, widen_factor=0.25).top.train()
    top.dropout = nn.Threshold(1e9, -1.0)  # its output is always -1
    seen = []
    for layer in (*top.hidden, top.classes):
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(bool((inputs[0] == -1).all())))
    top(torch.randn(1, 256, 2, 2))
    assert seen == ([False, True, True] if hidden else [True])


@pytest.mark.parametrize('image', [CAFFE, SYMMETRIC], ids=['bgr', 'rgb'])
def test_images_are_normalised_as_the_row_says(image):
    classifier = narrow('darknet53', arch=dict(image=image))
    bgr = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    batch = classifier.data_preprocessor(dict(inputs=[bgr]))['inputs'][0].numpy()
    pixels = bgr.numpy().astype(np.float64)
    pixels = pixels if image.order == 'bgr' else pixels[::-1]
    expected = (pixels - np.reshape(image.mean, (3, 1, 1))) / np.reshape(image.std, (3, 1, 1))
    assert np.allclose(batch, expected, atol=1e-5)


def test_loss_and_prediction():
    classifier = Classifier(dict(type='mmcnn.darknet53', widen_factor=0.25, deepen_factor=0.1), 5, label_smoothing=0.1)
    classifier.eval()
    images, labels = torch.randn(3, 3, 64, 64), torch.tensor([0, 3, 4])
    samples = [BaseDataElement(gt_label=int(label)) for label in labels]
    logits = classifier(images).detach()
    log_p = logits.double() - logits.double().exp().sum(1, keepdim=True).log()
    target = torch.full((3, 5), 0.1 / 5, dtype=torch.float64)
    target[torch.arange(3), labels] += 0.9
    assert classifier(images, samples, 'loss')['loss'].item() == pytest.approx(-(target * log_p).sum(1).mean().item())
    for i, sample in enumerate(classifier(images, samples, 'predict')):
        assert sample.pred_scores.sum().item() == pytest.approx(1) and sample.gt_label == labels[i]
        assert sample.pred_label == logits[i].argmax()
    assert len(classifier(images, mode='predict')) == 3  # without labels


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda: on_meta('darknet35'), ["unknown classifier 'darknet35'", 'did you mean darknet53']),
        (lambda: on_meta('darknet53', num_classes=0), ['num_classes=0', 'at least 1']),
        (lambda: on_meta('darknet53', num_classes=2.5), ['num_classes=2.5', 'integer']),
        (lambda: on_meta('darknet53', out_indices=(5,)), ['out_indices=(5,)', 'omit it']),
        (lambda: on_meta('darknet53', widen=2), ["no argument 'widen'", 'did you mean widen_factor']),
        (lambda: on_meta('fpn'), ['fpn is not a classifier', 'list_classifiers']),
        (lambda: on_meta('darknet53', variant='darknet53-timm'), ["variant='darknet53-timm'", 'omit it']),
        (lambda: on_meta('darknet53', arch=dict(top=None)), ['darknet53 is not a classifier', 'list_classifiers']),
        (lambda: Classifier(dict(type='mmcnn.YOLOv4PAN', in_channels=(8, 8, 8))), ['is not a backbone of mmcnn']),
        (lambda: on_meta('darknet53')(torch.empty(1, 2, 64, 64, device='meta')), ['takes images (N, 3, H, W)', '2']),
        (lambda: on_meta('darknet53')(torch.empty(1, 3, 64, 64, device='meta'), mode='los'), ["mode='los'", "'loss'"]),
    ],
)
def test_errors_say_what_would_be_right(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), str(error.value)
