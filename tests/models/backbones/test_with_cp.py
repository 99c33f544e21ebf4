"""Activation checkpointing of every family: the same outputs, gradients and statistics from less memory."""

import copy

import pytest
import torch

import mmcnn
from mmcnn.registry import BACKBONE_FAMILIES

mmcnn.list_backbones()  # registers the families
#: The first row of each family.
FAMILIES = list({cls: name for name, cls in reversed(BACKBONE_FAMILIES.items())}.values())


def step(backbone, image):
    """Runs forward and backward; gives the maps and the bytes saved for backward besides parameters and statistics."""
    own = {each.untyped_storage().data_ptr() for each in (*backbone.parameters(), *backbone.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(1)  # for dropout
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = backbone(image)
        held = sum(kept.values())
    sum(each.square().mean() for each in maps).backward()
    return maps, held


@pytest.mark.parametrize('name', FAMILIES)
def test_gradients_and_statistics_are_the_same(name):
    torch.manual_seed(0)
    plain = mmcnn.build_backbone(name, widen_factor=0.125, deepen_factor=0.33).train()
    saving = copy.deepcopy(plain)
    saving.with_cp = True
    image = torch.randn(2, 3, 64, 64)
    expected, everything = step(plain, image)
    got, held = step(saving, image)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    for (key, a), (_, b) in zip(saving.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-6, msg=lambda text, key=key: f'{key}: {text}')
    # Each batch is counted once, although blocks are computed twice.
    for key, value in plain.state_dict().items():
        assert torch.equal(saving.state_dict()[key], value), key
    assert held < 0.9 * everything


@pytest.mark.parametrize('momentum', [0.1, None])
def test_a_batch_counts_once(momentum):
    def built(**more):
        torch.manual_seed(0)
        return mmcnn.build_backbone(
            'resnet50-tv', widen_factor=0.125, norm_cfg=dict(type='BN', momentum=momentum), **more
        ).train()

    saving, plain = built(with_cp=True), built()
    for seed in range(3):
        for each in (saving, plain):
            step(each, torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)))
    assert int(saving.stem.bn.num_batches_tracked) == 3
    for key, value in plain.state_dict().items():
        assert torch.equal(saving.state_dict()[key], value), key
    assert saving.stem.bn.momentum == momentum


def test_frozen_stages_and_fixed_statistics():
    small = dict(widen_factor=0.125, frozen_stages=2, norm_eval=True)
    torch.manual_seed(0)
    saving = mmcnn.build_backbone('resnet50-tv', with_cp=True, **small).train()
    plain = copy.deepcopy(saving)
    plain.with_cp = False
    image = torch.randn(1, 3, 64, 64)
    step(saving, image), step(plain, image)
    assert saving.stage1.blocks[0].conv1.conv.weight.grad is None
    torch.testing.assert_close(
        saving.stage2.blocks[0].conv1.conv.weight.grad, plain.stage2.blocks[0].conv1.conv.weight.grad
    )


def test_a_block_is_computed_again_only_in_training():
    backbone = mmcnn.build_backbone('resnet18', widen_factor=0.125, with_cp=True)
    calls = []
    backbone.stage1.blocks[0].conv1.register_forward_hook(lambda *_: calls.append(1))
    image = torch.randn(1, 3, 64, 64)
    backbone.train()
    step(backbone, image)
    assert len(calls) == 2
    backbone.eval()
    step(backbone, image)
    with torch.no_grad():
        backbone.train()(image)
    assert len(calls) == 4


def test_a_hook_on_a_stage_sees_it_once():
    backbone = mmcnn.build_backbone('resnet18', widen_factor=0.125, with_cp=True).train()
    seen = []
    backbone.stage1.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    maps, _ = step(backbone, torch.randn(1, 3, 64, 64))
    assert seen[0] == tuple(maps[0].shape)
