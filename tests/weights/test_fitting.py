"""Weights as users have them: with prefixes of wrappers, other entries around them, or their own classifiers."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.darknet import write_darknet
from mmcnn.weights.sources.translate import OWN_CLASSIFIER
from tests.weights.test_loading import NARROW, detector, filled, network, saved, trainable, values


def resnet18(torchvision, seed=0):
    return filled(torchvision.models.resnet18(weights=None), seed)


def holds(model, given):
    return torch.equal(model.stem.conv.weight, given['conv1.weight']) and torch.equal(
        model.stage4.blocks[1].conv2.bn.running_var, given['layer4.1.bn2.running_var']
    )


# ---------------------------------------------------------------------------------------------- prefixes of names


@pytest.mark.parametrize('prefix', ['net.', 'model.', 'encoder.', 'student.', 'lightning.model.', 'whatever.net.body.'])
@pytest.mark.parametrize('form', ['.pth', '.safetensors'])
def test_what_stands_before_every_name_is_taken_off_and_said(torchvision, prefix, form, tmp_path):
    from safetensors.torch import save_file

    given, model = resnet18(torchvision).state_dict(), mmcnn.build_backbone('resnet18')
    path, state = tmp_path / f'x{form}', {f'{prefix}{key}': value for key, value in given.items()}
    save_file(state, path) if form == '.safetensors' else torch.save(state, path)
    report = mmcnn.load_weights(model, path)
    assert holds(model, given)
    assert f'{prefix} removed from the names' in report.notes and report.source == 'torchvision'
    assert f'{prefix} removed from the names' in str(report)


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', 'module.module.'])
def test_the_names_of_pytorchs_own_wrappers_are_taken_off_and_said(prefix, tmp_path):
    source, target = filled(network()), network()
    path = saved({f'{prefix}{key}': value for key, value in source.state_dict().items()}, tmp_path / 'x.pth')
    report = mmcnn.load_weights(target, path)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in trainable(target.state_dict()).items())
    assert re.search(r'(module|_orig_mod)\..* removed from the names', str(report))


def test_a_part_that_was_compiled_alone_is_read():
    source = filled(mmcnn.build_classifier('resnet18', 3, **NARROW))
    state = {key.replace('backbone.', 'backbone._orig_mod.'): value for key, value in source.state_dict().items()}
    assert mmcnn.weights.state_dict_of(dict(state_dict=state)).keys() == source.state_dict().keys()


def test_two_prefixes_that_would_do_are_refused_until_one_is_named(torchvision, tmp_path):
    student, teacher = (resnet18(torchvision, seed).state_dict() for seed in (1, 2))
    state = {f'student.{key}': value for key, value in student.items()}
    path = saved(state | {f'teacher.{key}': value for key, value in teacher.items()}, tmp_path / 'x.pth')
    model = mmcnn.build_backbone('resnet18')
    before = values(model)
    with pytest.raises(CheckpointError) as error:
        mmcnn.load_weights(model, path)
    assert str(error.value) == (
        f"{path}: the entries with the prefixes 'student.' and 'teacher.' are each a "
        'complete resnet18; choose one with prefix=, '
        'or save one of them separately'
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    report = mmcnn.load_weights(model, path, prefix='teacher.')
    assert holds(model, teacher)
    assert all(key.startswith('student.') for key in report.left_out['not under teacher.'])


def test_a_prefix_that_does_not_explain_every_entry_is_not_taken_off(torchvision, tmp_path):
    given = resnet18(torchvision).state_dict()
    model = mmcnn.build_backbone('resnet18')
    for change in (
        lambda state: state.pop('net.layer4.1.bn2.weight'),
        lambda state: state.update({'net.x': state['net.fc.bias']}),
    ):
        state = {f'net.{key}': value for key, value in given.items()}
        change(state)
        with pytest.raises(CheckpointError, match=r'does not fit resnet18|are unknown'):
            mmcnn.load_weights(model, saved(state, tmp_path / 'x.pth'))


# ------------------------------------------------------------------------------------------------ around the weights


@pytest.mark.parametrize('entry', ['model', 'model_state_dict', 'net', 'ema_state_dict', 'weights', 'my_model'])
def test_an_entry_of_another_name_is_read_and_said(entry, tmp_path):
    source, target = filled(network()), network()
    path = tmp_path / 'x.pth'
    torch.save({entry: source.state_dict(), 'optimizer': {'state': {}, 'param_groups': []}, 'epoch': 3}, path)
    report = mmcnn.load_weights(target, path)
    assert f"its entry '{entry}' was used" in report.notes
    assert torch.equal(target.head.bias, source.head.bias)


def test_entries_that_were_not_read_are_said(tmp_path):
    raw, averaged, target = filled(network()), filled(network(), 5), network()
    content = {'model': raw.state_dict(), 'ema': averaged.state_dict(), 'optimizer': {'state': {}, 'param_groups': []}}
    torch.save(content, tmp_path / 'x.pth')
    report = mmcnn.load_weights(target, tmp_path / 'x.pth')
    assert "its entry 'model' was used, 'ema' was not" in report.notes
    assert torch.equal(target.head.bias, raw.head.bias)


def test_mmengines_average_alone_is_read(tmp_path):
    source, target = filled(network()), network()
    averaged = {f'module.{key}': value for key, value in source.state_dict().items()}
    torch.save({'ema_state_dict': {'steps': torch.tensor(7), **averaged}}, tmp_path / 'x.pth')
    report = mmcnn.load_weights(target, tmp_path / 'x.pth')
    assert report.left_out == {'not under module.': ('steps',)}
    assert torch.equal(target.body.weight, source.body.weight)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_used_as_float32_and_said(dtype, tmp_path):
    source, target = filled(mmcnn.build_backbone('darknet53', **NARROW)), mmcnn.build_backbone('darknet53', **NARROW)
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in source.state_dict().items()}
    report = mmcnn.load_weights(target, saved(state, tmp_path / 'x.pth'))
    assert {value.dtype for value in target.parameters()} == {torch.float32}
    assert torch.equal(target.stem.conv.weight, state['stem.conv.weight'].float())
    assert f'stored as {str(dtype).removeprefix("torch.")}, used as float32' in report.notes


def test_a_file_of_an_optimizer_says_so(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.save(dict(optimizer=optimizer.state_dict(), meta=dict(epoch=1)), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError) as error:
        mmcnn.load_weights(mmcnn.build_backbone('resnet18'), tmp_path / 'x.pth')
    assert str(error.value) == (
        f'{tmp_path / "x.pth"}: the checkpoint holds an optimizer state but no weights; its entries: optimizer, meta'
    )


# ------------------------------------------------------------------------------------------------- other classifiers


HEADS = {
    'fc.weight fc.bias': nn.Linear(512, 5),
    'fc.0.weight fc.0.bias fc.3.weight fc.3.bias': nn.Sequential(
        nn.Linear(512, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 5)
    ),
}


@pytest.mark.parametrize('names', HEADS)
def test_somebodys_own_classifier_is_left_out_of_a_backbone_and_named(torchvision, names, tmp_path):
    source = torchvision.models.resnet18(weights=None)
    source.fc = HEADS[names]
    given, model = filled(source).state_dict(), mmcnn.build_backbone('resnet18')
    report = mmcnn.load_weights(model, saved(given, tmp_path / 'x.pth'))
    assert holds(model, given)
    assert sum(map(len, report.left_out.values())) == len(names.split())
    assert ('top.classes.weight' if len(names.split()) == 2 else 'fc.3.weight') in str(report)
    # A classifier takes it only on request, and reports that its own head is newly initialised.
    classifier = filled(mmcnn.build_classifier('resnet18', 3), 9)
    before = values(classifier)
    with pytest.raises(CheckpointError, match='with allow_head_mismatch=True'):
        mmcnn.load_weights(classifier, tmp_path / 'x.pth')
    report = mmcnn.load_weights(classifier, tmp_path / 'x.pth', allow_head_mismatch=True)
    assert holds(classifier.backbone, given)
    assert torch.equal(classifier.top.classes.weight, before['top.classes.weight'])
    assert 'top.classes.weight' in str(report)


def test_a_model_of_ones_own_around_our_backbone_gives_the_backbone(tmp_path):
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.classifier = mmcnn.build_backbone('resnet18', **NARROW), nn.Linear(64, 4)

    source, target = filled(Mine()), mmcnn.build_backbone('resnet18', **NARROW)
    report = mmcnn.load_weights(target, saved(source.state_dict(), tmp_path / 'x.pth'))
    assert torch.equal(target.stem.conv.weight, source.backbone.stem.conv.weight)
    assert report.left_out == {OWN_CLASSIFIER: ('classifier.weight', 'classifier.bias')}


def test_dense_layers_of_keras_are_left_out_of_a_backbone_and_named(write_keras_h5, tmp_path):
    rng = np.random.default_rng(0)
    widths = dict(enumerate([(3, 64, 2), (64, 128, 2), (128, 256, 4), (256, 512, 4), (512, 512, 4)], start=1))
    layers = {}
    for block, (inner, outer, count) in widths.items():
        for i in range(1, count + 1):
            name = f'block{block}_conv{i}'
            kernel = rng.standard_normal((3, 3, inner if i == 1 else outer, outer), dtype=np.float32)
            layers[name] = {f'{name}/kernel:0': kernel, f'{name}/bias:0': np.zeros(outer, np.float32)}
    trunk = dict(layers)
    for name, shape in (('dense_2', (512, 64)), ('dense_3', (64, 6))):
        layers[name] = {f'{name}/kernel:0': np.ones(shape, np.float32), f'{name}/bias:0': np.ones(shape[1], np.float32)}
    path = write_keras_h5(tmp_path / 'mine.h5', layers)
    model = mmcnn.build_backbone('vgg19')
    report = mmcnn.load_weights(model, path)
    kernel = torch.from_numpy(trunk['block1_conv1']['block1_conv1/kernel:0']).permute(3, 2, 0, 1)
    assert torch.equal(model.stage0.conv1.conv.weight, kernel)
    assert report.left_out[OWN_CLASSIFIER] == tuple(f'dense_{i}.{kind}' for i in (2, 3) for kind in ('weight', 'bias'))


# ------------------------------------------------------------------------------------------------------- other classes


def test_a_dropped_head_keeps_the_models_values_though_the_shapes_fit(tmp_path):
    source, target = filled(detector(2)), filled(detector(2), 5)
    before = values(target)
    path = saved(source.state_dict(), tmp_path / 'x.pth')
    report = mmcnn.load_weights(target, path, drop_head=True)
    for key, value in trainable(target.state_dict()).items():
        given = before if key.startswith('bbox_head.predictions.') else source.state_dict()
        assert torch.equal(value, given[key]), key
    assert len(report.left_out['the head, because its classes differ']) == 6
    assert 'not in the file' not in str(report)
    assert not report.missing and not report.mismatched


def test_predictions_that_are_dropped_may_be_for_another_decoding(tmp_path):
    def darknets(scale, classes):
        model = detector(classes)
        head = model.bbox_head
        head.bbox_coder.size, head.bbox_coder.scale_xy = scale
        return model

    darknet, ours = ('exp', (1.2, 1.1, 1.05)), ('exp', (1.0, 1.0, 1.0))
    source = filled(darknets(darknet, 4))
    anchors = ((12, 16), (19, 36), (40, 28)), ((36, 75), (76, 55), (72, 146)), ((142, 110), (192, 243), (459, 401))
    source.bbox_head.anchors = anchors
    write_darknet(source, tmp_path / 'x.weights')
    target = darknets(ours, 2)
    with pytest.raises(CheckpointError, match='holds predictions for other'):
        mmcnn.load_weights(target, tmp_path / 'x.weights', allow_head_mismatch=True)
    mmcnn.load_weights(target, tmp_path / 'x.weights', drop_head=True)
    assert torch.equal(target.neck.spp[0][0].conv.weight, source.neck.spp[0][0].conv.weight)


# ------------------------------------------------------------------------------- networks that compute something else


def test_a_backbone_says_that_the_classifier_pads_otherwise_and_names_the_switch(torchvision, tmp_path):
    source = torchvision.models.inception_v3(weights=None, init_weights=False, aux_logits=False)
    path = saved(source.state_dict(), tmp_path / 'x.pth')
    images = torch.rand(1, 3, 107, 107)
    padded, valid = (
        mmcnn.build_backbone('inceptionv3-tv', arch=arch, out_indices=(5,)).eval()
        for arch in (None, dict(padding='valid'))
    )
    report = mmcnn.load_weights(padded, path)
    note = next(note for note in report.notes if 'padding' in note)
    assert note == (
        "inceptionv3-tv was trained as a classifier with padding='valid', but this backbone has padding='same': "
        "set arch=dict(padding='valid') to get the same feature maps"
    )
    assert not any('padding' in note for note in mmcnn.load_weights(valid, path).notes)
    classifier = mmcnn.build_classifier('inceptionv3-tv')
    assert not any('padding' in note for note in mmcnn.load_weights(classifier, path).notes)
    with torch.no_grad():
        expected = classifier.eval().backbone(images)[-1]
        assert torch.equal(valid(images)[-1], expected)
        assert padded(images)[-1].shape != expected.shape
