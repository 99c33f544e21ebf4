"""Configs that inherit from one of MMDetection's with another backbone: adapts numbers that described the old one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmcnn.compat.private_names import base_files
from mmcnn.config.lazy_style import imported_bases, with_names
from mmcnn.config.model import refusals
from mmcnn.config.multipliers import settle_multipliers
from mmcnn.config.variables import Say
from mmcnn.models.wiring import refit, swap_backbone
from mmcnn.models.wiring.parts import is_part, is_registered, ours, type_name


def adopt_backbone(cfg: Config, path: Path, say: Say) -> None:
    """Swap the backbone of the base for the one that a config sets in its place.

    ``_base_ = RETINANET`` and ``model = dict(backbone=dict(type='mmcnn.vovnet39'))`` are enough, with or without
    ``_delete_``; the backbone may also be MMDetection's or the user's own with its arguments. Entries that the config
    sets itself are not changed; they are checked later like all others.

    Args:
        cfg: as read from ``path``; changed in place.
        path: the file.
        say: called with a sentence about each change.

    Raises:
        UsageError: the detector does not work with this backbone.
    """
    model = cfg.get('model')
    if not isinstance(model, dict) or not is_part(model.get('backbone')) or not is_registered(model['backbone']):
        return
    base = _base_model(path)
    if base is None or not is_part(base.get('backbone')):
        return
    # Our detectors are written without numbers; those on MMDetection's backbones have them.
    if base.get('type') == 'mmcnn.wired' or base['backbone']['type'] == model['backbone']['type']:
        return
    swapped, notes = _swapped(model, base['backbone']) if ours(model['backbone']) else _refitted(model, base)
    _put_back(swapped, model, base)
    if swapped == model:  # it sets all numbers itself, like those that come with MMDetection
        return
    cfg.model = swapped
    name = type_name(model['backbone']).removeprefix('mmcnn.')
    say(f'backbone: {name} in place of {type_name(base["backbone"])}, which the config inherits')
    for note in [*notes, *settle_multipliers(cfg)]:
        say(f'note: {note}')


def _swapped(model: ConfigDict, old: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Return the model on one of our backbones, which gets none of the old one's arguments."""
    new = {key: value for key, value in model['backbone'].items() if key == 'type' or old.get(key) != value}
    new.pop('_delete_', None)  # ConfigDict.update leaves it there
    with refusals():
        return swap_backbone({**model, 'backbone': old}, new, weights=bool(new.get('init_cfg')))


def _refitted(model: ConfigDict, base: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Return the model on another library's backbone, which keeps inherited arguments as MMEngine merges them."""
    try:
        return refit(model, base['backbone'])
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # it cannot be built; the error is raised when it is needed
        return copy.deepcopy(model), []


def _base_model(path: Path) -> ConfigDict | None:
    """Return the model that a config inherits; None if it inherits none."""
    for file in [*base_files(path), *imported_bases(path)]:
        model = with_names(Config.fromfile(file)).get('model')
        if model is not None:
            return model
    return None


def _put_back(swapped: Any, own: Any, base: Any) -> None:
    """Restore the entries that a config sets itself, wherever they differ from its base; except for the backbone."""
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
