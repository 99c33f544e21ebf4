"""The contract of every registered backbone; registering a new family is enough to test it."""

import copy
import dataclasses
import functools
import io
import itertools
import math
import pickle

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.models.backbones.pyramid import Pyramid
from mmcnn.registry import BACKBONE_FAMILIES, MODELS

VARIANTS = mmcnn.list_backbones()
#: The first row of each family, which represents it where weights are needed.
FAMILIES = list({cls: name for name, cls in reversed(BACKBONE_FAMILIES.items())}.values())
#: Every row; all but the first of a family are slow tests.
EVERY_VARIANT = [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAMILIES)) for name in VARIANTS]


def on_meta(name, **kwargs):
    with torch.device('meta'):
        return mmcnn.build_backbone(name, **kwargs)


def narrow(name, **kwargs):
    torch.manual_seed(0)
    return mmcnn.build_backbone(name, widen_factor=0.25, deepen_factor=0.33, **kwargs)


@functools.cache
def levels_of(name):
    return on_meta(name).levels


@pytest.mark.parametrize('name', VARIANTS)
def test_golden_numbers(name, golden):
    backbone = on_meta(name)
    total, trainable = mmcnn.count_parameters(backbone)
    row = dict(total=total, trainable=trainable, channels=backbone.out_channels, strides=backbone.out_strides)
    golden('backbones.json', name, row)


@pytest.mark.parametrize('size', [(640, 640), (97, 130)], ids=str)
@pytest.mark.parametrize('name', EVERY_VARIANT)
def test_declared_is_measured(name, size):
    levels = levels_of(name)
    backbone = on_meta(name, out_indices=levels)
    maps = backbone(torch.empty(2, 3, *size, device='meta'))
    assert backbone.out_strides == tuple(2**level for level in levels)
    assert len(maps) == len(levels)
    for x, channels, stride in zip(maps, backbone.out_channels, backbone.out_strides, strict=True):
        assert tuple(x.shape) == (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))


@pytest.mark.parametrize('name', VARIANTS)
def test_default_levels(name):
    usual = range(5) if name == 'fpn' else range(2, 7) if 'resnet-fpn' in name else range(2, 6)
    assert list(on_meta(name).out_indices) == [level for level in usual if level in levels_of(name)]


@pytest.mark.parametrize('name', VARIANTS)
def test_stages_past_the_last_level_are_not_built(name):
    levels = levels_of(name)
    small = dict(widen_factor=0.25, deepen_factor=0.33)
    states = [set(on_meta(name, out_indices=levels[:n], **small).state_dict()) for n in range(1, len(levels) + 1)]
    for fewer, more in itertools.pairwise(states):
        assert fewer <= more
    assert len(states[0]) < len(states[-1])


@pytest.mark.parametrize('name', VARIANTS)
def test_every_subset_of_levels(name, monkeypatch):
    levels = levels_of(name)
    whole = on_meta(name, out_indices=levels)
    channels = dict(zip(levels, whole.out_channels, strict=True))
    cls = BACKBONE_FAMILIES[name]
    stages = cls.stages
    # Which stages are built and returned does not depend on their content, so empty stages will do and cost nothing.
    monkeypatch.setattr(
        cls, 'stages', lambda self: (dataclasses.replace(stage, build=torch.nn.Identity) for stage in stages(self))
    )
    for subset in (s for n in range(1, len(levels) + 1) for s in itertools.combinations(levels, n)):
        backbone = on_meta(name, out_indices=subset)
        assert backbone.out_channels == tuple(channels[level] for level in subset)
        assert backbone.out_strides == tuple(2**level for level in subset)
        assert len(backbone(torch.empty(1, 3, 8, 8))) == len(subset)


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('last', [-3, -1])
def test_every_parameter_gets_a_gradient(name, last):
    backbone = narrow(name, out_indices=(levels_of(name)[last],)).train()
    backbone(torch.randn(2, 3, 96, 128))[0].square().mean().backward()
    without = [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


@pytest.mark.parametrize('name', EVERY_VARIANT)
def test_gradients_freezing_and_copies_of_every_variant(name):
    levels, small = levels_of(name), dict(widen_factor=0.25, deepen_factor=0.33)
    backbone = on_meta(name, out_indices=levels, frozen_stages=levels[1], norm_eval=True, **small).train()
    frozen = on_meta(name, out_indices=levels[:2], **small).state_dict().keys()
    sum(x.mean() for x in backbone(torch.empty(2, 3, 64, 64, device='meta'))).backward()
    for key, parameter in backbone.named_parameters():
        # A top-down path is not frozen.
        learns = key not in frozen or key.startswith(('lateral', 'output'))
        assert (parameter.requires_grad, parameter.grad is not None) == (learns, learns), key
    assert not any(m.training for m in backbone.modules() if isinstance(m, _BatchNorm))
    for twin in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert twin.load_state_dict(backbone.state_dict(), strict=True, assign=True)
        assert (twin.out_channels, twin.out_strides) == (backbone.out_channels, backbone.out_strides)


@pytest.mark.parametrize('name', FAMILIES)
def test_freezing_stops_at_the_level(name):
    image = torch.randn(2, 3, 64, 96)
    levels = levels_of(name)
    for frozen in levels:
        backbone = narrow(name, frozen_stages=frozen, out_indices=levels).train()
        before = copy.deepcopy(backbone.state_dict())
        maps = backbone(image)
        free = [p for p in backbone.parameters() if p.requires_grad]
        if free:
            sum(x.square().mean() for x in maps).backward()
            # Maps behind deep frozen stages with untrained statistics are tiny, and so are the gradients.
            torch.optim.SGD(free, lr=1e6).step()
        reference = narrow(name, out_indices=(frozen,)).state_dict()
        for key, value in backbone.state_dict().items():
            if key.endswith('num_batches_tracked'):
                continue
            changed = not torch.equal(value, before[key])
            frozen_here = key in reference and not key.startswith(
                ('lateral', 'output')
            )  # a top-down path is not frozen
            assert changed == (not frozen_here), (frozen, key)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', FAMILIES)
def test_no_stage_changes_a_map_that_has_been_given(name, training):
    """Maps are returned without a copy, so no later module may change them in place."""
    backbone = narrow(name, out_indices=levels_of(name)).train(training)
    copies = []
    if isinstance(backbone, Pyramid):
        sums = backbone.sums

        def copied_sums(*arguments):
            found = sums(*arguments)
            copies.extend(each.clone() for each in found.values())
            return found

        backbone.sums = copied_sums
    for child in backbone.children():  # every map is the output of a child or a sum of a pyramid
        child.register_forward_hook(lambda module, inputs, output: copies.append(output.clone()))
    for given in backbone(torch.randn(2, 3, 64, 64)):
        assert any(given.shape == copy.shape and torch.equal(given, copy) for copy in copies)


@pytest.mark.parametrize('name', FAMILIES)
def test_norm_eval_fixes_statistics_only(name):
    backbone = narrow(name, norm_eval=True)
    assert backbone.train() is backbone
    before = copy.deepcopy(backbone.state_dict())
    sum(x.mean() for x in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    assert all(p.grad is not None for p in backbone.parameters())
    assert backbone.training and not any(m.training for m in backbone.modules() if isinstance(m, _BatchNorm))


@pytest.mark.parametrize('name', FAMILIES)
def test_train_and_eval_return_self(name):
    backbone = narrow(name)
    assert backbone.eval() is backbone and not backbone.training
    assert backbone.train() is backbone and backbone.training


@pytest.mark.parametrize('name', FAMILIES)
def test_weights_survive_a_round_trip(name):
    first, second = narrow(name).eval(), narrow(name).eval()
    with torch.no_grad():
        for value in first.state_dict().values():
            value.copy_(torch.rand(value.shape) + 0.5)  # running variances have to be positive
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    image = torch.randn(1, 3, 64, 64)
    copies = [second, copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    for twin in copies:
        for a, b in zip(first(image), twin(image), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize('name', FAMILIES)
def test_short_name_and_variant_build_the_same(name):
    cls = BACKBONE_FAMILIES[name]
    with torch.device('meta'):
        by_name = MODELS.build(dict(type=f'mmcnn.{name}'))
        by_variant = MODELS.build(dict(type=f'mmcnn.{cls.__name__}', variant=name))
    assert type(by_name) is type(by_variant) is cls
    assert {k: v.shape for k, v in by_name.state_dict().items()} == {
        k: v.shape for k, v in by_variant.state_dict().items()
    }


@pytest.mark.parametrize('name', FAMILIES)
def test_norm_cfg_reaches_every_norm(name):
    if BACKBONE_FAMILIES[name].variants[name].norm is None:
        with pytest.raises(ValueError, match=r'has no normalisation: norm_cfg=.* needs a type'):
            narrow(name, norm_cfg=dict(momentum=0.5))
        assert any(isinstance(m, _BatchNorm) for m in narrow(name, norm_cfg=dict(type='BN')).modules())
        return
    plain = [m for m in narrow(name).modules() if isinstance(m, _BatchNorm)]
    norms = [m for m in narrow(name, norm_cfg=dict(momentum=0.5)).modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == len(plain) > 0 and {m.momentum for m in norms} == {0.5}
    assert [m.eps for m in norms] == [m.eps for m in plain]  # settings that are not given stay the row's
    sync = [m for m in narrow(name, norm_cfg=dict(type='SyncBN')).modules() if isinstance(m, _BatchNorm)]
    assert len(sync) == len(plain) and all(isinstance(m, torch.nn.SyncBatchNorm) for m in sync)


@pytest.mark.parametrize('name', FAMILIES)
def test_probing_leaves_random_state_alone(name):
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    on_meta(name)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize(
    ('kwargs', 'words'),
    [
        (dict(out_indices=(3, 9)), ['no level 9', 'its levels are']),
        (dict(out_indices=(4, 3)), ['increasing']),
        (dict(out_indices=5), ['out_indices=5', 'list of levels']),
        (dict(out_indices=()), ['not empty']),
        (dict(frozen_stages=9), ['frozen_stages=9', 'its levels are']),
        (dict(out_indice=(3,)), ["no argument 'out_indice'", 'did you mean out_indices']),
        (dict(out_indices=(3.0,)), ['no level 3.0']),
        (dict(norm_cfg='BN'), ["norm_cfg='BN'", 'must be a dict']),
        (dict(arch=dict(imagee=None)), ["no field 'imagee'", 'did you mean image']),
        (dict(in_channels=0), ['in_channels=0', 'positive']),
        (dict(widen_factor=-1), ['widen_factor=-1', 'positive']),
    ],
)
def test_errors_say_what_would_be_right(name, kwargs, words):
    with pytest.raises(ValueError) as error:
        on_meta(name, **kwargs)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize('name', FAMILIES)
def test_a_table_of_another_length_is_refused(name):
    row = BACKBONE_FAMILIES[name].variants[name]
    fields = [f.name for f in dataclasses.fields(row) if isinstance(getattr(row, f.name), tuple)]
    for field in fields:
        for given in ((*getattr(row, field), 1), 3):
            count = len(getattr(row, field))
            with pytest.raises(ValueError, match=rf'{field}=.* needs {count} entries, as in {name}'):
                on_meta(name, arch={field: given})


@pytest.mark.parametrize('name', FAMILIES)
def test_unknown_padding_is_refused(name):
    for field in {'padding', 'pool'} & set(vars(BACKBONE_FAMILIES[name].variants[name])):
        with pytest.raises(ValueError, match=f"{field}='smae'.* must be .*'same'"):
            on_meta(name, arch={field: 'smae'})


@pytest.mark.parametrize('name', FAMILIES)
def test_groups_replace_statistics(name):
    modules = list(narrow(name, norm_cfg=dict(type='GN', num_groups=2)).modules())
    if BACKBONE_FAMILIES[name].variants[name].norm is not None:
        assert any(isinstance(m, torch.nn.GroupNorm) for m in modules)
    assert not any(isinstance(m, _BatchNorm) for m in modules)


@pytest.mark.parametrize('name', FAMILIES)
def test_wrong_images_are_named(name):
    backbone = on_meta(name)
    with pytest.raises(ValueError, match=r'takes images \(N, 3, H, W\), got \(1, 2, 64, 64\); pass in_channels'):
        backbone(torch.empty(1, 2, 64, 64, device='meta'))
    assert len(on_meta(name, in_channels=2)(torch.empty(1, 2, 64, 64, device='meta'))) > 0


def pretrained(path, **settings):
    return dict(type='Pretrained', checkpoint=str(path), **settings)


@pytest.mark.parametrize('name', FAMILIES)
def test_pretrained_weights_fit_or_are_refused(name, tmp_path):
    source = narrow(name)
    with torch.no_grad():
        for value in source.state_dict().values():
            value.copy_(torch.rand(value.shape) + 0.5)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'own.pth')
    detector = {f'backbone.{k}': v for k, v in source.state_dict().items()} | {'bbox_head.bias': torch.ones(1)}
    torch.save(detector, tmp_path / 'detector.pth')

    # From a checkpoint of a whole detector the backbone is taken, with or without a prefix.
    configs = [pretrained(tmp_path / file) for file in ('own.pth', 'detector.pth')]
    for init_cfg in (*configs, pretrained(tmp_path / 'detector.pth', prefix='backbone.')):
        loaded = narrow(name, init_cfg=init_cfg).state_dict()
        assert all(torch.equal(loaded[k], v) for k, v in source.state_dict().items() if 'num_batches' not in k)
    # Only weights of stages that are not built may be left over.
    fewer = narrow(name, out_indices=levels_of(name)[2:3], init_cfg=pretrained(tmp_path / 'own.pth')).state_dict()
    assert 0 < len(fewer) < len(source.state_dict())
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in fewer.items() if 'num_batches' not in k)

    with pytest.raises(CheckpointError, match='of another shape'):
        mmcnn.build_backbone(name, widen_factor=0.5, deepen_factor=0.33, init_cfg=pretrained(tmp_path / 'own.pth'))
    with pytest.raises(CheckpointError, match='does not exist'):
        narrow(name, init_cfg=pretrained(tmp_path / 'not_there.pth'))


def test_pretrained_weights_in_a_list_are_loaded_as_strictly(tmp_path):
    source = mmcnn.build_backbone('darknet53', widen_factor=0.1)
    torch.save({**source.state_dict(), 'stem.bn.weight': torch.full((8,), 3.0)}, tmp_path / 'own.pth')
    torch.save(dict(other=torch.ones(1)), tmp_path / 'other.pth')
    own, other = pretrained(tmp_path / 'own.pth'), pretrained(tmp_path / 'other.pth')
    assert (mmcnn.build_backbone('darknet53', widen_factor=0.1, init_cfg=[own]).stem.bn.weight == 3).all()
    with pytest.raises(CheckpointError, match='does not fit darknet53'):
        mmcnn.build_backbone('darknet53', widen_factor=0.1, init_cfg=[other])
    with pytest.raises(CheckpointError, match="'Pretrained' initializes all entries and cannot be combined"):
        mmcnn.build_backbone('darknet53', widen_factor=0.1, init_cfg=[dict(type='Kaiming', layer='Conv2d'), own])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(checkpoint='x.pth', prefx='backbone.'), "unknown setting 'prefx'; did you mean prefix"),
        ({}, "'Pretrained' needs checkpoint=, a path or an address"),
        (dict(checkpoint=None), "'Pretrained' needs checkpoint="),
    ],
)
def test_settings_of_pretrained_weights_are_looked_at(settings, message):
    with pytest.raises(CheckpointError, match=f'^init_cfg of darknet53: {message}'):
        mmcnn.build_backbone('darknet53', widen_factor=0.1, init_cfg=dict(type='Pretrained', **settings))


def test_unknown_variant_lists_the_nearest():
    name = VARIANTS[0]
    with pytest.raises(ValueError, match=f"has no variant '{name}x'; did you mean .*{name}"):
        BACKBONE_FAMILIES[name](variant=name + 'x')
