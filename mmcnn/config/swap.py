"""Any of our backbones in any of MMDetection's detectors, with one call from Python."""

from __future__ import annotations

import copy
from pathlib import Path

from mmengine.config import Config, ConfigDict

from mmcnn.config.load import load_config, set_backbone
from mmcnn.config.model import is_classifier, prove_model, wire_model
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError


def swap_backbone(config: Config | dict | str | Path, name: str, say: Say = print) -> Config | ConfigDict:
    """Return a config on another backbone: complete, proven by a forward pass of the whole detector, and still plain.

    ``swap_backbone('retinanet_r50_fpn_1x_coco.py', 'vovnet39')`` corresponds to ``--backbone vovnet39``. Every number
    that described the old backbone is replaced, wherever it is; its weights, frozen levels and frozen BatchNorm are
    removed; images are normalised as the new one expects. The result needs mmcnn only for the backbone itself, so that
    MMDetection's tools can read it (``cfg.dump``).

    Args:
        config: a config, its path or the name of one that comes with mmcnn; or a model alone, ``cfg.model``. Not
            changed.
        name: short name of one of our backbones (``mmcnn.list_backbones()``), with or without the scope;
            ``mmdet.TYPE`` or ``timm.NETWORK`` for others.
        say: called with a sentence about each change; prints by default.

    Returns:
        a copy: a config for a config, a model for a model.

    Raises:
        UsageError: no backbone has this name, it lacks a level that the detector uses (a MissingLevelError), the
            detector works only with its own backbone, or the parts do not fit together.
    """
    alone = isinstance(config, dict) and 'model' not in config
    cfg = Config(dict(model=copy.deepcopy(dict(config)))) if alone else _loaded(config, say)
    set_backbone(cfg, name, {}, say)
    if not is_classifier(cfg):
        wire_model(cfg)
        for note in prove_model(cfg):
            say(f'note: {note}')
    return cfg.model if alone else cfg


def _loaded(config: Config | dict | str | Path, say: Say) -> Config:
    cfg = Config(copy.deepcopy(dict(config))) if isinstance(config, dict) else load_config(config, say=say)
    if not isinstance(cfg.get('model'), dict):
        raise UsageError(f"the config {cfg.filename or ''} has no 'model'".replace('  ', ' '))
    return cfg
