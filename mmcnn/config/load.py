"""Configs: found by name, changed by ``cfg_options`` and ``backbone``."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.compat.packaged_configs import is_packaged, packaged_config
from mmcnn.config.entries import merge_options
from mmcnn.config.files import new_name, own_configs
from mmcnn.config.model import refusals
from mmcnn.config.variables import Say
from mmcnn.errors import MmcnnError, UsageError
from mmcnn.models.wiring import swap_backbone
from mmcnn.nearest import nearest

#: The entry that names the backbone.
BACKBONE = 'model.backbone.type'


def load_config(config: str | Path | Config, options: Mapping[str, Any] | None = None, say: Say = print) -> Config:
    """A config by its path, by the name of one of mmcnn's, or by package and name; a loaded one is copied.

    A config is a program: loading one runs it.

    Args:
        config: path, name (``yolov5_s``), package and name (``mmdet::retinanet/retinanet_r50_fpn_1x_coco``) or config.
        options: entries to override, as ``cfg_options``; another ``model.backbone.type`` swaps the backbone.
        say: takes what is to be known of it, a sentence each.

    Raises:
        UsageError: there is no such file or name (the nearest are listed), the file cannot be read as a config, or an
            option does not fit.
    """
    if not isinstance(config, str | os.PathLike | Config):
        raise UsageError(f'config={config!r}: it has to be a path, a name or a loaded config')
    cfg = copy.deepcopy(config) if isinstance(config, Config) else _read(str(config), say)
    if options:
        set_backbone(cfg, None, options, say)
        merge_options(cfg, options, say)
    return cfg


def _read(name: str, say: Say) -> Config:
    path = Path(name)
    if is_packaged(name):
        path = packaged_config(name)
    elif not path.is_file():
        # "configs/yolov4.py" typed in another folder means the one that comes with mmcnn, too.
        own = own_configs()
        wanted = name.removeprefix('configs/').removesuffix('.py')
        if wanted not in own:
            raise UsageError(
                f"there is no config file '{name}', and none of that name comes with mmcnn; {nearest(wanted, own)}"
            )
        path = own[wanted]
    try:
        cfg = Config.fromfile(path)
    except MmcnnError as error:  # of a base that is named by its package, for one
        raise UsageError(f"'{path}' cannot be read as a config: {error}") from error
    except ImportError as error:
        if isinstance(error.__cause__, ImportError):  # of its custom_imports; MMEngine lists all of sys.path
            raise UsageError(
                f"'{path}' cannot be read as a config: its custom_imports: {error.__cause__}; install the package, or "
                'put the folder that holds it on PYTHONPATH'
            ) from error
        raise UsageError(f"'{path}' cannot be read as a config: {type(error).__name__}: {error}") from error
    except Exception as error:  # a config is a program, and may raise anything
        raise UsageError(f"'{path}' cannot be read as a config: {type(error).__name__}: {error}") from error
    if new := new_name(path):
        say(f'note: {path.stem} is now called {new}; the old name goes with the next release')
    return cfg


def set_backbone(cfg: Config, backbone: str | None, options: Mapping[str, Any], say: Say = print) -> None:
    """Puts a config on another backbone (:func:`~mmcnn.models.wiring.swap_backbone`), and says what that changes.

    Args:
        cfg: changed in place.
        backbone: short name of one of our backbones, with or without the scope; None: that of ``options``, if any.
        options: ``cfg_options``, which may name the backbone, too (``model.backbone.type``).
        say: takes what is changed, a sentence each.

    Raises:
        UsageError: both say which backbone, and not the same; or it does not go with the model.
    """
    kind = options.get(BACKBONE)
    if backbone is not None:
        wanted = 'mmcnn.' + backbone.removeprefix('mmcnn.')
        if kind not in (None, wanted):
            raise UsageError(f'backbone={backbone} and cfg_options {BACKBONE}={kind} contradict each other: name one')
        kind = wanted
    old = cfg.get('model', {}).get('backbone', {}).get('type')
    # A backbone of MMDetection or timm has arguments of its own, which the other options set.
    if kind in (None, old) or not kind.startswith('mmcnn.') or kind == 'mmcnn.TimmBackbone':
        return
    if cfg.get('model') is None:
        raise UsageError(f"the config {cfg.filename or ''} has no 'model'".replace('  ', ' '))
    with refusals():
        weights = any(key.startswith('model.backbone.init_cfg') for key in options)
        cfg.model, notes = swap_backbone(cfg.model, kind, weights)
    say(f'backbone: {kind.removeprefix("mmcnn.")} in place of {old}')
    for note in notes:
        say(f'note: {note}')


def dicts_in(node: Any) -> Iterator[dict]:
    """Every dict inside a config, outermost first."""
    if isinstance(node, Config):
        node = [*node.values()]
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from dicts_in(value)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for value in node:
            yield from dicts_in(value)
