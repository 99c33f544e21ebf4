"""How a detector's images are normalised, as the row of its backbone says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmcnn.image_format import ImageFormat
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring.parts import arguments, ours, plain, short


def image_of(backbone: Any) -> ImageFormat | None:
    """The images that the row of a backbone's config expects; None: it is not ours, timm's, or takes other images."""
    if not isinstance(backbone, dict) or 'type' not in backbone or not ours(backbone):
        return None
    if backbone.get('in_channels', 3) != 3:
        return None
    name = backbone.get('variant') or short(backbone)
    families = backbone_families()
    return families[name].variants[name].image if name in families else None


def fill_preprocessor(cfg: dict) -> None:
    """Fills in how images are normalised, as the row of the backbone says it, if that is ours; all of it or nothing.

    Mean and deviation are of an order of the channels, so whoever writes one of the three says what the others are.
    """
    preprocessor, image = cfg.get('data_preprocessor'), image_of(cfg.get('backbone'))
    if image is None or not isinstance(preprocessor, dict) or 'type' not in preprocessor:
        return
    wanted = _normalisation(image)
    if wanted.keys() <= arguments(preprocessor).keys() and not {*wanted, 'rgb_to_bgr'} & preprocessor.keys():
        preprocessor.update(wanted)


def set_preprocessor(preprocessor: Any, name: str, image: ImageFormat) -> list[str]:
    """Sets how images are normalised, in place, also in the preprocessor of each branch of a semi-supervised detector.

    Returns:
        what was changed, a sentence; empty: nothing.
    """
    wanted, changed = _normalisation(image), False
    for each in _preprocessors(preprocessor):
        if all(plain(each.get(key)) == value for key, value in wanted.items()):
            continue
        each.update(wanted, rgb_to_bgr=False)
        if each.get('pad_value'):  # the same grey as before where the padding was grey
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
    """What MMDetection's data preprocessor, which gets BGR images, is told; mean and deviation are after the swap."""
    return dict(mean=list(image.mean), std=list(image.std), bgr_to_rgb=image.order == 'rgb')
