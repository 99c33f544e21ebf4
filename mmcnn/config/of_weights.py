"""The config of a file of weights: the recorded config of its run, otherwise the config of mmcnn that fits it.

The config is chosen by the names and shapes in the file, and its network is checked against the whole file. Assumptions
are reported; if the choice would be a guess, the file is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmdet.datasets import CocoDataset
from mmengine.config import Config

from mmcnn.config.class_names import class_names
from mmcnn.config.held import Held, finds
from mmcnn.config.held_libraries import hold
from mmcnn.config.load import Say, dicts_in, load_config
from mmcnn.config.model import shapes
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.models.wiring import num_classes, set_num_classes
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.sources.torchvision_detectors import COCO_90, WITH_HOLES

#: Number of classes -> their assumed names if a file does not have them, and the origin of the names.
KNOWN_CLASSES = {
    80: (tuple(CocoDataset.METAINFO['classes']), "COCO's"),
    WITH_HOLES: (COCO_90, "COCO's 90 categories, of which 10 were never annotated"),
}


def config_of(
    file: Checkpoint,
    classes: str | Path | Sequence[str] | None = None,
    say: Say = print,
    *,
    names_needed: bool = True,
) -> tuple[Config, tuple[str, ...]]:
    """Return the config of a file of weights, and the names of its classes.

    A checkpoint of a run contains its config. One of ours is chosen for all others: YOLOv5 as ultralytics publishes it,
    Darknet's YOLOv3 and YOLOv4, MMDetection's YOLOv3 and Faster R-CNN, torchvision's Faster R-CNN, and mmcnn's
    conversions. Decoding, image format, size and NMS are then those of the original program.

    Args:
        file: the opened file.
        classes: names of the classes if the file does not have them; see
            :func:`~mmcnn.config.class_names.class_names`.
        say: called with each sentence about the origin of settings, and about assumptions.
        names_needed: False: the names may stay unknown (the result is empty), because a data set will provide them.

    Returns:
        the config for the file's number of classes, and their names.

    Raises:
        CheckpointError: no config of mmcnn fits the file, or several that produce different boxes; or the names of its
            classes are unknown.
        UsageError: the number of ``classes`` differs from the file's.
    """
    given = None if classes is None else class_names(classes)
    if isinstance(file.meta.get('cfg'), str):
        cfg = file.config
        return cfg, _recorded_names(file, cfg, given, say)
    held = hold(file)
    cfg = load_config(held.config, say=say)
    cfg.merge_from_dict(dict(held.options))
    if held.resize is not None:
        _set_resize(cfg, held.resize)
    set_num_classes(cfg.model, held.num_classes)
    names, whose = _names(file, held, given, names_needed)
    for loader in ('val_dataloader', 'test_dataloader') if names else ():
        cfg[loader].dataset.metainfo = dict(classes=names)
    say(f'note: {file.path} is {held.what}, which fits {held.config}; {"; ".join([whose, *held.notes, *file.notes])}')
    return cfg, names


def config_and_checkpoint(
    config: str | Path | Config | None, path: str | Path, say: Say = print, *, names_needed: bool = True
) -> tuple[Config, Checkpoint]:
    """Return an opened file of weights and its config: the named one, otherwise that of :func:`config_of`.

    Raises:
        UsageError, CheckpointError: something is missing or does not fit.
    """
    checkpoint = Checkpoint.open(path)
    if config is not None:
        return load_config(config, say=say), checkpoint
    return config_of(checkpoint, None, say, names_needed=names_needed)[0], checkpoint


def config_of_conversion(file: Checkpoint, named: Config, say: Say = print) -> Config | None:
    """Return the config that a conversion of a detector must record to produce the same boxes as its source.

    Weights do not determine anchors, decoding, size and NMS. They come from the source's own config, or from what is
    known of its library; the config that is named for a conversion decides only if neither is available.

    Args:
        file: the opened source.
        named: the config whose names and shapes the weights get, for the source's number of classes.
        say: called with each sentence about the origin of settings.

    Returns:
        the config; None: the source's config does not fit the converted weights, or it is a conversion without one.

    Raises:
        UsageError: the parts of ``named`` do not fit together.
    """
    wanted = shapes(named)
    try:
        cfg, _ = config_of(file, say=say, names_needed=False)
        fits = shapes(cfg) == wanted
    except (CheckpointError, UsageError):
        if not isinstance(file.meta.get('cfg'), str) and not (file.record and file.record.source):
            return named
        fits = False
    if not fits:
        say(
            f'note: {file.path} has no config that fits the converted weights, so none is recorded; to detect with '
            'them, name one with the anchors, decoding and image size of their training'
        )
        return None
    if finds(cfg) != finds(named) or _test_pipeline(cfg) != _test_pipeline(named):
        say(
            'note: the config of the source is recorded; the named one would produce different boxes from the same '
            'weights'
        )
    return cfg


def _test_pipeline(cfg: Config) -> list[dict]:
    return cfg.test_dataloader.dataset.pipeline


def _recorded_names(file: Checkpoint, cfg: Config, given: tuple[str, ...] | None, say: Say) -> tuple[str, ...]:
    """Return the names that a run has recorded for its config, otherwise the config's own; empty if unknown."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    names = file.classes or (dataset.get('metainfo') or {}).get('classes') or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    if given and names and len(given) != len(names):
        raise UsageError(_other_number(file, given, len(names)))
    if not (given or names) and dataset.get('type') == 'CocoDataset' and num_classes(cfg.model) == {80}:
        names, whose = KNOWN_CLASSES[80]
        say(f'note: {file.path} does not name its 80 classes; those of its CocoDataset are assumed, {whose}')
    return given or names


def _names(file: Checkpoint, held: Held, given: tuple[str, ...] | None, needed: bool) -> tuple[tuple[str, ...], str]:
    """Return the names, and a phrase about their origin."""
    count = held.num_classes
    if given is not None:
        if len(given) != count:
            raise UsageError(_other_number(file, given, count))
        return given, f'its {count} classes have the given names'
    if file.classes:
        if len(file.classes) != count:
            raise CheckpointError(
                f'{file.path} names {len(file.classes)} classes, but its head has {count}: give the names of all'
            )
        return file.classes, f'its {count} classes have the names in the file'
    if count in KNOWN_CLASSES:
        names, whose = KNOWN_CLASSES[count]
        return names, f'the file does not name its {count} classes, which are assumed to be {whose}'
    if needed:
        raise CheckpointError(
            f'{file.path} has {count} classes without names: give them as classes=a,b,c, or as a file with one name '
            'per line (--classes FILE.names)'
        )
    return (), f'the file does not name its {count} classes'


def _other_number(file: Checkpoint, given: tuple[str, ...], count: int) -> str:
    return f'classes={",".join(given)[:80]}: {len(given)} names, but {file.path} has {count} classes'


def _set_resize(cfg: Config, resize: dict) -> None:
    """Replace the transform that resizes the test images."""
    for loader in ('val_dataloader', 'test_dataloader'):
        pipeline = [
            dict(resize) if step['type'] in ('Resize', 'mmcnn.LetterBox') else step
            for step in cfg[loader].dataset.pipeline
        ]
        for step in dicts_in(pipeline):
            if step['type'] == 'PackDetInputs' and resize['type'] == 'mmcnn.LetterBox':
                step['meta_keys'] = tuple(dict.fromkeys((*step['meta_keys'], 'pad_param')))
        cfg[loader].dataset.pipeline = pipeline
