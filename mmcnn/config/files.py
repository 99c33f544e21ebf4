"""The configs that are shipped with mmcnn: names, paths and descriptions.

A config is a program. This module runs none and does not need MMEngine.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmcnn.compat.packaged_configs import configs_below, folder_below

PACKAGE = Path(__file__).resolve().parents[1]


def config_folder() -> Path:
    """Return ``configs/``: beside the package in a checkout, inside it after a plain install."""
    return folder_below(PACKAGE)


def own_configs() -> dict[str, Path]:
    """Return the configs that come with mmcnn by name (``classification/resnet50``), detectors first."""
    return {name: path for name, path in configs_below(config_folder()).items() if '_base_' not in path.parts}


def new_name(path: Path) -> str | None:
    """Return the new name of a config that is marked with MMEngine's ``_deprecation_``, which MMEngine reports, too."""
    found = re.search(r"^_deprecation_ = dict\(expected='([^']+)'\)", path.read_text(encoding='utf-8'), re.MULTILINE)
    return found and found[1]


def summary(path: Path) -> str:
    """Return the first sentence of the comment at the top of a config; empty if there is none."""
    lines = []
    for line in path.read_text(encoding='utf-8').splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('#').strip())
    return re.split(r'(?<=\.)\s', ' '.join(lines), maxsplit=1)[0]
