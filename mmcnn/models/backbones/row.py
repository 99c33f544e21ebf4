"""What every row of every family's table says beside the structure: norm, activation, image format, classifier top."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmcnn.image_format import IMAGENET, ImageFormat


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
