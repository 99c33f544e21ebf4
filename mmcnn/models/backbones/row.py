"""Fields of every row of every family's table besides the structure: norm, activation, image format, classifier top."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmcnn.image_format import IMAGENET, ImageFormat


@dataclass(frozen=True)
class Top:
    """From the last level to class scores: [1x1 convolution], average pool, [hidden layers], dropout, linear layer."""

    conv: int | None = None  # output channels of a 1x1 convolution before the pool, with the backbone's norm and act
    pool: int = 1  # side of the output of the adaptive average pool in pixels; it is flattened in C, H, W order
    hidden: tuple[int, ...] = ()  # output sizes of fully connected layers with the backbone's activation
    dropout: float = 0.0  # dropout before the classes and behind each hidden layer


@dataclass(frozen=True, kw_only=True)
class Row:
    """Base class of the families' ``Arch``."""

    #: MMEngine config of the normalisation; ``gamma=False`` omits the scale. None: no normalisation.
    norm: dict | None = field(default_factory=lambda: dict(type='BN', eps=1e-5, momentum=0.1))
    #: MMEngine config of the activation.
    act: dict = field(default_factory=lambda: dict(type='ReLU', inplace=True))
    image: ImageFormat = IMAGENET
    #: The paper's own classifier; None: this network is not a classifier.
    top: Top | None = Top()
    #: Fields of the row that differ in the classifier, such as padding that detectors cannot use.
    as_classifier: dict = field(default_factory=dict)
