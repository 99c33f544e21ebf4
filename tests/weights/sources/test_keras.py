import math
import re

import numpy as np
import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.keras import SOURCE
from mmcnn.weights.sources.translate import OtherRowError


def randomised(model):
    """Set random weights and statistics, small enough to keep the maps finite."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        for variable in layer.weights:
            shape, name = variable.shape, variable.name
            if name in ('moving_variance', 'gamma'):
                variable.assign(rng.uniform(0.5, 1.5, shape))
            elif name in ('moving_mean', 'beta', 'bias'):
                variable.assign(rng.normal(0, 0.1, shape))
            elif 'kernel' in name:
                depthwise = type(layer).__name__ == 'DepthwiseConv2D'
                variable.assign(rng.normal(0, math.sqrt(2 / math.prod(shape[: 2 if depthwise else -1])), shape))
    return model


def assert_same(ours, peer, undo=lambda x: x):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        got = ours.eval()(images)
        expected = peer(undo(images).permute(0, 2, 3, 1).contiguous(), training=False)
    got = got[-1].permute(0, 2, 3, 1) if isinstance(got, tuple) else got
    assert got.shape == expected.shape and expected.std() > 1e-3 * expected.abs().max()
    assert (got - expected).abs().max() < 1e-4 * expected.abs().max()


# ------------------------------------------------------------------------------------------ files of earlier versions


def of_2016(layer):
    """ResNet-50 up to keras-applications 1.0.4: 'conv3_block2_1_bn' was 'bn3b_branch2a'."""
    match = re.fullmatch(r'conv(\d)_block(\d)_(\d)_(conv|bn)', layer)
    if match is None:
        return dict(conv1_conv='conv1', conv1_bn='bn_conv1', predictions='fc1000')[layer]
    stage, block, number, kind = match.groups()
    branch = ('1', '2a', '2b', '2c')[int(number)]
    return f'{dict(conv="res", bn="bn")[kind]}{stage}{"abcdefgh"[int(block) - 1]}_branch{branch}'


def of_tf_2(layer):
    """MobileNetV3 in tf.keras: 'expanded_conv_1_expand_bn' was 'expanded_conv_1/expand/BatchNorm'."""
    layer = re.sub(r'^(expanded_conv(?:_\d+)?)_(?=[a-z])', r'\1/', layer)
    layer = re.sub('_bn$', '/BatchNorm', layer).replace('squeeze_excite_conv', 'squeeze_excite/Conv')
    return layer[0].upper() + layer[1:] if layer.startswith(('conv', 'logits')) else layer


def of_2018(layer):
    """DenseNet: 'conv1_bn' was 'conv1/bn'."""
    return {'conv1_conv': 'conv1/conv', 'conv1_bn': 'conv1/bn', 'predictions': 'fc1000'}.get(layer, layer)


#: The variants in both tables whose networks Keras builds quickly.
QUICK = ('mobilenetv3-small-075', 'mobilenetv2-035')
# our variant: (Keras's network, its arguments, current layer name -> old one, old name of 'kernel')
OLD = {
    'resnet50': ('ResNet50', {}, of_2016, 'kernel'),
    'mobilenetv3-small-075': (
        'MobileNetV3Small', dict(alpha=0.75, include_preprocessing=False), of_tf_2, 'depthwise_kernel'
    ),
    'mobilenetv2-035': (
        'MobileNetV2', dict(alpha=0.35), lambda layer: 'Logits' if layer == 'predictions' else layer, 'depthwise_kernel'
    ),
    'densenet121': ('DenseNet121', {}, of_2018, 'kernel'),
}  # fmt: skip


@pytest.mark.parametrize('variant', [pytest.param(v, marks=[pytest.mark.slow] * (v not in QUICK)) for v in OLD])
def test_old_names(keras, write_keras_h5, tmp_path, variant):
    name, arguments, rename, depthwise = OLD[variant]
    keras.utils.clear_session()
    peer = getattr(keras.applications, name)(
        weights=None, classifier_activation=None, input_shape=(64, 64, 3), classes=10, **arguments
    )
    if variant == 'resnet50':  # its BatchNorms used Keras's default epsilon at that time
        config = peer.get_config()
        for layer in config['layers']:
            if layer['class_name'] == 'BatchNormalization':
                layer['config']['epsilon'] = 1e-3
        peer = keras.Model.from_config(config)
    randomised(peer)
    layers = {}
    for layer in peer.layers:
        old = rename(layer.name) if layer.weights else layer.name
        kernel = depthwise if type(layer).__name__ == 'DepthwiseConv2D' else 'kernel'
        arrays = {w.name.replace('kernel', kernel): np.array(w) for w in layer.weights}
        layers[old] = {f'{old}/{array}:0': value for array, value in arrays.items()}
    ours = mmcnn.build_classifier(variant, num_classes=10)
    report = mmcnn.load_weights(ours, write_keras_h5(tmp_path / 'x.h5', layers))
    assert_same(ours, peer)
    told = [note for note in report.notes if 'epsilon' in note]
    assert len(told) == (variant == 'resnet50')
    assert all('0.00098999 is added to the running variances to get the same results' in note for note in told)


# our variant: (Keras's network, its arguments, the layer of our last map, suffix, entries that the backbone leaves out)
WITHOUT_TOP = {
    'vgg16': ('VGG16', {}, 'block5_pool', '.h5', []),
    'densenet121': ('DenseNet121', {}, 'relu', '.keras', []),
    'mobilenetv2-035': ('MobileNetV2', dict(alpha=0.35), 'block_16_project_BN', '.weights.h5', ['the top']),
    'efficientnet-b0': ('EfficientNetB0', {}, 'block7a_project_bn', '.keras', ['input normalisation', 'the top']),
}


@pytest.mark.parametrize('variant', [pytest.param(v, marks=[pytest.mark.slow] * (v not in QUICK)) for v in WITHOUT_TOP])
def test_without_top(keras, tmp_path, variant):
    name, arguments, last, suffix, left_out = WITHOUT_TOP[variant]
    keras.utils.clear_session()
    peer = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(64, 64, 3), **arguments)
    randomised(peer)
    path = tmp_path / f'x{suffix}'
    if suffix == '.weights.h5':
        peer.save_weights(path)
    else:
        peer.save(path)
    ours = mmcnn.build_backbone(variant)
    report = mmcnn.load_weights(ours, path)
    assert [reason for reason in report.left_out if not reason.startswith('the top')] == [
        reason for reason in left_out if reason != 'the top'
    ]
    assert any(reason.startswith('the top') for reason in report.left_out) == ('the top' in left_out)
    if name == 'EfficientNetB0':
        assert report.left_out['input normalisation'] == tuple(
            f'normalization_0.{array}' for array in ('mean', 'variance', 'count')
        )
    undo = (lambda x: x * 255) if name == 'EfficientNetB0' else (lambda x: x)
    assert_same(ours, keras.Model(peer.inputs, peer.get_layer(last).output), undo)


# ------------------------------------------------------------------------------------------------------------ refusals


def test_rows_of_another_form_are_refused():
    state = {'Conv1.kernel': torch.ones(3, 3, 3, 32)}
    assert list(SOURCE.translate(state, 'mobilenetv2').state) == ['backbone.stem.conv.weight']
    with pytest.raises(OtherRowError, match=r"has padding='same', but mobilenetv2-tv has None .*") as error:
        SOURCE.translate(state, 'mobilenetv2-tv')
    assert error.value.fitting[0] == 'mobilenetv2' and 'mobilenetv2-tv' not in error.value.fitting
    with pytest.raises(OtherRowError, match=r"has norm=\{'eps': 0\.001\}, but xception-timm has .*") as error:
        SOURCE.translate({'block1_conv1.kernel': torch.ones(3, 3, 3, 32)}, 'xception-timm')
    assert error.value.fitting == ('xception',)


def test_other_networks_are_refused():
    for key, shape in (('conv2d_94.kernel', (1, 1, 1, 1)), ('block1_conv1.kernel', (3, 3, 3, 64))):
        with pytest.raises(CheckpointError, match=f'1 keys of the file are unknown: {key[:5]}'):
            SOURCE.translate({key: torch.ones(shape)}, 'inceptionv3')
    with pytest.raises(CheckpointError, match=r"'fc1\.kernel' has the shape \(3,\), which is not valid for a kernel"):
        SOURCE.translate({'fc1.kernel': torch.ones(3)}, 'vgg16')
    # A VGG for another image size is refused on loading, since its first hidden layer has another shape.
    assert SOURCE.translate({'fc1.kernel': torch.ones(100, 8)}, 'vgg16').state['top.hidden.0.weight'].shape == (8, 100)
