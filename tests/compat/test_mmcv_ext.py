import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcnn.compat import mmcv_ext

REFERENCE = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'data' / 'reference' / 'mmcv_ops_reference.npz'

needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason='outputs of the compiled operators are not here')
if importlib.import_module('mmcv._ext').nms is not mmcv_ext.nms:
    pytest.skip('this mmcv has compiled operators', allow_module_level=True)


@needs_reference
@pytest.mark.parametrize('case', range(5))
def test_nms_through_mmcv(case):
    from mmcv.ops import batched_nms, nms

    reference = np.load(REFERENCE)
    boxes, scores, labels = (torch.from_numpy(reference[f'nms{case}_{name}']) for name in ('boxes', 'scores', 'labels'))
    threshold = float(reference[f'nms{case}_thr'])
    for offset, name in ((0, 'keep'), (1, 'offset1_keep')):
        detections, kept = nms(boxes, scores, threshold, offset)
        assert kept.tolist() == reference[f'nms{case}_{name}'].tolist()
        torch.testing.assert_close(detections, torch.cat([boxes[kept], scores[kept, None]], 1))
    settings = dict(type='nms', iou_threshold=threshold)
    assert batched_nms(boxes, scores, labels, settings)[1].tolist() == reference[f'nms{case}_batched_keep'].tolist()
    # Above split_thr mmcv calls class by class.
    _, kept = batched_nms(boxes, scores, labels, settings | dict(split_thr=1))
    assert sorted(kept.tolist()) == sorted(reference[f'nms{case}_batched_keep'].tolist())


@needs_reference
@pytest.mark.parametrize('case', range(4))
def test_roi_align_through_mmcv(case):
    from mmcv.ops import RoIAlign

    reference = np.load(REFERENCE)
    names = ('input', 'rois', 'out', 'grad_out', 'grad_in')
    features, rois, out, grad_out, grad_in = (torch.from_numpy(reference[f'roi{case}_{name}']) for name in names)
    layer = RoIAlign(
        tuple(out.shape[2:]),
        spatial_scale=float(reference[f'roi{case}_scale']),
        sampling_ratio=int(reference[f'roi{case}_sampling']),
        aligned=bool(reference[f'roi{case}_aligned']),
    )
    pooled = layer(features.requires_grad_(), rois)
    pooled.backward(grad_out)
    torch.testing.assert_close(pooled.detach(), out, rtol=0, atol=1e-5)
    torch.testing.assert_close(features.grad, grad_in, rtol=0, atol=1e-5)


def test_max_pooling_through_mmcv():
    from mmcv.ops import roi_align

    features = torch.arange(16.0).view(1, 1, 4, 4).requires_grad_()
    pooled = roi_align(features, torch.tensor([[0.0, 0, 0, 4, 4]]), (2, 2), 1.0, 2, 'max', True)
    # The samples lie on the cells, so each bin holds the last of its four cells.
    assert pooled.flatten().tolist() == [5, 7, 13, 15]
    pooled.sum().backward()
    assert features.grad.flatten().nonzero().flatten().tolist() == [5, 7, 13, 15]


@pytest.mark.parametrize('weight', [None, torch.tensor([1.0, 2.0, 0.5])])
def test_sigmoid_focal_loss_through_mmcv(weight):
    from mmcv.ops import sigmoid_focal_loss
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

    logits, target = torch.linspace(-3, 3, 12).view(4, 3).requires_grad_(), torch.tensor([0, 1, 2, 3])
    scale = torch.ones(4) if weight is None else torch.cat([weight, torch.ones(1)])
    loss = sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'mean')
    (grad,) = torch.autograd.grad(loss, logits)
    one_hot = torch.nn.functional.one_hot(target, 4)[:, :3]
    expected = (py_sigmoid_focal_loss(logits, one_hot, reduction='none') * scale[target, None]).sum() / 4
    (expected_grad,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, expected_grad)


def test_other_operators_say_how_to_get_them():
    from mmcv.ops import soft_nms

    with pytest.raises(NotImplementedError, match=r'`softnms` needs a compiled mmcv.*mmcv==2\.1\.0') as error:
        soft_nms(torch.zeros(1, 4), torch.zeros(1))
    assert '\n' not in str(error.value)


def test_looks_like_a_module():
    extension = sys.modules['mmcv._ext']
    for name in ('__path__', '__wrapped__', '__all__'):
        with pytest.raises(AttributeError, match=name):
            getattr(extension, name)
    assert extension.__spec__.name == 'mmcv._ext'
    assert extension.__doc__.startswith('A stand-in for ``mmcv._ext``')
    assert extension.ms_deform_attn_forward.__name__ == 'ms_deform_attn_forward'


def doubles(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(
    ('stride', 'padding', 'dilation', 'groups', 'deform_groups'), [(1, 1, 1, 1, 1), ((2, 1), (1, 2), (1, 2), 2, 3)]
)
def test_deform_conv_through_mmcv(stride, padding, dilation, groups, deform_groups):
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    settings = (stride, padding, dilation, groups, deform_groups)
    height, width = (5, 4) if groups == 1 else (3, 6)
    features, weight, bias = doubles(2, 6, 5, 4), doubles(4, 6 // groups, 3, 3, seed=1), doubles(4, seed=2)
    offset = (doubles(2, deform_groups * 18, height, width, seed=3) * 2).detach().requires_grad_()
    mask = doubles(2, deform_groups * 9, height, width, seed=4)
    if groups != 1:
        weight, offset, mask = weight[..., :2], offset[:, : 12 * deform_groups], mask[:, : 6 * deform_groups]
        weight, offset, mask = (each.detach().requires_grad_() for each in (weight, offset, mask))
    # gradcheck compares with numerical gradients, independently of our formulas.
    assert torch.autograd.gradcheck(
        lambda *given: deform_conv2d(*given, *settings), (features, offset, weight), fast_mode=True
    )
    assert torch.autograd.gradcheck(
        lambda *given: modulated_deform_conv2d(*given, *settings),
        (features, offset, mask, weight, bias),
        fast_mode=True,
    )
    assert torch.autograd.gradcheck(
        lambda *given: modulated_deform_conv2d(*given, None, *settings),
        (features, offset, mask, weight),
        fast_mode=True,
    )


def test_fresh_deformable_layers_are_plain_convolutions():
    from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack

    features = doubles(3, 4, 7, 6).float()
    for layer, factor in ((DeformConv2dPack, 1.0), (ModulatedDeformConv2dPack, 0.5)):
        conv = layer(4, 8, 3, stride=2, padding=1, groups=2)
        bias = getattr(conv, 'bias', None)
        expected = torch.nn.functional.conv2d(features, conv.weight * factor, bias, 2, 1, groups=2)
        torch.testing.assert_close(conv(features), expected)
        conv(features).sum().backward()
        assert conv.conv_offset.weight.grad.abs().sum() > 0


def test_deform_conv_of_an_image_smaller_than_its_kernel():
    from mmcv.ops import DeformConv2d

    conv = DeformConv2d(2, 3, 3, padding=1, im2col_step=1)
    features = torch.ones(2, 2, 2, 2)
    output = conv(features, torch.zeros(2, 18, 2, 2))
    torch.testing.assert_close(output, torch.nn.functional.conv2d(features, conv.weight, padding=1))


def test_deform_conv_trains_under_autocast():
    from mmcv.ops import ModulatedDeformConv2dPack

    conv, features = ModulatedDeformConv2dPack(4, 4, 3, padding=1), doubles(1, 4, 6, 6).float()
    conv(features).square().sum().backward()
    expected = conv.weight.grad.clone()
    conv.zero_grad()
    with torch.autocast('cpu', torch.bfloat16):
        output = conv(features)
    assert output.dtype == torch.bfloat16  # mmcv uses the offset's dtype, which autocast rounds
    output.float().square().sum().backward()
    assert conv.weight.grad.dtype == torch.float32
    torch.testing.assert_close(conv.weight.grad, expected, rtol=0.05, atol=0.05 * expected.abs().max())


def test_an_offset_of_a_finer_level_is_read_from_its_start():
    # MMDetection's DyHead calls the operator like this: mmcv reads each image's buffer as if it had the output's size.
    from mmcv.ops import modulated_deform_conv2d

    features, weight = doubles(2, 3, 4, 5), doubles(2, 3, 3, 3, seed=1)
    both = doubles(2, 27, 8, 10, seed=2)
    offset, mask = both[:, :18], both[:, 18:].sigmoid()
    as_read = [each.flatten(1)[:, : len(each[0]) * 20].view(2, -1, 4, 5) for each in (offset, mask)]
    expected = modulated_deform_conv2d(features, *as_read, weight, None, 1, 1)
    output = modulated_deform_conv2d(features, offset, mask, weight, None, 1, 1)
    torch.testing.assert_close(output, expected)
    grads, expected = (
        torch.autograd.grad(each.square().sum(), both, retain_graph=True)[0] for each in (output, expected)
    )
    torch.testing.assert_close(grads, expected)
    with pytest.raises(ValueError, match=r'the offset must have shape \(2, 18, 4, 5\), not \(2, 18, 2, 5\)'):
        modulated_deform_conv2d(features, offset[:, :, :2, :5], mask, weight, None, 1, 1)


def test_masked_conv_through_mmcv():
    from mmcv.ops import MaskedConv2d

    conv, features = MaskedConv2d(3, 4, 3, padding=1), doubles(1, 3, 6, 5).float().detach()
    mask = torch.arange(30).view(1, 6, 5) % 3 == 0
    expected = torch.nn.functional.conv2d(features, conv.weight, conv.bias, padding=1) * mask
    torch.testing.assert_close(conv(features, mask), expected)
