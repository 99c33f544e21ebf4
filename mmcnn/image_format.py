"""Image formats that networks were trained on: size, mean, standard deviation and channel order."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ImageFormat:
    """The image format that a network's published weights were trained on."""

    size: int = 224  # side, pixels
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)  # for each channel in ``order``, of values 0 to 255
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    order: str = 'rgb'  # order of the channels: 'rgb' or 'bgr'


#: ImageNet's mean and deviation (torchvision, and 'torch' mode of Keras).
IMAGENET = ImageFormat()
#: The same, at the size of timm's CSP and Darknet classifiers.
IMAGENET_256 = replace(IMAGENET, size=256)
#: ImageNet's mean only, BGR (Caffe, and 'caffe' mode of Keras).
CAFFE = ImageFormat(mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), order='bgr')
#: -1 to 1 (Inception, and 'tf' mode of Keras).
SYMMETRIC = ImageFormat(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
#: The same, at the size of Inception v3 and its successors.
SYMMETRIC_299 = replace(SYMMETRIC, size=299)
#: 0 to 1 (Darknet, YOLO).
UNIT = ImageFormat(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
#: The same, at the size of Darknet's ImageNet classifiers.
UNIT_256 = replace(UNIT, size=256)


def in_words(image: ImageFormat) -> str:
    """Return how images are normalised: ``'RGB, mean (123.675, 116.28, 103.53), std (58.395, 57.12, 57.375)'``."""
    mean, std = (', '.join(f'{value:g}' for value in values) for values in (image.mean, image.std))
    return f'{image.order.upper()}, mean ({mean}), std ({std})'
