"""The config of a file of weights: the recorded config of its run, otherwise the one of ours that fits it.

Which one that is, is found by the names and the shapes in the file, and its network is held against the whole file.
What these leave open is said; where it would be a guess, the file is refused.
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

#: Number of classes -> their names, where a file does not say them, and whose they are.
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

    A checkpoint of a run has its config inside. All else is held by one of ours: YOLOv5 as ultralytics publishes it,
    Darknet's YOLOv3 and YOLOv4, MMDetection's YOLOv3 and Faster R-CNN, torchvision's Faster R-CNN, and what mmcnn
    converted. Decoding, image format, size and NMS are then those of the original program.

    Args:
        file: opened.
        classes: names of the classes, where the file does not say them; see
            :func:`~mmcnn.config.class_names.class_names`.
        say: takes a sentence about what was taken from where, and what was assumed.
        names_needed: False: the names may stay unknown (the result is empty), since a data set will say them.

    Returns:
        the config, for as many classes as the file has, and their names.

    Raises:
        CheckpointError: no config of ours holds the file, or more than one that make other boxes of it; or nothing
            says what its classes are called.
        UsageError: ``classes`` are not as many as the file has.
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
    say(f'note: {file.path} is {held.what}, which {held.config} holds; {"; ".join([whose, *held.notes, *file.notes])}')
    return cfg, names


def config_and_checkpoint(
    config: str | Path | Config | None, path: str | Path, say: Say = print, *, names_needed: bool = True
) -> tuple[Config, Checkpoint]:
    """Return a file of weights, opened, and its config: the named one, else that of :func:`config_of`.

    Raises:
        UsageError, CheckpointError: what is missing or does not fit.
    """
    checkpoint = Checkpoint.open(path)
    if config is not None:
        return load_config(config, say=say), checkpoint
    return config_of(checkpoint, None, say, names_needed=names_needed)[0], checkpoint


def config_of_conversion(file: Checkpoint, named: Config, say: Say = print) -> Config | None:
    """Return the config that a conversion of a detector has to record to make the boxes that its source makes.

    Weights do not say what anchors, decoding, size and NMS they are for. The source's own config does, or what is known
    of its library; the one that is named for a conversion decides only where neither says anything.

    Args:
        file: the source, opened.
        named: the config whose names and shapes the weights get, for as many classes as the source has.
        say: takes a sentence about what was taken from where.

    Returns:
        the config; None: the source has one that does not fit the converted weights, or is a conversion without one.

    Raises:
        UsageError: the parts of ``named`` do not fit.
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
            f'note: {file.path} has no config that the converted weights fit, so none is recorded; to detect with '
            'them, name one that has the anchors, the decoding and the image size of their training'
        )
        return None
    if finds(cfg) != finds(named) or _test_pipeline(cfg) != _test_pipeline(named):
        say('note: the config of the source is recorded; the named one differs in what it makes of the same weights')
    return cfg


def _test_pipeline(cfg: Config) -> list[dict]:
    return cfg.test_dataloader.dataset.pipeline


def _recorded_names(file: Checkpoint, cfg: Config, given: tuple[str, ...] | None, say: Say) -> tuple[str, ...]:
    """Return the names that a run has recorded for its config, otherwise the config's own; empty: none are known."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    names = file.classes or (dataset.get('metainfo') or {}).get('classes') or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    if given and names and len(given) != len(names):
        raise UsageError(_other_number(file, given, len(names)))
    if not (given or names) and dataset.get('type') == 'CocoDataset' and num_classes(cfg.model) == {80}:
        names, whose = KNOWN_CLASSES[80]
        say(f'note: {file.path} does not name its 80 classes, they are those of its CocoDataset, {whose}')
    return given or names


def _names(file: Checkpoint, held: Held, given: tuple[str, ...] | None, needed: bool) -> tuple[tuple[str, ...], str]:
    """Return the names, and a phrase that says whose they are."""
    count = held.num_classes
    if given is not None:
        if len(given) != count:
            raise UsageError(_other_number(file, given, count))
        return given, f'its {count} classes are called as given'
    if file.classes:
        if len(file.classes) != count:
            raise CheckpointError(
                f'{file.path} names {len(file.classes)} classes and its head has {count}: give the names of all'
            )
        return file.classes, f'its {count} classes as the file names them'
    if count in KNOWN_CLASSES:
        names, whose = KNOWN_CLASSES[count]
        return names, f'the file does not name its {count} classes, they are taken to be {whose}'
    if needed:
        raise CheckpointError(
            f'{file.path} has {count} classes and does not say what they are called: name them, classes=a,b,c or a '
            'file with a name on each line (--classes FILE.names)'
        )
    return (), f'the file does not name its {count} classes'


def _other_number(file: Checkpoint, given: tuple[str, ...], count: int) -> str:
    return f'classes={",".join(given)[:80]}: {len(given)} names, but {file.path} has {count} classes'


def _set_resize(cfg: Config, resize: dict) -> None:
    """Put another transform in the place of the one that gives the test images their size."""
    for loader in ('val_dataloader', 'test_dataloader'):
        pipeline = [
            dict(resize) if step['type'] in ('Resize', 'mmcnn.LetterBox') else step
            for step in cfg[loader].dataset.pipeline
        ]
        for step in dicts_in(pipeline):
            if step['type'] == 'PackDetInputs' and resize['type'] == 'mmcnn.LetterBox':
                step['meta_keys'] = tuple(dict.fromkeys((*step['meta_keys'], 'pad_param')))
        cfg[loader].dataset.pipeline = pipeline
