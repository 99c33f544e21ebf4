"""What every row of every family's table says beside the structure: norm, activation, image format, classifier top."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class ImageFormat:
    """The images that a network's published weights were trained on."""

    size: int = 224  # side, pixels
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)  # of each channel in ``order``, of values 0 to 255
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    order: str = 'rgb'  # of the channels: 'rgb' or 'bgr'


#: ImageNet's mean and deviation (torchvision, and Keras's mode 'torch').
IMAGENET = ImageFormat()
#: The same at the size of timm's CSP and Darknet classifiers.
IMAGENET_256 = replace(IMAGENET, size=256)
#: ImageNet's mean only, BGR (Caffe, and Keras's mode 'caffe').
CAFFE = ImageFormat(mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), order='bgr')
#: -1 to 1 (Inception, and Keras's mode 'tf').
SYMMETRIC = ImageFormat(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
#: The same at the size of Inception v3 and what came of it.
SYMMETRIC_299 = replace(SYMMETRIC, size=299)
#: 0 to 1 (Darknet, YOLO).
UNIT = ImageFormat(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
#: The same at the size of Darknet's ImageNet classifiers.
UNIT_256 = replace(UNIT, size=256)


@dataclass(frozen=True)
class Top:
    """From the last level to class scores: [1x1 convolution], average pool, [hidden layers], dropout, linear."""

    conv: int | None = None  # outputs of a 1x1 convolution before the pool, with the trunk's norm and activation
    pool: int = 1  # side of the map behind the adaptive average pool; it is flattened in C, H, W order
    hidden: tuple[int, ...] = ()  # outputs of fully connected layers with the trunk's activation
    dropout: float = 0.0  # before the classes, and behind each hidden layer


@dataclass(frozen=True, kw_only=True)
class Row:
    """Base of the families' ``Arch``."""

    #: MMEngine config of the normalisation; ``gamma=False`` leaves the scale out. None: no normalisation.
    norm: dict | None = field(default_factory=lambda: dict(type='BN', eps=1e-5, momentum=0.1))
    #: MMEngine config of the activation.
    act: dict = field(default_factory=lambda: dict(type='ReLU', inplace=True))
    image: ImageFormat = IMAGENET
    #: The paper's own classifier; None: this network is none.
    top: Top | None = Top()
    #: Fields of the row that differ in the classifier, such as the padding that detectors cannot use.
    as_classifier: dict = field(default_factory=dict)
