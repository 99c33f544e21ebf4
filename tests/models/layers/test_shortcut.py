import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.models.layers import ConvNormAct, InvertedResidual, add_shortcut
from mmcnn.registry import BACKBONE_FAMILIES

mmcnn.list_backbones()  # registers the families
#: The first row of each family.
FAMILIES = list({cls: name for name, cls in reversed(BACKBONE_FAMILIES.items())}.values())


def branch():
    return ConvNormAct(3, 3, 1, norm_cfg=dict(type='BN'), act_cfg=None)


def test_the_sum_takes_the_memory_of_the_branch():
    x = torch.randn(2, 3, 4, 5)
    module = branch()
    out = module(x)
    expected = x + out
    got = add_shortcut(out, x, module)
    assert got is out and torch.equal(got, expected)


def test_what_a_hook_has_kept_stays_as_it_was():
    x = torch.randn(2, 3, 4, 5)
    for hooked in ('', 'bn'):
        module, kept = branch(), []
        module.get_submodule(hooked).register_forward_hook(
            lambda module, inputs, output, kept=kept: kept.append(output)
        )
        out = module(x)
        before = out.clone()
        assert torch.equal(add_shortcut(out, x, module), before + x)
        assert torch.equal(kept[0], before)


@pytest.mark.parametrize('hooked', ['', 'bn'])
@pytest.mark.parametrize('name', ['resnet50', 'resnet50v2', 'mobilenetv2', 'xception', 'cspresnet50'])
def test_hooks_of_gradients_see_them(name, hooked):
    """PyTorch creates views for the hooks, and these must not be overwritten."""
    backbone, seen = mmcnn.build_backbone(name, widen_factor=0.125, deepen_factor=0.33).train(), []
    for module in backbone.modules():
        if isinstance(module, ConvNormAct) and type(module.act) is nn.Identity:  # other activations may work in place
            module.get_submodule(hooked).register_full_backward_hook(lambda *args: seen.append(args))
    x = torch.randn(2, 3, 64, 64, requires_grad=True)
    sum(each.square().mean() for each in backbone(x)).backward()
    assert seen


def test_types_that_differ_are_promoted():
    out, x = torch.randn(1, 3, 2, 2).bfloat16(), torch.randn(1, 3, 2, 2)
    assert add_shortcut(out, x).dtype is torch.float32


def test_a_recorded_graph_has_a_plain_sum():
    block = InvertedResidual(4, 8, 4, 3, 1, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')).eval()
    x = torch.randn(1, 4, 6, 6)
    operators = [str(node.target) for node in torch.export.export(block, (x,)).graph.nodes]
    assert 'aten.add.Tensor' in operators and 'aten.add_.Tensor' not in operators
    assert 'aten::add_' not in str(torch.jit.trace(block, x).graph)


@pytest.mark.parametrize('name', FAMILIES)
def test_gradients_are_those_of_a_network_with_hooks(name):
    """Hooks keep every map alive, so nothing is written in place; the numbers are the same."""

    def gradients(hooks):
        torch.manual_seed(0)
        backbone = mmcnn.build_backbone(name, widen_factor=0.125, deepen_factor=0.33).train()
        kept = []
        if hooks:
            for module in backbone.modules():
                if isinstance(module, ConvNormAct | nn.Conv2d):
                    module.register_forward_hook(lambda module, inputs, output: kept.append(output))
        torch.manual_seed(1)  # for drop path
        maps = backbone(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)))
        sum(each.square().mean() for each in maps).backward()
        return [*maps, *(p.grad for p in backbone.parameters())]

    for plain, hooked in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, hooked)


def test_paths_are_dropped_in_evaluation_where_their_module_is_in_training_mode():
    block = InvertedResidual(4, 8, 4, 3, 1, drop_path=0.9, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')).eval()
    x = torch.randn(64, 4, 6, 6)
    block.drop_path.train()
    with torch.no_grad():
        kept = (block(x) != x).flatten(1).any(dim=1)
    assert 0 < kept.sum() < 32
    block.eval()
    seen = []
    block.drop_path.register_forward_hook(lambda *args: seen.append(args))
    block(x)
    assert seen
