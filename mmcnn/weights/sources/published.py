"""Known facts about published files of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmcnn.compat.moved import renamed_arguments, renamed_attribute
from mmcnn.image_format import ImageFormat

SCHEME = 'mmcnn://'


@renamed_arguments(world='library')
@dataclass(frozen=True, kw_only=True)
class Published:
    """A file of weights, and facts about it that the file does not contain.

    Numbers, licences and hashes that the publisher does not state are empty.
    """

    #: Unique name: ``MODEL/PUBLISHER-VERSION``, lower case, digits and ``-_.``. Configs write ``mmcnn://NAME``.
    name: str
    #: The backbone row (``resnet50-tv``) or the config (``yolov3_darknet53``) that it fits.
    model: str
    #: The backbone row, if ``model`` is a config.
    backbone: str = ''
    #: Library whose layer names and file format it has: darknet, keras, torchvision, timm, mmdet or ultralytics.
    library: str
    #: Addresses of the file, mirrors last.
    urls: tuple[str, ...]
    #: SHA-256 of the file, 64 hex digits.
    sha256: str = ''
    #: Its first digits, if the publisher states only these.
    hash_prefix: str = ''
    #: MD5 of the file, if the publisher states it.
    md5: str = ''
    #: Whether the classifier's or the detector's head is in the file.
    top: bool
    #: Licence of the weights according to their publisher (SPDX).
    licence: str = ''
    #: The images of the training; for a detector, the side at which its metric was measured.
    image: ImageFormat
    #: Activation of the trunk's convolutions, in the form of :func:`activation_name`.
    activation: str
    #: Epsilon of the trunk's BatchNorm; None: it has none.
    norm_eps: float | None
    #: As published: top-1 on ImageNet's validation set, percent, or COCO AP.
    metric: str = ''
    #: Source of the metric.
    source: str = ''
    trained_on: str = 'ImageNet-1k'
    #: Warning about its use.
    warning: str = ''

    world = renamed_attribute('world', 'library')

    @property
    def address(self) -> str:
        """The address that a config gives as its checkpoint."""
        return SCHEME + self.name

    @property
    def file(self) -> str:
        """Its name in the cache: the publisher's if that has a hash (torch's cache is then shared), else our own.

        Other names are not unique: at Hugging Face each is model.safetensors, and every release has a yolov5s.pt.
        """
        theirs = self.urls[0].rpartition('/')[2]
        return theirs if self.hash_prefix else f'{self.name.replace("/", "--")}--{theirs}'


def activation_name(act: Mapping[str, Any]) -> str:
    """Return the short form of MMEngine's config of an activation: ``'ReLU'``, ``'Mish'``, ``'LeakyReLU(0.1)'``."""
    name = act['type'].removeprefix('mmcnn.')
    return f'{name}({act["negative_slope"]})' if 'negative_slope' in act else name
