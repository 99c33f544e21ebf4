"""The configs that are shipped with mmcnn: their names, their paths and their descriptions.

A config is a program. Nothing here runs one, and nothing needs MMEngine.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmcnn.compat.packaged_configs import configs_below, folder_below

PACKAGE = Path(__file__).resolve().parents[1]


def config_folder() -> Path:
    """``configs/``: beside the package in a checkout, inside it after a plain install."""
    return folder_below(PACKAGE)


def own_configs() -> dict[str, Path]:
    """Return the configs that come with mmcnn, by name (``classification/resnet50``), detectors first."""
    return {name: path for name, path in configs_below(config_folder()).items() if '_base_' not in path.parts}


def new_name(path: Path) -> str | None:
    """Return what a config is called now, if it says so by MMEngine's ``_deprecation_``; MMEngine warns of it, too."""
    found = re.search(r"^_deprecation_ = dict\(expected='([^']+)'\)", path.read_text(encoding='utf-8'), re.MULTILINE)
    return found and found[1]


def summary(path: Path) -> str:
    """Return the first sentence of the comment that a config opens with; empty if it opens with none."""
    lines = []
    for line in path.read_text(encoding='utf-8').splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('#').strip())
    return re.split(r'(?<=\.)\s', ' '.join(lines), maxsplit=1)[0]
