"""Normalisation of a detector's images according to the row of its backbone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmcnn.image_format import ImageFormat
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring.parts import arguments, ours, plain, short


def image_of(backbone: Any) -> ImageFormat | None:
    """Return the image format of a backbone's row; None: it is not ours, is timm's, or does not take three channels."""
    if not isinstance(backbone, dict) or 'type' not in backbone or not ours(backbone):
        return None
    if backbone.get('in_channels', 3) != 3:
        return None
    name = backbone.get('variant') or short(backbone)
    families = backbone_families()
    return families[name].variants[name].image if name in families else None


def fill_preprocessor(cfg: dict) -> None:
    """Fill in the normalisation of images from the row of the backbone, if that is ours; all of it or nothing.

    Mean and deviation depend on the channel order, so if one of the three is given, the others are not filled in.
    """
    preprocessor, image = cfg.get('data_preprocessor'), image_of(cfg.get('backbone'))
    if image is None or not isinstance(preprocessor, dict) or 'type' not in preprocessor:
        return
    wanted = _normalisation(image)
    if wanted.keys() <= arguments(preprocessor).keys() and not {*wanted, 'rgb_to_bgr'} & preprocessor.keys():
        preprocessor.update(wanted)


def set_preprocessor(preprocessor: Any, name: str, image: ImageFormat) -> list[str]:
    """Set the normalisation of images in place, also in the preprocessor of each branch of a semi-supervised detector.

    Returns:
        A sentence about the change; empty if nothing changed.
    """
    wanted, changed = _normalisation(image), False
    for each in _preprocessors(preprocessor):
        if all(plain(each.get(key)) == value for key, value in wanted.items()):
            continue
        each.update(wanted, rgb_to_bgr=False)
        if each.get('pad_value'):  # if the padding was grey, keep the same grey
            each['pad_value'] = (114 - sum(image.mean) / 3) / (sum(image.std) / 3)
        changed = True
    words = f'images are normalised as {name} expects: mean {image.mean}, std {image.std}, {image.order}'
    return [words] if changed else []


def _preprocessors(cfg: Any) -> Iterator[dict]:
    while isinstance(cfg, dict):
        inner = cfg.get('data_preprocessor')
        if not isinstance(inner, dict):
            yield cfg
        cfg = inner


def _normalisation(image: ImageFormat) -> dict[str, Any]:
    """Return the settings of MMDetection's preprocessor for BGR images; mean and deviation apply after the swap."""
    return dict(mean=list(image.mean), std=list(image.std), bgr_to_rgb=image.order == 'rgb')
