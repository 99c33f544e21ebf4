import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mmcnn
from mmcnn.models.backbones.resnext import SummedPaths
from mmcnn.weights.sources.torchvision import SOURCE

# Total and trainable parameters with 1000 classes; for the variants, trainable ones from torchvision and timm.
CLASSIFIERS = {
    'resnext50': (26_970_024, 25_965_352),
    'resnext50-32x4d': (25_097_128, 25_028_904),
    'resnext101-32x4d': (44_315_560, 44_177_704),
    'resnext101-32x8d': (88_994_216, 88_791_336),
    'resnext101-64x4d': (83_658_152, 83_455_272),
}
EXACT = dict(rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_published_counts(name):
    with torch.device('meta'):
        assert mmcnn.count_parameters(mmcnn.build_classifier(name)) == CLASSIFIERS[name]


def test_table_1_of_the_paper():
    """C = 32, d = 4: the 3x3 have 128, 256, 512 and 1024 channels in 32 groups."""
    for name in ('resnext50', 'resnext50-32x4d'):
        with torch.device('meta'):
            backbone = mmcnn.build_backbone(name, out_indices=(1, 2, 3, 4, 5))
        maps = backbone(torch.empty(1, 3, 224, 224, device='meta'))
        assert [tuple(x.shape[1:]) for x in maps] == [
            (64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7),
        ]  # fmt: skip
        for i, hidden in enumerate((128, 256, 512, 1024), start=1):
            for block in getattr(backbone, f'stage{i}').blocks:
                assert (block.conv2.conv.out_channels, block.conv2.conv.groups) == (hidden, 32)


def test_equals_mmdet_with_the_same_weights():
    """MMDetection's ResNeXt is an independent implementation with torchvision's names."""
    from mmdet.models.backbones import ResNeXt as Peer

    peer = Peer(depth=50, groups=32, base_width=1, base_channels=16, stem_channels=16, norm_eval=False)
    ours = mmcnn.build_backbone('resnext50-32x4d', widen_factor=0.25)
    with torch.no_grad():
        for key, value in peer.state_dict().items():
            if 'running' in key:
                value.uniform_(0.5, 1.5)
    renamed = SOURCE.translate(peer.state_dict(), 'resnext50-32x4d').state
    ours.load_state_dict({key.removeprefix('backbone.'): value for key, value in renamed.items()}, strict=True)
    peer.eval(), ours.eval()
    image = torch.randn(1, 3, 65, 96)
    with torch.no_grad():
        for a, b in zip(ours(image), peer(image), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


PATHS, INPUTS, OUTPUTS = 8, 3, 5  # the layer under test: paths, inputs per path, outputs


def paths(norm=None, dtype=torch.float64):
    """Builds the layer with weights and statistics unlike those of a new one."""
    norm = dict(type='BN', eps=1e-3, momentum=0.3) | (norm or {})
    layer = SummedPaths(PATHS * INPUTS, OUTPUTS, 1, paths=PATHS, norm_cfg=norm, act_cfg=None).to(dtype)
    with torch.no_grad():
        for key, value in layer.state_dict().items():
            if 'running' in key or key == 'bn.weight':
                value.uniform_(0.5, 1.5)
            elif key == 'bn.bias':
                value.normal_()
    return layer


def form_a(layer, x):
    """Figure 3(a) of the paper, path by path, with PyTorch's functions on the layer's parameters."""
    bn, total = layer.bn, 0
    for path in range(PATHS):
        part = slice(path * OUTPUTS, (path + 1) * OUTPUTS)
        y = F.conv2d(x[:, path * INPUTS : (path + 1) * INPUTS], layer.conv.weight[part])
        statistics = bn.running_mean[part], bn.running_var[part]  # views, which are updated in place
        gamma = None if bn.weight is None else bn.weight[part]
        total = total + F.batch_norm(y, *statistics, gamma, bn.bias[part], bn.training, bn.momentum, bn.eps)
    return total


def gradients(layer, forward, x):
    """Output, gradients and buffers after a loss that no normalisation makes constant."""
    x = x.clone().requires_grad_()
    y = forward(x)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y).cos() + y**3).sum().backward()
    return [y, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('norm', [None, dict(gamma=False), dict(eps=0.1, momentum=0.9)], ids=str)
def test_one_convolution_equals_the_paths(norm, training):
    torch.manual_seed(1)
    fast = paths(norm).train(training)
    torch.manual_seed(1)
    slow = paths(norm).train(training)
    assert all(torch.equal(a, b) for a, b in zip(fast.state_dict().values(), slow.state_dict().values(), strict=True))
    x = torch.randn(2, PATHS * INPUTS, 7, 9, dtype=torch.float64).relu()
    calls = []
    fast.bn.register_forward_hook(lambda *_: calls.append(1))
    ours, theirs = gradients(fast, fast, x), gradients(slow, lambda x: form_a(slow, x), x)
    assert not calls  # the normalisation over all paths did not run
    assert fast.bn.num_batches_tracked == training
    slow.bn.num_batches_tracked.fill_(int(training))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize('norm', [dict(momentum=None), dict(affine=False), dict(track_running_stats=False)], ids=str)
def test_both_executions_are_the_same(norm):
    """Settings of BatchNorm that ``form_a`` does not cover, in three training steps and then in evaluation."""
    torch.manual_seed(1)
    fast = paths(norm)
    torch.manual_seed(1)
    slow = paths(norm)
    slow.explicit = True
    for _ in range(3):
        x = torch.randn(2, PATHS * INPUTS, 7, 9, dtype=torch.float64).relu()
        for a, b in zip(gradients(fast, fast, x), gradients(slow, slow, x), strict=True):
            torch.testing.assert_close(a, b, **EXACT)
    torch.testing.assert_close(fast.eval()(x), slow.eval()(x), **EXACT)


def test_whole_network_in_both_executions():
    image, results = torch.randn(2, 3, 64, 64, dtype=torch.float64), []
    for explicit in (False, True):
        torch.manual_seed(1)
        backbone = mmcnn.build_backbone('resnext50', widen_factor=0.25, deepen_factor=0.33).double().train()
        for module in backbone.modules():
            if isinstance(module, SummedPaths):
                module.explicit = explicit
        results.append(gradients(backbone, lambda x, net=backbone: net(x)[-1], image))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_rounding_makes_no_variance_negative():
    """The inputs are multiples of each other and the kernels cancel them, so the true variance is 0."""
    layer = paths(dtype=torch.float32).train()
    x, factors = torch.randn(2, PATHS * INPUTS, 7, 9) * 1e4, torch.rand(PATHS, 1) * 10
    x = x.view(2, PATHS, INPUTS, 7, 9)
    x[:, :, 1] = x[:, :, 0] * factors[..., None]
    with torch.no_grad():
        kernel = layer.conv.weight.view(PATHS, OUTPUTS, INPUTS)
        kernel[:] = torch.stack([factors, -torch.ones_like(factors), torch.zeros_like(factors)], dim=-1)
    assert all(value.isfinite().all() for value in gradients(layer, layer, x.flatten(1, 2)))
    assert (layer.bn.running_var >= 0).all()


def test_fixed_statistics_stay_in_training():
    layer = paths().train()
    layer.bn.eval()
    before = [buffer.clone() for buffer in layer.buffers()]
    x = torch.randn(2, PATHS * INPUTS, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(layer(x), form_a(layer, x), **EXACT)
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), before, strict=True))


def test_statistics_keep_their_precision_under_autocast():
    torch.manual_seed(1)
    layer = paths(dtype=torch.float32).train()
    torch.manual_seed(1)
    reference = paths(dtype=torch.float32).train()
    x = torch.randn(4, PATHS * INPUTS, 8, 8) + 1
    form_a(reference, x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(layer.bn.running_mean, reference.bn.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.bn.running_var, reference.bn.running_var, rtol=1e-5, atol=1e-6)


def test_other_normalisations_take_the_explicit_form():
    x = torch.randn(2, PATHS * INPUTS, 7, 9, dtype=torch.float64)
    layer = SummedPaths(
        PATHS * INPUTS, OUTPUTS, 1, paths=PATHS, norm_cfg=dict(type='GN', num_groups=PATHS), act_cfg=None
    ).double()
    y = F.group_norm(F.conv2d(x, layer.conv.weight, groups=PATHS), PATHS)
    torch.testing.assert_close(layer(x), y.view(2, PATHS, OUTPUTS, 7, 9).sum(1), **EXACT)
    sync = paths(dict(type='SyncBN'))
    torch.testing.assert_close(sync.eval()(x), form_a(sync, x), **EXACT)  # training it needs several processes
    assert sync._is_affine() and not sync.train()._is_affine()


def test_batchnorm_folded_into_the_convolution():
    layer, x = paths().eval(), torch.randn(2, PATHS * INPUTS, 7, 9, dtype=torch.float64)
    expected = form_a(layer, x)
    layer.conv, layer.bn = nn.utils.fuse_conv_bn_eval(layer.conv, layer.bn), nn.Identity()
    torch.testing.assert_close(layer(x), expected, **EXACT)
    assert layer._is_affine()
