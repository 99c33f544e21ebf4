"""Conversion of weights for a network of the zoo or for a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmcnn.compat.moved import renamed_arguments
from mmcnn.compat.packaged_configs import is_packaged
from mmcnn.config.files import config_folder
from mmcnn.config.load import Say, load_config
from mmcnn.config.model import is_classifier
from mmcnn.config.of_weights import config_of_conversion
from mmcnn.errors import UsageError
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring import set_num_classes
from mmcnn.nearest import nearest
from mmcnn.weights import convert as weights
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.own_modules import import_modules, record_imports
from mmcnn.weights.record import Record
from mmcnn.weights.report import LoadReport


@renamed_arguments(source='path', world='source')
def convert(
    path: str | Path,
    target: str | Path,
    name: str,
    source: str | None = None,
    num_classes: int | None = None,
    say: Say = print,
    imports: Sequence[str] | None = None,
) -> tuple[LoadReport, Record]:
    """Read weights of any source into one of our networks and write them with our names.

    Args:
        path: see :func:`mmcnn.weights.convert.convert`, also for the return value.
        target: see :func:`mmcnn.weights.convert.convert`.
        source: see :func:`mmcnn.weights.convert.convert`.
        num_classes: see :func:`mmcnn.weights.convert.convert`.
        name: a network of the zoo, or a config: its path, or the name of one that comes with mmcnn.
        say: called with a sentence about the config that is recorded for a detector, see
            :func:`~mmcnn.config.of_weights.config_of_conversion`.
        imports: the user's own modules to import first, which register types of the config.

    Raises:
        UsageError: no network or config has this name, or another argument is invalid.
        CheckpointError: the file does not fit, or cannot be written.
    """
    named = config = None
    said: list[str] = []
    import_modules(imports)
    if name not in backbone_families():
        configs = [each.stem for each in config_folder().glob('*.py')]
        if name not in configs and not Path(name).is_file() and not is_packaged(name):
            known = nearest(name, [*backbone_families(), *configs])
            raise UsageError(f"no network and no config is called '{name}'; {known}")
        named = load_config(name)
        record_imports(named, imports)
        if num_classes is not None:
            set_num_classes(named.model, num_classes)
        recorded = not str(target).endswith('.weights') and not is_classifier(
            named
        )  # Darknet's files contain no config
        if recorded and Path(path).expanduser().is_file():
            config = config_of_conversion(Checkpoint.open(path), named, said.append)
    model_cfg = None if named is None else named.model
    done = weights.convert(path, target, name, source, num_classes, model_cfg, config)
    for line in said:
        say(line)
    return done
