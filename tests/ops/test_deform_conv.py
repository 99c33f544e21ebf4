import importlib
import math
from itertools import product

import pytest
import torch

from mmcnn.ops import DeformConv, deform_conv_backward, deform_conv_forward, torchvision_op

module = importlib.import_module('mmcnn.ops.deform_conv')
NAMES = ('input', 'offset', 'weight', 'mask')

# Odd sizes, unequal axes, one and several groups of each kind; each with its kernel size.
CONVS = [
    (DeformConv(padding=(1, 1)), (3, 3)),
    (DeformConv((2, 1), (1, 2), (1, 2), groups=2, deform_groups=3), (3, 2)),
    (DeformConv((1, 2), (2, 0), (2, 1), groups=3, deform_groups=2), (2, 3)),
    (DeformConv(groups=6, deform_groups=6), (1, 1)),
]
# Near the cells; on cells, on the border and exactly one cell outside; mostly outside the map.
OFFSETS = {
    'anywhere': lambda offset: offset * 2,
    'whole cells': lambda offset: (offset * 2).round(),
    'far': lambda offset: offset * 10,
}


def tensors(conv, kernel, offsets='anywhere', dtype=torch.float64, batch=2, seed=0):
    """Input, offset, weight, mask, bias and a gradient of the output."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    size = conv.output_size((7, 5), kernel)
    samples = conv.deform_groups * math.prod(kernel)
    offset = OFFSETS[offsets](normal(batch, samples * 2, *size))
    mask = normal(batch, samples, *size).sigmoid()
    every = (normal(batch, 6, 7, 5), offset, normal(12, 6 // conv.groups, *kernel), mask, normal(12))
    return [each.to(dtype) for each in (*every, normal(batch, 12, *size))]


def floor(position):
    return math.floor(position.detach())


def share(position, cell):
    """Weight of a cell at a position; at the cell itself its slope is that on the right."""
    return position - cell + 1 if position < cell else cell + 1 - position


def plain_deform_conv(input, offset, weight, mask, bias, conv):
    """The definition, one sample at a time, and differentiable."""
    batch, channels, height, width = input.shape
    outputs, per_group, rows, columns = weight.shape
    per_deform_group = channels // conv.deform_groups
    output = []
    for n, out_y, out_x in product(range(batch), range(offset.shape[2]), range(offset.shape[3])):
        total = input.new_zeros(outputs)
        for i, j in product(range(rows), range(columns)):
            place, sampled = i * columns + j, []
            for group in range(conv.deform_groups):
                number = group * rows * columns + place
                off_y, off_x = offset[n, 2 * number : 2 * number + 2, out_y, out_x]
                y = out_y * conv.stride[0] - conv.padding[0] + i * conv.dilation[0] + off_y
                x = out_x * conv.stride[1] - conv.padding[1] + j * conv.dilation[1] + off_x
                value = input.new_zeros(per_deform_group)
                if -1 < y < height and -1 < x < width:
                    for cell_y, cell_x in product(*((floor(each), floor(each) + 1) for each in (y, x))):
                        if 0 <= cell_y < height and 0 <= cell_x < width:
                            cells = input[n, group * per_deform_group : (group + 1) * per_deform_group, cell_y, cell_x]
                            value = value + share(y, cell_y) * share(x, cell_x) * cells
                sampled.append(value if mask is None else value * mask[n, number, out_y, out_x])
            by_group = torch.cat(sampled).view(conv.groups, per_group, 1)
            total = total + (weight[:, :, i, j].view(conv.groups, -1, per_group) @ by_group).flatten()
        output.append(total if bias is None else total + bias)
    return torch.stack(output).view(batch, *offset.shape[2:], outputs).movedim(-1, 1)


def gradients_of_definition(given, grad, conv):
    leaves = [None if each is None else each.clone().requires_grad_() for each in given]
    output = plain_deform_conv(*leaves, None, conv)
    wanted = [each for each in leaves if each is not None]
    return dict(zip(NAMES, torch.autograd.grad(output, wanted, grad, allow_unused=True), strict=False))


@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('offsets', OFFSETS)
@pytest.mark.parametrize(('conv', 'kernel'), CONVS)
def test_equals_definition(conv, kernel, offsets, modulated):
    *given, bias, grad = tensors(conv, kernel, offsets)
    if not modulated:
        given[3] = bias = None
    output = deform_conv_forward(*given, bias, conv)
    torch.testing.assert_close(output, plain_deform_conv(*given, bias, conv), rtol=1e-12, atol=1e-12)
    grads = deform_conv_backward(grad, *given, conv)
    for name, expected in gradients_of_definition(given, grad, conv).items():
        expected = torch.zeros_like(given[NAMES.index(name)]) if expected is None else expected
        torch.testing.assert_close(getattr(grads, name), expected, rtol=1e-12, atol=1e-12)
    assert (grads.mask is None) == (not modulated)


def test_what_a_whole_offset_reads():
    # A 1x1 kernel whose offset is one cell down and two to the left.
    input = torch.arange(12.0).view(1, 1, 3, 4)
    offset = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    output = deform_conv_forward(input, offset, torch.ones(1, 1, 1, 1))
    assert output[0, 0].tolist() == [[0, 0, 4, 5], [0, 0, 8, 9], [0, 0, 0, 0]]


@pytest.mark.parametrize('most', [1, 300])
def test_chunks_do_not_matter(most, monkeypatch):
    conv, kernel = CONVS[1]
    *given, bias, grad = tensors(conv, kernel, batch=5)
    whole, grads = deform_conv_forward(*given, bias, conv), deform_conv_backward(grad, *given, conv)
    monkeypatch.setattr(module, 'MAX_ELEMENTS', most * 36)
    torch.testing.assert_close(deform_conv_forward(*given, bias, conv), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tuple(deform_conv_backward(grad, *given, conv)), tuple(grads), rtol=1e-12, atol=1e-12)


def test_only_what_is_wanted():
    conv, kernel = CONVS[1]
    *given, _, grad = tensors(conv, kernel)
    every = deform_conv_backward(grad, *given, conv)
    for names in (('weight',), ('input', 'offset')):
        some = deform_conv_backward(grad, *given, conv, wanted=names)
        assert [name for name in NAMES if getattr(some, name) is not None] == sorted(names, key=NAMES.index)
        for name in names:
            torch.testing.assert_close(getattr(some, name), getattr(every, name), rtol=0, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_types(dtype):
    conv, kernel = CONVS[1]
    *given, bias, grad = tensors(conv, kernel, dtype=dtype)
    exact = [each.double() for each in given]
    # It is computed in float32 and rounded once: an eps of the type is enough, half of it for the rounding.
    bound = dict(rtol=torch.finfo(dtype).eps, atol=2e-5)
    output = deform_conv_forward(*given, bias, conv)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), deform_conv_forward(*exact, bias.double(), conv), **bound)
    grads = deform_conv_backward(grad, *given, conv)
    for got, expected in zip(grads, deform_conv_backward(grad.double(), *exact, conv), strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), expected, **bound)


def test_full_precision_under_autocast():
    conv, kernel = CONVS[0]
    *given, bias, grad = tensors(conv, kernel, dtype=torch.float32)
    output, grads = deform_conv_forward(*given, bias, conv), deform_conv_backward(grad, *given, conv)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(deform_conv_forward(*given, bias, conv), output, rtol=0, atol=0)
        torch.testing.assert_close(tuple(deform_conv_backward(grad, *given, conv)), tuple(grads), rtol=0, atol=0)


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -1e30])
def test_an_offset_to_nowhere_counts_nothing(bad):
    conv, kernel = CONVS[0]
    *given, bias, grad = tensors(conv, kernel)
    given[1][0, 4] = bad  # the y of the third tap
    without = [each.clone() for each in given]
    without[1][0, 4], without[3][0, 2] = 0, 0
    torch.testing.assert_close(deform_conv_forward(*given, bias, conv), deform_conv_forward(*without, bias, conv))
    grads = deform_conv_backward(grad, *given, conv)
    assert all(each.isfinite().all() for each in grads)
    assert not grads.offset[0, 4:6].any()
    assert not grads.mask[0, 2].any()


def test_no_images():
    conv, kernel = CONVS[0]
    *given, bias, grad = tensors(conv, kernel, batch=0)
    assert deform_conv_forward(*given, bias, conv).shape == (0, 12, 7, 5)
    grads = deform_conv_backward(grad, *given, conv)
    assert [each.shape for each in grads] == [each.shape for each in given]
    assert not grads.weight.any()


def test_meta_device():
    conv, kernel = CONVS[1]
    *given, bias, grad = (each.to('meta') for each in tensors(conv, kernel))
    assert deform_conv_forward(*given, bias, conv).shape == grad.shape


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(input=torch.zeros(6, 7, 5)), r'the input must have shape \(N, C, H, W\).*not \(6, 7, 5\)'),
        (
            dict(weight=torch.zeros(12, 5, 3, 3)),
            r'6 channels, a weight \(12, 5, 3, 3\), 1 groups and 1 deform groups do',
        ),
        (dict(conv=DeformConv(padding=(1, 1), deform_groups=4)), '6 channels.*4 deform groups do not match'),
        (
            dict(conv=DeformConv(dilation=(4, 4))),
            r'an input of 7 x 5 with a padding of \(0, 0\) is smaller than the ker',
        ),
        (dict(offset=torch.zeros(2, 9, 7, 5)), r'the offset must have shape \(2, 18, 7, 5\), not \(2, 9, 7, 5\)'),
        (dict(mask=torch.zeros(2, 9, 6, 5)), r'the mask must have shape \(2, 9, 7, 5\), not \(2, 9, 6, 5\)'),
        (dict(bias=torch.zeros(6)), r'the bias must have shape \(12,\), not \(6,\)'),
    ],
)
def test_errors(change, message):
    conv, kernel = CONVS[0]
    arguments = dict(zip((*NAMES, 'bias'), tensors(conv, kernel)[:5], strict=True), conv=conv) | change
    with pytest.raises(ValueError, match=message):
        deform_conv_forward(**arguments)


def operators_in_torchvisions_order(name, tensor):
    """The definition with the arguments of torchvision's operators."""

    def split(input, weight, offset, mask, bias, *numbers):
        *pairs, groups, deform_groups, use_mask = numbers
        conv = DeformConv(*zip(pairs[::2], pairs[1::2], strict=True), groups, deform_groups)
        return (input, offset, weight, mask if use_mask else None), bias, conv

    def forward(*arguments):
        given, bias, conv = split(*arguments)
        return plain_deform_conv(*given, bias, conv)

    def backward(grad, *arguments):
        given, _, conv = split(*arguments)
        grads = gradients_of_definition(given, grad, conv)
        # There are always five gradients, also without a mask.
        return grads['input'], grads['weight'], grads['offset'], grads.get('mask', arguments[3]), grad.sum((0, 2, 3))

    return {'deform_conv2d': forward, '_deform_conv2d_backward': backward}[name]


def torchvisions_operator(name, tensor):
    return torchvision_op(name, tensor.device.type)


needs_torchvision = pytest.mark.skipif(
    torchvision_op('deform_conv2d', 'cpu') is None, reason="torchvision's operators do not load here"
)


@pytest.mark.parametrize(
    'find', [operators_in_torchvisions_order, pytest.param(torchvisions_operator, marks=needs_torchvision)]
)
@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('offsets', OFFSETS)
@pytest.mark.parametrize(('conv', 'kernel'), CONVS)
def test_torchvisions_operator_gives_the_same(conv, kernel, offsets, modulated, find, monkeypatch):
    *given, bias, grad = tensors(conv, kernel, offsets)
    if not modulated:
        given[3] = bias = None
    ours = deform_conv_forward(*given, bias, conv), *deform_conv_backward(grad, *given, conv)
    monkeypatch.setattr(module, 'torchvision_op_for', find)
    theirs = deform_conv_forward(*given, bias, conv), *deform_conv_backward(grad, *given, conv)
    torch.testing.assert_close(theirs, ours, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('own', [False, True])
@pytest.mark.parametrize(('conv', 'kernel'), CONVS)
def test_cuda(conv, kernel, own, monkeypatch):
    if own:
        monkeypatch.setattr(module, 'torchvision_op_for', lambda name, tensor: None)
    *given, bias, grad = tensors(conv, kernel)
    on_gpu = [each.cuda() for each in given]
    output = deform_conv_forward(*on_gpu, bias.cuda(), conv)
    torch.testing.assert_close(output.cpu(), deform_conv_forward(*given, bias, conv))
    grads = deform_conv_backward(grad.cuda(), *on_gpu, conv)
    for got, expected in zip(grads, deform_conv_backward(grad, *given, conv), strict=True):
        torch.testing.assert_close(got.cpu(), expected)
