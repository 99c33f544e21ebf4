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
    """A file of weights, and what the file itself does not tell.

    A number that nobody states, a licence that the publisher does not name, a hash that is not known is left empty.
    """

    #: Unique; ``MODEL/PUBLISHER-VERSION`` of lower case, digits and ``-_.``. Configs write ``mmcnn://NAME``.
    name: str
    #: The backbone row (``resnet50-tv``) or the config (``yolov3_darknet53``) whose graph it fits.
    model: str
    #: The row of the trunk, where ``model`` is a config.
    backbone: str = ''
    #: Whose layer names and file format it has: darknet, keras, torchvision, timm, mmdet or ultralytics.
    library: str
    #: Where it is, mirrors last.
    urls: tuple[str, ...]
    #: SHA-256 of the file, 64 hex digits.
    sha256: str = ''
    #: The first digits of it, where the publisher states no more.
    hash_prefix: str = ''
    #: MD5 of the file, where the publisher states that.
    md5: str = ''
    #: Whether the classifier's or the detector's head is in the file.
    top: bool
    #: Of the weights, as their publisher states it (SPDX).
    licence: str = ''
    #: The images that it was trained on; of a detector the side that its numbers were measured at.
    image: ImageFormat
    #: Of the trunk's convolutions, as :func:`activation_name` writes it.
    activation: str
    #: Epsilon of the trunk's BatchNorm; None: it has none.
    norm_eps: float | None
    #: As published: top-1 on ImageNet's validation set, percent, or COCO AP.
    metric: str = ''
    #: Of the metric.
    source: str = ''
    trained_on: str = 'ImageNet-1k'
    #: What must not be done with it.
    warning: str = ''

    world = renamed_attribute('world', 'library')

    @property
    def address(self) -> str:
        """What a config writes as its checkpoint."""
        return SCHEME + self.name

    @property
    def file(self) -> str:
        """Its name in the cache: the publisher's if that has a hash (torch's cache is shared then), else one of ours.

        Others' names repeat: every one at Hugging Face is model.safetensors, every release has a yolov5s.pt.
        """
        theirs = self.urls[0].rpartition('/')[2]
        return theirs if self.hash_prefix else f'{self.name.replace("/", "--")}--{theirs}'


def activation_name(act: Mapping[str, Any]) -> str:
    """MMEngine's config of an activation in a word: ``'ReLU'``, ``'Mish'``, ``'LeakyReLU(0.1)'``."""
    name = act['type'].removeprefix('mmcnn.')
    return f'{name}({act["negative_slope"]})' if 'negative_slope' in act else name
