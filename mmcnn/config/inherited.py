"""A config that inherits from one of MMDetection's and puts one of our backbones in: its numbers follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmcnn.compat.private_names import base_files
from mmcnn.config.model import refusals
from mmcnn.config.multipliers import settle_multipliers
from mmcnn.config.variables import Say
from mmcnn.models.wiring import swap_backbone
from mmcnn.models.wiring.parts import is_part, ours


def adopt_backbone(cfg: Config, path: Path, say: Say) -> None:
    """Replaces what a config has inherited with the backbone that it puts another in the place of.

    ``_base_ = RETINANET`` and ``model = dict(backbone=dict(type='mmcnn.vovnet39'))`` are enough, with or without
    ``_delete_``. What the config says itself stays as it is, and is checked later as everywhere.

    Args:
        cfg: as read from ``path``; changed in place.
        path: the file.
        say: takes what is changed, a sentence each.

    Raises:
        UsageError: the detector does not go with this backbone.
    """
    model = cfg.get('model')
    if not isinstance(model, dict) or not is_part(model.get('backbone')) or not ours(model['backbone']):
        return
    base = _base_model(path)
    if base is None or not is_part(base.get('backbone')):
        return
    # Detectors of ours are written without numbers; those on MMDetection's backbones have them.
    if base.get('type') == 'mmcnn.wired' or base['backbone']['type'] == model['backbone']['type']:
        return
    old = base['backbone']
    new = {key: value for key, value in model['backbone'].items() if key == 'type' or old.get(key) != value}
    with refusals():
        swapped, notes = swap_backbone({**model, 'backbone': old}, new, weights=bool(new.get('init_cfg')))
    _put_back(swapped, model, base)
    cfg.model = swapped
    say(f'backbone: {new["type"].removeprefix("mmcnn.")} in place of {old["type"]}, which the config inherits')
    for note in [*notes, *settle_multipliers(cfg)]:
        say(f'note: {note}')


def _base_model(path: Path) -> ConfigDict | None:
    """The model that a config inherits; None: it inherits none."""
    for file in base_files(path):
        model = Config.fromfile(file).get('model')
        if model is not None:
            return model
    return None


def _put_back(swapped: Any, own: Any, base: Any) -> None:
    """Sets what a config says itself, wherever it is not what its base says; the backbone aside."""
    pairs = own.items() if isinstance(own, dict) else enumerate(own)
    for key, value in pairs:
        if key == 'backbone':
            continue
        inherited = base.get(key) if isinstance(base, dict) else base[key]
        if value == inherited:
            continue
        alike = isinstance(value, list) and isinstance(inherited, list) and len(value) == len(inherited)
        if (isinstance(value, dict) and isinstance(inherited, dict)) or (alike and all(map(is_part, value))):
            _put_back(swapped[key], value, inherited)
        else:
            swapped[key] = value
