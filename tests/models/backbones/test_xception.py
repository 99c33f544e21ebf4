import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mmcnn


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


@pytest.mark.parametrize('name', ['xception', 'xception-timm'])
def test_published_counts(name):
    assert mmcnn.count_parameters(on_meta(mmcnn.build_classifier, name)) == (22_910_480, 22_855_952)


def test_maps_of_the_paper():
    """Figure 5, for images of 299 x 299: 19x19x728 before and after the middle flow, 10x10 at the end."""
    backbone = on_meta(mmcnn.build_classifier, 'xception').backbone
    x, shapes = torch.empty(1, 3, 299, 299, device='meta'), {}
    for name, stage in backbone.named_children():
        x = stage(x)
        shapes[name] = tuple(x.shape[1:])
    assert shapes == {
        'stem': (64, 147, 147),
        'block2': (128, 74, 74),
        'block3': (256, 37, 37),
        **{f'block{i}': (728, 19, 19) for i in range(4, 13)},
        'block13': (1024, 10, 10),
        'block14': (2048, 10, 10),
    }


def test_only_the_classifier_has_the_papers_padding():
    """36 convolutional layers (section 3); a detector's stem is padded, so every map has ceil(size / stride) pixels."""
    image = torch.empty(1, 3, 299, 299, device='meta')
    detector = on_meta(mmcnn.build_backbone, 'xception', out_indices=(1, 5))
    assert [tuple(x.shape[2:]) for x in detector(image)] == [(150, 150), (10, 10)]
    classifier = on_meta(mmcnn.build_classifier, 'xception').backbone
    assert tuple(classifier.stem(image).shape[2:]) == (147, 147)
    assert {k: v.shape for k, v in classifier.state_dict().items()} == {
        k: v.shape for k, v in detector.state_dict().items()
    }
    depthwise = [k for k, m in detector.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert 2 + len(depthwise) == 36


def test_block_written_out():
    """The last block of the middle flow and the first of the exit flow, as chains of functions over their tensors."""
    torch.manual_seed(0)
    backbone = mmcnn.build_backbone('xception', widen_factor=0.25, deepen_factor=0.125).eval()
    with torch.no_grad():
        for key, value in backbone.state_dict().items():
            if 'running' in key:
                value.uniform_(0.5, 1.5)

    def norm(x, layer):
        return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=1e-3)

    def separable(x, conv):
        x = F.conv2d(x, conv.depthwise.weight, padding=1, groups=x.shape[1])
        return norm(F.conv2d(x, conv.pointwise.conv.weight), conv.pointwise.bn)

    middle, exit_ = backbone.block5, backbone.block6
    x = torch.randn(1, 184, 9, 12)
    expected = x + separable(
        separable(separable(x.relu(), middle.convs[0]).relu(), middle.convs[1]).relu(), middle.convs[2]
    )
    torch.testing.assert_close(middle(x), expected)

    main = separable(separable(x.relu(), exit_.convs[0]).relu(), exit_.convs[1])
    main = F.max_pool2d(F.pad(main, (0, 1, 1, 1), value=-torch.inf), 3, 2)  # 'same' is (0, 1) at 12 pixels, (1, 1) at 9
    shortcut = norm(F.conv2d(x, exit_.shortcut.conv.weight, stride=2), exit_.shortcut.bn)
    torch.testing.assert_close(exit_(x), main + shortcut)


def test_pools_of_the_two_rows_differ_at_even_sizes_only():
    pools = [
        mmcnn.build_backbone(name, widen_factor=0.0625, out_indices=(2,)).block2.pool
        for name in ('xception', 'xception-timm')
    ]
    even, odd = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 9, 9)
    assert torch.equal(pools[0](odd), pools[1](odd))
    assert pools[0](even).shape == pools[1](even).shape and not torch.equal(pools[0](even), pools[1](even))


@pytest.mark.slow
@pytest.mark.parametrize('fused', [False, True], ids=['plain', 'fused'])
@pytest.mark.parametrize('build', ['build_backbone', 'build_classifier'])
def test_channels_last_does_not_end_the_process(build, fused):
    """A crash was reported that torch 2.13.0 does not show; this test finds a version that does."""
    code = f"""
import torch, mmcnn
network = mmcnn.{build}('xception').eval()
network = mmcnn.fuse(network) if {fused} else network
found = {{}}
for form in (torch.contiguous_format, torch.channels_last):
    network = network.to(memory_format=form)
    torch.manual_seed(0)
    with torch.no_grad():
        maps = network(torch.rand(1, 3, 299, 299).to(memory_format=form))
    found[form] = maps if isinstance(maps, torch.Tensor) else maps[-1]
torch.testing.assert_close(*found.values(), rtol=1e-3, atol=1e-4)
print('survived')
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, 'survived'), run.stderr
