"""Our networks against those of keras.applications (on its torch backend), with the same weights."""

import math
from functools import partial

import numpy as np
import pytest

from mmcnn.models.families import backbone_families

EFFICIENTNET_SIZES = (224, 240, 260, 300, 380, 456, 528, 600)
# ours: (Keras's, its arguments, input size)
PEERS = {
    'vgg16': ('VGG16', {}, 224),
    'vgg19': ('VGG19', {}, 224),
    **{f'resnet{d}{v}': (f'ResNet{d}{v.upper()}', {}, 224) for d in (50, 101, 152) for v in ('', 'v2')},
    'mobilenet': ('MobileNet', {}, 224),
    **{f'mobilenet-{w:03}': ('MobileNet', dict(alpha=w / 100), 224) for w in (25, 50, 75)},
    'mobilenetv2': ('MobileNetV2', {}, 224),
    **{f'mobilenetv2-{w:03}': ('MobileNetV2', dict(alpha=w / 100), 224) for w in (35, 50, 75, 130, 140)},
    'mobilenetv3-small': ('MobileNetV3Small', {}, 224),
    'mobilenetv3-large': ('MobileNetV3Large', {}, 224),
    'mobilenetv3-small-075': ('MobileNetV3Small', dict(alpha=0.75), 224),
    'mobilenetv3-large-075': ('MobileNetV3Large', dict(alpha=0.75), 224),
    'inceptionv3': ('InceptionV3', {}, 299),
    'inception-resnet-v2': ('InceptionResNetV2', {}, 299),
    'densenet121': ('DenseNet121', {}, 224),
    'densenet169': ('DenseNet169', {}, 224),
    'densenet201': ('DenseNet201', {}, 224),
    'xception': ('Xception', {}, 299),
    **{f'efficientnet-b{i}': (f'EfficientNetB{i}', {}, size) for i, size in enumerate(EFFICIENTNET_SIZES)},
}
#: Each network is saved in one of these formats.
SUFFIXES = ('.weights.h5', '.keras', '.h5')
#: Networks that include their preprocessing in Keras, and its inverse: pixels are scaled to -1 to 1, or divided by 255
#: (EfficientNet's input normalisation keeps its initial mean 0 and variance 1).
PREPROCESS_INSIDE = dict(mobilenetv3=lambda x: (x + 1) * 127.5, efficientnet=lambda x: x * 255)


def random_arrays(model):
    """Sets random weights and statistics in a range in which the logits stay finite."""
    rng = np.random.default_rng(1)
    # EfficientNet-B7 adds up 48 branches. Without damping their sum saturates the squeeze-excite gates, and rounding
    # errors grow as large as the logits.
    damped = {layer.name.removesuffix('add') + 'project_bn' for layer in model.layers if layer.name.endswith('_add')}
    for layer in model.layers:
        for variable in layer.weights:
            shape, name = variable.shape, variable.name
            if name in ('moving_variance', 'gamma'):
                value = rng.uniform(0.5, 1.5, shape) * (0.2 if name == 'gamma' and layer.name in damped else 1)
            elif name in ('moving_mean', 'beta', 'bias'):
                value = rng.normal(0, 0.1, shape)
            elif 'kernel' in name:
                depthwise = name == 'depthwise_kernel' or type(layer).__name__ == 'DepthwiseConv2D'
                fan_in = math.prod(shape[:2] if depthwise else shape[:-1])
                value = rng.standard_normal(shape, np.float32) * math.sqrt(2 / fan_in)
            else:
                continue  # the input normalisation
            variable.assign(value.astype(np.float32))


def save(model, path):
    """Saves with Keras, in the format of the suffix."""
    if path.name.endswith('.weights.h5'):
        model.save_weights(path)
    else:
        model.save(path)


#: One variant of each family is tested; ``make parity`` also compares the other depths and widths.
QUICK = ('mobilenet', 'mobilenetv3-large', 'efficientnet-b0')
SLOW = (
    'vgg16', 'resnet50', 'resnet50v2', 'mobilenetv2', 'mobilenetv3-small', 'inceptionv3', 'inception-resnet-v2',
    'densenet121', 'xception',
)  # fmt: skip
TIERS = dict.fromkeys(QUICK, ()) | dict.fromkeys(SLOW, pytest.mark.slow)


@pytest.mark.parametrize('variant', [pytest.param(v, marks=TIERS.get(v, pytest.mark.campaign)) for v in PEERS])
def test_same_logits(keras, compare, variant):
    name, arguments, size = PEERS[variant]
    keras.utils.clear_session()
    peer = getattr(keras.applications, name)(
        weights=None, classifier_activation=None, input_shape=(size, size, 3), **arguments
    )
    random_arrays(peer)
    norms = [layer for layer in peer.layers if type(layer).__name__ == 'BatchNormalization']
    own = backbone_families()[variant].variants[variant].norm
    settings = {(round(1 - norm.momentum, 6), norm.epsilon) for norm in norms}
    assert settings == ({(own['momentum'], own['eps'])} if own else set())
    undo = next((f for prefix, f in PREPROCESS_INSIDE.items() if variant.startswith(prefix)), lambda x: x)

    def logits(images):
        return peer(undo(images).permute(0, 2, 3, 1).contiguous(), training=False).detach().cpu().numpy()

    suffix = SUFFIXES[list(PEERS).index(variant) % 3]
    report = compare(variant, partial(save, peer), suffix, logits, f'keras {name}', size)
    assert report.source == 'keras'
    assert list(report.left_out) == ['input normalisation'] * variant.startswith('efficientnet')


@pytest.mark.parametrize('variant', PEERS)
def test_image_format_is_that_of_its_weights(keras, variant):
    name, _, size = PEERS[variant]
    image = backbone_families()[variant].variants[variant].image
    assert image.size == size
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.float32)
    module = {
        'VGG16': 'vgg16', 'VGG19': 'vgg19', 'MobileNet': 'mobilenet', 'MobileNetV2': 'mobilenet_v2',
        'InceptionV3': 'inception_v3', 'InceptionResNetV2': 'inception_resnet_v2', 'Xception': 'xception',
    }.get(name)  # fmt: skip
    if module is None:
        module = 'densenet' if 'Dense' in name else 'resnet_v2' if name.endswith('V2') else 'resnet'
    if name.startswith('EfficientNet'):
        expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]  # inside the model
    elif name.startswith('MobileNetV3'):
        expected = pixels / 127.5 - 1  # inside the model
    else:
        expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
    ordered = pixels if image.order == 'rgb' else pixels[..., ::-1]
    assert np.allclose((ordered - image.mean) / image.std, expected, atol=1e-4)
