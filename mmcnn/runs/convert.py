"""Conversions of weights for a network of the zoo or for a config."""

from __future__ import annotations

from pathlib import Path

from mmcnn.compat.moved import renamed_arguments
from mmcnn.config.files import config_folder
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.models.families import backbone_families
from mmcnn.nearest import nearest
from mmcnn.weights import convert as weights
from mmcnn.weights.record import Record
from mmcnn.weights.report import LoadReport


@renamed_arguments(source='path', world='source')
def convert(
    path: str | Path, target: str | Path, name: str, source: str | None = None, num_classes: int | None = None
) -> tuple[LoadReport, Record]:
    """Reads weights of any source into one of our networks and writes them under our names.

    Args:
        path, target, source, num_classes: see :func:`mmcnn.weights.convert.convert`, and there for what is returned.
        name: a network of the zoo, or a config: its path, or the name of one that comes with mmcnn.

    Raises:
        UsageError: no network and no config of this name, or what else does not fit.
        CheckpointError: the file does not fit, or cannot be written.
    """
    model_cfg = None
    if name not in backbone_families():
        configs = [each.stem for each in config_folder().glob('*.py')]
        if name not in configs and not Path(name).is_file():
            known = nearest(name, [*backbone_families(), *configs])
            raise UsageError(f"no network and no config is called '{name}'; {known}")
        model_cfg = load_config(name).model
    return weights.convert(path, target, name, source, num_classes, model_cfg)
