from collections import OrderedDict
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.models.wiring import wire
from mmcnn.registry import MODELS
from mmcnn.weights import LoadReport
from mmcnn.weights.loading import load_state
from mmcnn.weights.record import of_row
from mmcnn.weights.sources.darknet import write_darknet

NARROW = dict(widen_factor=0.125, deepen_factor=0.33)


def network(classes=3):
    parts = OrderedDict(body=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4), head=nn.Linear(4, classes))
    return nn.Sequential(parts)


def values(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_load_state_loads_everything():
    source, target = network(), network()
    source.norm.running_mean.fill_(3.0)
    report = load_state(target, source.state_dict())
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key
    assert report == LoadReport(
        used=(
            'body.weight',
            'body.bias',
            'norm.weight',
            'norm.bias',
            'norm.running_mean',
            'norm.running_var',
            'head.weight',
            'head.bias',
        )
    )
    assert str(report) == '8 entries loaded'


def test_load_state_is_all_or_nothing():
    model, state = network(), network(classes=5).state_dict()
    del state['body.bias'], state['norm.weight']
    state['neck.weight'] = torch.ones(1)
    before = values(model)
    with pytest.raises(CheckpointError) as error:
        load_state(model, state, source='epoch_1.pth')
    assert str(error.value) == (
        'epoch_1.pth does not fit the model: 2 missing: body.bias, norm.weight; 1 unexpected: neck.weight; '
        '2 of another shape: head.weight (5, 4) for (3, 4), head.bias (5,) for (3,)'
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_long_lists_are_cut():
    state = network().state_dict() | {f'extra.{i}': torch.ones(1) for i in range(9)}
    with pytest.raises(CheckpointError, match=r'9 unexpected: extra\.0, .*extra\.4 and 4 more$'):
        load_state(network(), state)


def test_allowed_mismatch_keeps_the_model_value():
    model, source = network(), network(classes=5)
    before = values(model)
    report = load_state(model, source.state_dict(), allow_mismatch=('head.',))
    assert torch.equal(model.head.weight, before['head.weight'])
    assert torch.equal(model.body.weight, source.body.weight)
    assert report.mismatched == (('head.weight', (5, 4), (3, 4)), ('head.bias', (5,), (3,)))
    assert str(report) == (
        '6 entries loaded; 2 of another shape: head.weight (5, 4) for (3, 4), head.bias (5,) for (3,)'
    )
    with pytest.raises(CheckpointError, match=r'2 of another shape: head\.weight'):
        load_state(model, source.state_dict(), allow_mismatch=('body.',))
    # Only shapes may differ: a missing key is an error even below an allowed prefix.
    state = source.state_dict()
    del state['head.bias']
    with pytest.raises(CheckpointError, match=r'1 missing: head\.bias'):
        load_state(model, state, allow_mismatch=('head.',))


def test_batch_counters_may_be_absent():
    state = network().state_dict()
    del state['norm.num_batches_tracked']
    load_state(network(), state)
    without = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(4, track_running_stats=False)))
    counter = {'norm.num_batches_tracked': torch.tensor(3)}
    load_state(without, without.state_dict() | counter)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('body.weight', float('nan'), 'body.weight has NaN or infinite values'),
        ('head.weight', 1e300, 'head.weight has NaN or infinite values'),
        ('head.bias', float('inf'), 'head.bias has NaN or infinite values'),
        ('norm.running_var', -1.0, 'norm.running_var has negative variances'),
    ],
)
def test_senseless_values_are_refused(key, value, message):
    model, state = network(), values(network())
    state[key] = state[key].double()
    state[key].view(-1)[0] = value
    before = values(model)
    with pytest.raises(CheckpointError, match=rf'epoch_1\.pth: {message}'):
        load_state(model, state, source='epoch_1.pth')
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


# ------------------------------------------------------------------------------------------------------ load_weights


def filled(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model


def trainable(state):
    return {key: value for key, value in state.items() if not key.endswith('num_batches_tracked')}


def saved(state, path, **more):
    torch.save(dict(state_dict=state, **more), path)
    return path


def detector(classes=2, **backbone):
    cfg = dict(
        type='mmcnn.wired',
        detector='SingleStageDetector',
        backbone=dict(type='mmcnn.cspdarknet53', out_indices=(3, 4, 5), **NARROW, **backbone),
        neck=dict(type='mmcnn.YOLOv4PAN', widen_factor=0.125),
        bbox_head=dict(type='mmcnn.YOLOHead', num_classes=classes, anchors=[[(8, 8)] * 3] * 3),
    )
    return MODELS.build(dict(wire(cfg), _scope_='mmdet'))


def test_a_classifier_gives_its_trunk_and_the_report_names_the_rest(tmp_path):
    source = filled(mmcnn.build_classifier('darknet53', 7, **NARROW))
    path = saved(source.state_dict(), tmp_path / 'x.pth')
    target = mmcnn.build_backbone('darknet53', **NARROW, out_indices=(3, 4))
    report = mmcnn.load_weights(target, path)
    given = source.state_dict()
    assert all(torch.equal(v, given[f'backbone.{k}']) for k, v in trainable(target.state_dict()).items())
    assert report.left_out['the top of the classifier'] == ('top.classes.weight', 'top.classes.bias')
    unbuilt = report.left_out['stages that are not built']
    assert unbuilt and all(key.startswith('backbone.stage5.') for key in unbuilt)
    assert set(report.used) == set(trainable(target.state_dict()))
    assert not report.missing and not report.unexpected and not report.mismatched


def test_weights_of_another_network_are_refused_and_it_is_named(tmp_path):
    for name, other in (('darknet53', 'resnet50-tv'), ('resnet50-tv', 'vgg16-bn')):
        path = saved(mmcnn.build_backbone(other).state_dict(), tmp_path / 'x.pth')
        target = mmcnn.build_backbone(name, **NARROW)
        before = values(target)
        with pytest.raises(CheckpointError) as error:
            mmcnn.load_weights(target, path)
        message = str(error.value)
        assert message.startswith(f'{path} does not fit {name}: ')
        assert ' missing: stage1.' in message or ' missing: stem.' in message
        assert ' unexpected: st' in message
        assert message.endswith(f'the file looks like {other}')
        assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_a_detector_gives_its_backbone_and_the_report_names_the_rest(tmp_path):
    source = filled(detector())
    path = saved(source.state_dict(), tmp_path / 'x.pth')
    backbone = mmcnn.build_backbone('cspdarknet53', **NARROW)
    given = source.state_dict()
    for prefix in ('', 'backbone.'):
        report = mmcnn.load_weights(filled(backbone, 1), path, prefix=prefix)
        assert {key.split('.')[0] for key in report.left_out['not under backbone.']} == {'neck', 'bbox_head'}
        assert 'backbone. removed from the names' in report.notes
        assert all(torch.equal(v, given[f'backbone.{k}']) for k, v in trainable(backbone.state_dict()).items())


def test_a_head_of_another_class_count_only_when_asked(tmp_path):
    source, target = filled(detector(classes=5)), detector(classes=2)
    path = saved(source.state_dict(), tmp_path / 'x.pth')
    before = values(target)
    with pytest.raises(CheckpointError, match=r'6 of another shape.*with allow_head_mismatch=True'):
        mmcnn.load_weights(target, path)
    report = mmcnn.load_weights(target, path, allow_head_mismatch=True)
    assert len(report.mismatched) == 6
    for key, value in trainable(target.state_dict()).items():
        head = key.startswith('bbox_head.predictions.')
        assert torch.equal(value, before[key] if head else source.state_dict()[key]), key
    # No other shape may differ.
    wider = detector(classes=2)
    state = values(source)
    state['backbone.stem.conv.weight'] = torch.ones(9, 3, 3, 3)
    with pytest.raises(CheckpointError, match='1 of another shape: backbone'):
        mmcnn.load_weights(wider, saved(state, path), allow_head_mismatch=True)


@pytest.mark.parametrize('name', ['darknet53', 'cspdarknet53-focus'])
@pytest.mark.parametrize('channels', [1, 4])
def test_other_input_channels_only_when_asked(name, channels, tmp_path):
    source = filled(mmcnn.build_backbone(name, **NARROW)).eval()
    path = saved(source.state_dict(), tmp_path / 'x.pth')
    target = mmcnn.build_backbone(name, **NARROW, in_channels=channels).eval()
    with pytest.raises(CheckpointError, match=r'1 of another shape: stem.*; adapt_input=True distributes'):
        mmcnn.load_weights(target, path)
    report = mmcnn.load_weights(target, path, adapt_input=True)
    assert f'distributed over {channels} channels' in str(report) and len(report.reshaped) == 1
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(
            target(grey.expand(1, channels, 64, 64)), source(grey.expand(1, 3, 64, 64)), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_wrong_activation_is_refused_where_the_file_is_known(tmp_path):
    state = mmcnn.build_backbone('cspdarknet53-timm').state_dict()
    mish = mmcnn.build_backbone('cspdarknet53')
    record = asdict(of_row('cspdarknet53-timm'))
    path = saved(state, tmp_path / 'x.pth', meta=dict(mmcnn=record))
    message = r'trained with the activation LeakyReLU\(0\.01\), but cspdarknet53 has Mish'
    with pytest.raises(CheckpointError, match=message):
        mmcnn.load_weights(mish, path)
    with pytest.raises(CheckpointError, match=message):
        mmcnn.load_weights(mish, saved(state, tmp_path / 'plain.pth'), record=of_row('cspdarknet53-timm'))
    with pytest.raises(CheckpointError, match=r'trained with the eps of the norm 0\.001, but cspdarknet53 has 1e-05'):
        mmcnn.load_weights(mish, tmp_path / 'plain.pth', record=replace(of_row('cspdarknet53'), norm_eps='0.001'))
    assert mmcnn.load_weights(mmcnn.build_backbone('cspdarknet53-timm'), path).used


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(arch=dict(act=dict(type='ReLU'))),
            r'trained with the activation LeakyReLU\(0\.1\), but darknet53 has ReLU',
        ),
        (dict(norm_cfg=dict(eps=1e-3)), r'trained with the eps of the norm 1e-05, but darknet53 has 0\.001'),
    ],
)
def test_a_row_that_was_changed_takes_no_weights_of_other_libraries(changes, message, tmp_path):
    own = {f'backbone.{key}': value for key, value in mmcnn.build_backbone('darknet53').state_dict().items()}
    state = {}
    for key, value in own.items():  # under MMDetection's names
        layer = key.replace('backbone.stem', 'conv1').replace('backbone.stage', 'conv_res_block').split('.')
        if layer[0] != 'conv1':
            layer[1] = 'conv' if layer[1] == '0' else f'res{int(layer[1]) - 1}'
        state['.'.join(layer)] = value
    path = saved(state, tmp_path / 'mmdet.pth')
    darknet = tmp_path / 'darknet53.conv.74'
    write_darknet(mmcnn.build_backbone('darknet53'), darknet)
    for file in (path, darknet):
        assert mmcnn.load_weights(mmcnn.build_backbone('darknet53', norm_cfg=dict(type='SyncBN')), file).used
        with pytest.raises(CheckpointError, match=f'{file} holds weights of darknet53, {message}: they would load but'):
            mmcnn.load_weights(mmcnn.build_backbone('darknet53', **changes), file)
    # Our own names show that the network is ours.
    changed = mmcnn.build_backbone('darknet53', **NARROW, **changes)
    assert mmcnn.load_weights(changed, saved(changed.state_dict(), tmp_path / 'own.pth')).used


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (torch.Tensor.int, r'floats: torch\.int32, torch\.strided'),
        (torch.Tensor.cfloat, r'floats: torch\.complex64'),
        (torch.Tensor.to_sparse, r'floats: torch\.float32, torch\.sparse_coo'),
        (lambda value: value.to('meta'), 'floats'),
    ],
)
def test_other_numbers_are_refused(change, message, tmp_path):
    model = mmcnn.build_backbone('darknet53', **NARROW)
    state = model.state_dict()
    path = saved({**state, 'stem.conv.weight': change(state['stem.conv.weight'])}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=rf'^{path}: stem\.conv\.weight is not a plain tensor of {message}'):
        mmcnn.load_weights(model, path)


@pytest.mark.parametrize('dtype', [torch.float8_e4m3fn, torch.bfloat16, torch.float16, torch.float64])
def test_every_kind_of_float_is_taken(dtype, tmp_path):
    source, target = filled(mmcnn.build_backbone('darknet53', **NARROW)), mmcnn.build_backbone('darknet53', **NARROW)
    given = {key: value.to(dtype) for key, value in trainable(source.state_dict()).items()}
    mmcnn.load_weights(target, saved(given, tmp_path / 'x.pth'))
    assert all(torch.equal(target.state_dict()[key], value.float()) for key, value in given.items())


def test_sources_are_known():
    with pytest.raises(CheckpointError, match="unknown source='torchvison'; did you mean torchvision"):
        mmcnn.load_weights(nn.Linear(1, 1), 'x.pth', 'torchvison')


def test_a_source_has_to_go_with_the_file(tmp_path):
    path = saved({'x': torch.ones(1)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='is a pytorch file, which cannot hold weights of keras'):
        mmcnn.load_weights(mmcnn.build_backbone('vgg16', **NARROW), path, 'keras')


@pytest.mark.parametrize('source', ['torchvision', 'timm', 'mmdet', 'ultralytics'])
def test_a_refusal_names_the_file(source, tmp_path):
    path = saved({'x.y': torch.ones(1)}, tmp_path / 'x.pth')
    for model in (mmcnn.build_backbone('darknet53', **NARROW), nn.Linear(1, 1)):
        with pytest.raises(CheckpointError, match=f'^{path}'):
            mmcnn.load_weights(model, path, source, adapt_input=True)
    with pytest.raises(CheckpointError, match=f'^{path} does not fit Linear'):
        mmcnn.load_weights(nn.Linear(1, 1), path, adapt_input=True)
