"""Loading of configs by name, with changes by ``cfg_options`` and ``backbone``."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from mmcnn.compat.packaged_configs import is_packaged, package_folder, packaged_config
from mmcnn.config.entries import merge_options
from mmcnn.config.files import new_name, own_configs
from mmcnn.config.inherited import adopt_backbone
from mmcnn.config.lazy_style import with_names
from mmcnn.config.model import refusals
from mmcnn.config.multipliers import settle_multipliers
from mmcnn.config.variables import Say
from mmcnn.errors import MmcnnError, UsageError
from mmcnn.models.wiring import backbone_of, named_backbone, swap_backbone
from mmcnn.nearest import nearest

#: The backbone, and the entry with its name.
PLACE = 'model.backbone'
BACKBONE = f'{PLACE}.type'
#: Prefixes of names of other libraries' backbones.
FOREIGN = ('mmdet.', 'timm.')


def load_config(config: str | Path | Config, options: Mapping[str, Any] | None = None, say: Say = print) -> Config:
    """Return a config by its path, by the name of one of mmcnn's, or by package and name; a loaded one is copied.

    A config is a program: loading one runs it.

    Args:
        config: path, name (``yolov5_s``), package and name (``mmdet::retinanet/retinanet_r50_fpn_1x_coco``) or config.
        options: entries to override, as ``cfg_options``; another ``model.backbone.type`` swaps the backbone.
        say: called with each note.

    Raises:
        UsageError: there is no such file or name (the message lists similar ones), the file cannot be read as a config,
            or an option is invalid.
    """
    if not isinstance(config, str | os.PathLike | Config):
        raise UsageError(f'config={config!r}: it must be a path, a name or a loaded config')
    cfg = with_names(copy.deepcopy(config)) if isinstance(config, Config) else _read(str(config), say)
    if options:
        set_backbone(cfg, None, options, say)
        merge_options(cfg, options, say)
    return cfg


def _read(name: str, say: Say) -> Config:
    path = Path(name)
    if is_packaged(name):
        path = packaged_config(name)
    elif not path.is_file():
        # "configs/yolov4.py" typed in another folder also means the one that comes with mmcnn.
        own = own_configs()
        wanted = name.removeprefix('configs/').removesuffix('.py')
        if wanted not in own:
            raise UsageError(
                f"there is no config file '{name}', and mmcnn has no config of that name; {nearest(wanted, own)}"
            )
        path = own[wanted]
    try:
        cfg = with_names(Config.fromfile(path))
    except MmcnnError as error:  # for example, of a base that is named by its package
        raise UsageError(f"'{path}' cannot be read as a config: {error}") from error
    except ImportError as error:
        if isinstance(error.__cause__, ImportError):  # of custom_imports; MMEngine's message lists all of sys.path
            raise UsageError(
                f"'{path}' cannot be read as a config: its custom_imports: {error.__cause__}; install the package, or "
                'add its folder to PYTHONPATH'
            ) from error
        raise UsageError(f"'{path}' cannot be read as a config: {type(error).__name__}: {error}") from error
    except ConfigParsingError as error:
        if 'mmdet.configs.' in str(error) and not (package_folder('mmdet') / 'configs').is_dir():
            raise UsageError(
                f"'{path}' cannot be read as a config: it imports mmdet.configs, which only a checkout of MMDetection "
                "has (pip install -e); to inherit a packaged config, use _base_ = 'mmdet::FOLDER/NAME'"
            ) from error
        raise UsageError(f"'{path}' cannot be read as a config: {error}") from error
    except Exception as error:  # a config is a program, and may raise anything
        raise UsageError(f"'{path}' cannot be read as a config: {type(error).__name__}: {error}") from error
    adopt_backbone(cfg, path, say)
    if new := new_name(path):
        say(f'note: {path.stem} is now called {new}; the old name will be removed in the next release')
    return cfg


def set_backbone(cfg: Config, backbone: str | None, options: Mapping[str, Any], say: Say = print) -> None:
    """Swap the backbone of a config (:func:`~mmcnn.models.wiring.swap_backbone`), and report what that changes.

    Args:
        cfg: changed in place.
        backbone: short name of one of our backbones, with or without the scope; ``mmdet.TYPE`` or
            ``timm.NETWORK``, with arguments from ``options``; None: the backbone in ``options``, if any.
        options: ``cfg_options``, which may also name the backbone (``model.backbone.type``).
        say: called with a sentence about each change.

    Raises:
        UsageError: both name different backbones, or the backbone does not fit the model.
    """
    kind = options.get(BACKBONE)
    if backbone is not None:
        wanted = backbone if backbone.startswith(FOREIGN) else 'mmcnn.' + backbone.removeprefix('mmcnn.')
        if kind not in (None, wanted):
            raise UsageError(
                f'backbone={backbone} and cfg_options {BACKBONE}={kind} contradict each other: give only one'
            )
        kind = wanted
    old = (backbone_of(cfg.get('model', {})) or {}).get('type')
    # A type of MMDetection or timm in cfg_options has its arguments there, and replaces nothing but itself.
    if kind in (None, old) or not kind.startswith(('mmcnn.', *FOREIGN)) or kind == 'mmcnn.TimmBackbone':
        return
    if cfg.get('model') is None:
        raise UsageError(f"the config {cfg.filename or ''} has no 'model'".replace('  ', ' '))
    new: str | dict = kind
    if kind.startswith(FOREIGN):
        typed = {key.removeprefix(f'{PLACE}.'): value for key, value in options.items() if key.startswith(f'{PLACE}.')}
        new = named_backbone(kind) | {key: value for key, value in typed.items() if '.' not in key and key != 'type'}
    with refusals():
        weights = any(key.startswith(f'{PLACE}.init_cfg') for key in options)
        cfg.model, notes = swap_backbone(cfg.model, new, weights)
    say(f'backbone: {kind.removeprefix("mmcnn.")} in place of {old}')
    for note in [*notes, *settle_multipliers(cfg)]:
        say(f'note: {note}')


def dicts_in(node: Any) -> Iterator[dict]:
    """Yield every dict inside a config, outermost first."""
    if isinstance(node, Config):
        node = [*node.values()]
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from dicts_in(value)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for value in node:
            yield from dicts_in(value)
