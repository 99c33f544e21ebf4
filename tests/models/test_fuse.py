"""Folding BatchNorm into convolutions leaves the outputs unchanged."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmcnn
from mmcnn.compat.onednn import HAS_ONE_PASS
from mmcnn.config.load import load_config
from mmcnn.errors import CheckpointError
from mmcnn.models.fuse import fold
from mmcnn.models.layers import ConvNormAct, NormAct, OnePassConv2d, SameConv2d
from mmcnn.models.wiring import wire
from mmcnn.registry import BACKBONE_FAMILIES, MODELS
from mmcnn.weights.loading import load_state

FAMILIES = list({cls: name for name, cls in reversed(BACKBONE_FAMILIES.items())}.values())
BN = dict(type='BN', eps=1e-3)


def randomised(model):
    """Gives an untrained network random statistics, scales and shifts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                if module.weight is not None:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def norms(model):
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def assert_same(ours, expected, tolerance=1e-5):
    assert len(ours) == len(expected) > 0
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.parametrize('name', FAMILIES)
@torch.no_grad()
def test_every_family_computes_the_same(name):
    backbone = randomised(mmcnn.build_backbone(name, widen_factor=0.25, deepen_factor=0.33))
    images = torch.randn(2, 3, 97, 130)
    before, state = backbone(images), copy.deepcopy(backbone.state_dict())
    fused = mmcnn.fuse(backbone)
    assert_same(fused(images), before)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    assert not [m for m in fused.modules() if isinstance(m, ConvNormAct) and isinstance(m.bn, _BatchNorm)]


@torch.no_grad()
def test_whole_detector():
    cfg = load_config('yolov4_cspdarknet53_narrow')
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = randomised(MODELS.build(wire(cfg.model)))
    images = torch.rand(1, 3, 96, 128)
    fused = mmcnn.fuse(detector)
    assert norms(detector) and not norms(fused)
    assert_same(fused(images)[0], detector(images)[0])


def test_folded_numbers_by_hand():
    unit = ConvNormAct(1, 1, 1, norm_cfg=dict(type='BN', eps=0.0), act_cfg=None, bias=True)
    with torch.no_grad():
        unit.conv.weight.fill_(3.0), unit.conv.bias.fill_(1.0)
        unit.bn.running_mean.fill_(2.0), unit.bn.running_var.fill_(4.0)
        unit.bn.weight.fill_(5.0), unit.bn.bias.fill_(0.5)
    conv = mmcnn.fuse(unit).conv
    assert (conv.weight.item(), conv.bias.item()) == (7.5, -2.0)  # 5 (3 x + 1 - 2) / 2 + 0.5 = 7.5 x - 2


@torch.no_grad()
def test_same_padding_and_missing_gamma_stay():
    unit = ConvNormAct(3, 4, 3, 2, padding='same', norm_cfg={**BN, 'gamma': False}, act_cfg=None)
    randomised(unit)
    fused = mmcnn.fuse(unit)
    assert type(fused.conv) is SameConv2d and not norms(fused)
    image = torch.randn(1, 3, 8, 8)
    assert_same([fused(image)], [unit(image)])


@torch.no_grad()
def test_units_of_others():
    behind = ConvModule(3, 4, 3, norm_cfg=BN)
    before = ConvModule(3, 4, 3, norm_cfg=BN, order=('norm', 'conv', 'act'))
    late = ConvModule(3, 4, 3, norm_cfg=BN, order=('conv', 'act', 'norm'))
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    for unit, left in ((behind, 0), (before, 1), (late, 1), (plain, 1)):
        randomised(unit)
        image = torch.randn(2, 3, 8, 8)
        fused = mmcnn.fuse(unit)
        assert len(norms(fused)) == left
        assert_same([fused(image)], [unit(image)])


@torch.no_grad()
def test_a_convolution_with_two_norms_gets_two_kernels():
    """Some heads share convolutions between levels and have a norm per level."""
    units = nn.ModuleList(ConvModule(3, 3, 1, norm_cfg=BN) for _ in range(2))
    units[1].conv = units[0].conv
    randomised(units)
    units[1].bn.running_mean.add_(1)
    image = torch.randn(1, 3, 4, 4)
    fused = mmcnn.fuse(units)
    assert not norms(fused)
    for unit, twin in zip(units, fused, strict=True):
        assert_same([twin(image)], [unit(image)])


@pytest.mark.skipif(not HAS_ONE_PASS, reason='of x86 only')
@torch.no_grad()
def test_a_unit_that_occurs_several_times_is_one_unit():
    class Twice(BaseModule):
        def __init__(self):
            super().__init__()
            self.first = self.second = ConvNormAct(3, 3, 3, norm_cfg=BN, act_cfg=dict(type='ReLU'))
            self.inner = nn.Sequential(self.first, self.first)

        def forward(self, x):
            return self.inner(self.second(self.first(x)))

    Twice.forward.__module__ = 'mmcnn.models.test'  # only networks of this package are fused
    network, image = randomised(Twice()), torch.randn(1, 3, 8, 8)
    for copied in (mmcnn.fuse(network), mmcnn.fuse(mmcnn.fuse(network)), copy.deepcopy(mmcnn.fuse(network))):
        assert_same([copied(image)], [network(image)])
        units = [copied.first, copied.second, *copied.inner]
        assert all(type(unit.conv) is OnePassConv2d for unit in units)
        assert len({id(unit.conv) for unit in units}) == 1
    assert {key for key in copied.state_dict() if 'bn' in key} == set()


@torch.no_grad()
def test_a_fused_densenet_keeps_scales_and_follows_its_weights():
    network = randomised(mmcnn.build_backbone('densenet121', widen_factor=0.25, deepen_factor=0.33))
    image = torch.randn(1, 3, 64, 64)
    fused = mmcnn.fuse(network)
    assert_same(fused(image), network(image))
    parts = [[part for part in each.modules() if isinstance(part, NormAct)] for each in (network, fused)]
    before = fused(image)[-1].clone()
    for part in (*parts[0], *parts[1]):
        part.bn.running_mean.add_(0.2), part.bn.weight.mul_(1.5)
    assert all(part.keeps_scale == HAS_ONE_PASS and (part._kept is not None) == HAS_ONE_PASS for part in parts[1])
    assert_same(fused(image), network(image))
    assert not torch.equal(fused(image)[-1], before)


class Standardised(nn.Conv2d):
    """A convolution that changes its kernel in the forward pass."""

    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class NormAndReLU(nn.BatchNorm2d):
    """A norm with its activation, like timm's BatchNormAct2d."""

    def forward(self, x):
        return super().forward(x).relu()


class Crossed(nn.Sequential):
    """Runs its parts in reverse order."""

    def forward(self, x):
        for part in reversed(list(self)):
            x = part(x)
        return x


@pytest.mark.parametrize(
    'module',
    [
        nn.Sequential(Standardised(3, 3, 1), nn.BatchNorm2d(3)),
        nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.GroupNorm(3, 3)),
        nn.Sequential(nn.Conv2d(3, 3, 1), NormAndReLU(3)),
        Crossed(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
    ],
    ids=[
        'kernel in forward',
        'spectral norm',
        'weight norm',
        'no statistics',
        'GroupNorm',
        'norm that activates',
        'other order',
    ],
)
@torch.no_grad()
def test_what_cannot_be_folded_is_left(module):
    for norm in norms(module):
        if norm.running_mean is not None:
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 1.5)
    module.eval()
    image = torch.randn(2, 3, 4, 4)
    fused = mmcnn.fuse(module)
    assert [type(each) for each in fused.modules()] == [type(each) for each in module.modules()]
    assert_same([fused(image)], [module(image)])


@torch.no_grad()
def test_a_backbone_whose_eval_returns_none():
    from mmdet.models.backbones import ResNet

    backbone = ResNet(18)
    assert backbone.eval() is None
    backbone.train()
    assert not mmcnn.fuse(backbone).training


def test_only_the_copy_is_for_inference():
    unit = ConvNormAct(3, 4, 1, norm_cfg=BN, act_cfg=None).train()
    fused = mmcnn.fuse(unit)
    assert unit.training and unit.bn.training and not fused.training
    assert all(p.requires_grad for p in unit.parameters()) and not any(p.requires_grad for p in fused.parameters())


@pytest.mark.parametrize('bias', [False, True])
def test_weights_of_the_two_are_not_confused(bias):
    unit = ConvNormAct(3, 4, 1, norm_cfg=BN, act_cfg=None, bias=bias)
    fused = mmcnn.fuse(unit)
    for model, state in ((unit, fused.state_dict()), (fused, unit.state_dict())):
        with pytest.raises(CheckpointError, match='bn'):
            load_state(model, state)
        with pytest.raises(RuntimeError, match='bn'):
            model.load_state_dict(state)


class Viewing(nn.Module):
    """Relies on contiguous maps."""

    def forward(self, x):
        return x.view(len(x), -1)


@pytest.mark.skipif(not HAS_ONE_PASS, reason='of x86 only')
class TestInOnePass:
    @torch.no_grad()
    def test_maps_come_in_the_usual_form(self):
        backbone = randomised(mmcnn.build_backbone('cspdarknet-n', out_indices=(3, 4)))
        fused, images = mmcnn.fuse(backbone), torch.randn(1, 3, 64, 96)
        convs = [module for module in fused.modules() if isinstance(module, nn.Conv2d)]
        assert convs and all(type(module) is OnePassConv2d for module in convs)
        found = fused(images)
        assert all(each.is_contiguous() for each in found)
        assert_same(found, backbone(images))
        assert_same(mmcnn.fuse(fused)(images), found)

    @torch.no_grad()
    def test_what_counts_on_the_usual_form_is_only_folded(self):
        backbone = randomised(mmcnn.build_backbone('cspdarknet-n', out_indices=(1,)))
        backbone.stem.add_module('viewing', Viewing())
        hooked = randomised(mmcnn.build_backbone('cspdarknet-n', out_indices=(1,)))
        hooked.stem.act.register_forward_hook(lambda *args: None)
        for network in (backbone, hooked, nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))):
            fused = mmcnn.fuse(network)
            assert not norms(fused)
            assert not any(isinstance(module, OnePassConv2d) for module in fused.modules())

    @torch.no_grad()
    def test_a_hook_on_the_copy_sees_what_it_saw(self):
        backbone = randomised(mmcnn.build_backbone('resnet18', out_indices=(2, 3), widen_factor=0.25))
        images, seen = torch.randn(1, 3, 64, 64), {}
        for key, network in (('before', backbone), ('after', mmcnn.fuse(backbone))):
            for block in (network.stage1.blocks[0], network.stage2.blocks[0].conv2):
                block.register_forward_hook(lambda m, a, out, key=key: seen.setdefault(key, []).append(out))
            network(images)
        assert_same(seen['after'], seen['before'])

    def test_input_gradients_through_every_block_that_works_in_place(self):
        for name in ('mobilenetv3-small', 'vovnetv2-19', 'xception', 'cspdarknet53', 'densenet121'):
            backbone = randomised(mmcnn.build_backbone(name, widen_factor=0.125, deepen_factor=0.2))
            grads = []
            for network in (backbone, mmcnn.fuse(backbone)):
                images = torch.ones(1, 3, 64, 64, requires_grad=True)
                sum(each.square().sum() for each in network(images)).backward()
                grads.append(images.grad)
            assert_same(grads[1:], grads[:1], 1e-4)

    def test_an_export_has_pytorchs_operators_only(self):
        fused = mmcnn.fuse(mmcnn.build_backbone('mobilenetv3-small', widen_factor=0.25, out_indices=(2,)))
        graph = torch.export.export(fused, (torch.randn(1, 3, 32, 32),)).graph
        assert 'mkldnn' not in str(graph) and 'mul_' not in str(graph)

    def test_folding_alone(self):
        folded = fold(mmcnn.build_backbone('resnet18', widen_factor=0.25))
        assert not norms(folded)
        assert not any(isinstance(module, OnePassConv2d) for module in folded.modules())


@pytest.mark.slow
@torch.no_grad()
def test_a_compiled_copy_computes_the_same_in_any_size():
    backbone = randomised(mmcnn.build_backbone('mobilenetv2', widen_factor=0.25))
    compiled = mmcnn.fuse(backbone, compile=True)
    assert type(compiled) is type(backbone)
    for size in ((64, 96), (80, 64), (96, 96)):
        images = torch.randn(2, 3, *size)
        found = compiled(images)
        assert_same(found, backbone(images))
        assert all(each.is_contiguous() for each in found)


@pytest.mark.slow
@torch.no_grad()
def test_backbone_and_neck_of_a_detector_are_compiled():
    cfg = load_config('yolov5_n')
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = randomised(MODELS.build(wire(cfg.model)))
    images = torch.randn(1, 3, 64, 64)
    before = detector(images, mode='tensor')
    compiled = mmcnn.fuse(detector, compile=True)
    for maps, others in zip(compiled(images, mode='tensor'), before, strict=True):
        assert_same(maps, others)
    calls = {name: module._compiled_call_impl is not None for name, module in compiled.named_children()}
    assert calls['backbone'] and calls['neck'] and not calls['bbox_head']
