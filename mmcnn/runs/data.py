"""``data``, ``classes``, ``skip_bad`` and ``cache_gb``: the data set of a config."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmcnn.config.load import dicts_in
from mmcnn.config.model import is_classifier
from mmcnn.config.parts import inner_datasets, loaders_of, metrics_of, takes, validates
from mmcnn.config.variables import Say
from mmcnn.datasets.check.classifier import check_class_folder, describe_left_out
from mmcnn.datasets.check.detector import check_data
from mmcnn.datasets.check.drawn_split import Draw
from mmcnn.datasets.check.report import DetectorData
from mmcnn.datasets.folders.cache_folder import cache_folder
from mmcnn.datasets.folders.chosen_classes import names_of
from mmcnn.datasets.folders.classes import ClassData, read_class_folder
from mmcnn.datasets.folders.findings import listed
from mmcnn.datasets.folders.shapes import CLASSES_DONE, make_shape_classes, make_shapes
from mmcnn.errors import DataError, UsageError
from mmcnn.models.wiring import set_num_classes
from mmcnn.runs.classes_of_data import choice_of, other_classes, shown_classes, trained_classes
from mmcnn.runs.data_sets import inner_dataset, measure_as_coco, read_as_coco, single_dataset
from mmcnn.runs.drawn_split import draw_for, other_images, record_draw
from mmcnn.runs.masks import check_masks

#: Folders of the demo data in the user's cache: for detectors, for classifiers.
DEMO_DATA, DEMO_CLASSES = 'demo', 'demo_classes'
#: Seconds that the other processes wait for it.
DEMO_PATIENCE = 120
#: The split that each data loader reads.
SPLITS = {'train_dataloader': 'train', 'val_dataloader': 'val', 'test_dataloader': 'val'}


def set_data(
    cfg: Config,
    data: str | Path | DetectorData | ClassData | None,
    checkpoint: dict | None = None,
    skip_bad: bool = False,
    say: Say = print,
    draw: Draw | None = None,
    classes: Sequence[str] | None = None,
    recorded: Config | None = None,
) -> DetectorData | ClassData | None:
    """Set the data of a config: files, classes, numbers of classes and evaluators. None: check the config's own data.

    Args:
        cfg: changed in place.
        data: 'demo', a folder, a folder that was already checked, or None.
        checkpoint: the checkpoint to test; then only test images must exist, and its classes must match.
        skip_bad: drop the images and boxes that the check rejects, and report their numbers.
        say: called with the warnings of the check, line by line.
        draw: draw of validation images for a folder without a validation split; None: that in ``recorded``.
        classes: classes of a detector's folder to use; boxes of others are dropped. With a checkpoint: classes to
            evaluate.
        recorded: the config that the checkpoint was trained with; None: ``cfg``.

    Returns:
        the content of the folder; None for a detector's own data.

    Raises:
        UsageError: the config's own data is missing or of a kind that folders cannot have, the checkpoint was trained
            on other classes, or the folder has none of ``classes``.
        DataError: the folder's data is not usable, or lacks the masks that the config reads.
    """
    if skip_bad and data in (None, 'demo'):
        raise UsageError('skip_bad=True needs data=PATH: only such data is checked image by image')
    if draw is not None and (data in (None, 'demo') or is_classifier(cfg)):
        what = 'a classifier is always validated on val/' if is_classifier(cfg) else 'it needs data=PATH'
        raise UsageError(f'val_fraction={draw.fraction:g}: {what}')
    if classes is not None and (data is None or is_classifier(cfg)):
        wants = 'a detector' if data is not None else 'data=PATH: otherwise the config sets the classes'
        raise UsageError(f'classes={classes!r} needs {wants}')
    if data is not None:
        for name, loader in loaders_of(cfg).items():
            single_dataset(name, loader, say)
    if is_classifier(cfg):
        folder = _class_folder(cfg, data, checkpoint, skip_bad, say)
    else:
        folder = _detector_folder(cfg, data, checkpoint, skip_bad, say, draw, classes, recorded or cfg)
    if folder is None:
        return None
    trained = trained_classes(checkpoint) or folder.classes
    if trained != folder.classes:
        raise other_classes(trained, str(folder.root), folder.classes)
    for loader in loaders_of(cfg).values():
        inner_dataset(loader).metainfo = dict(classes=folder.classes)
    return folder


def _detector_folder(
    cfg: Config,
    data: str | Path | DetectorData | None,
    checkpoint: dict | None,
    skip_bad: bool,
    say: Say,
    draw: Draw | None,
    classes: Sequence[str] | None,
    recorded: Config,
) -> DetectorData | None:
    from mmdet.registry import METRICS

    trained = trained_classes(checkpoint)
    if data is None:
        for name, loader in loaders_of(cfg).items():
            if (name == 'test_dataloader') == (checkpoint is not None):
                for dataset in inner_datasets(loader.dataset):
                    prefix = dataset.get('data_prefix') or {}
                    _check_present(cfg, dataset, (dataset.get('ann_file'), prefix.get('img', prefix.get('img_path'))))
        return None
    if isinstance(data, DetectorData):
        folder = data
    else:
        root = demo_data() if data == 'demo' else data
        names = ('val',) if checkpoint is not None else ('train', 'val') if validates(cfg) else ('train',)
        choice = choice_of(Path(root), classes, trained)
        report = check_data(root, names, data != 'demo', draw_for(recorded, Path(root), draw), choice)
        folder = report.usable(skip_bad)
        if checkpoint is not None and (text := other_images(recorded, folder.drawn)):
            say(f'warning: {text}')
        for line in listed(report.of('warning', 'note')) + ([report.left_out()] if report.of('error') else []):
            say(line)
    for name, loader in loaders_of(cfg).items():
        if (split := SPLITS[name]) in folder.files:
            ann_file, prefix = folder.files[split]
            dataset = inner_dataset(loader)
            read_as_coco(name, dataset, say)
            dataset.update(data_root=_absolute(folder.root), ann_file=ann_file, data_prefix=dict(img=prefix))
    evaluated = tuple(names_of(classes, trained, 'the checkpoint')) if classes is not None and trained else ()
    for evaluator in ('val_evaluator', 'test_evaluator') if 'val' in folder.files else ():
        for where, metric in metrics_of(cfg, evaluator):
            measure_as_coco(where, metric, say)
            known = takes(METRICS.get(metric.get('type'))) or ()
            if 'ann_file' in metric or 'ann_file' in known:
                metric.ann_file = str(Path(_absolute(folder.root), folder.files['val'][0]))
            if evaluated and 'classes' in known:
                metric.classes = list(evaluated)
    if evaluated:
        say(
            f'note: evaluating {len(evaluated)} of the {len(trained)} classes of the checkpoint: '
            f'{shown_classes(evaluated)}'
        )
    check_masks(cfg, folder, SPLITS)
    set_num_classes(cfg.model, len(folder.classes))
    record_draw(cfg, folder.drawn, folder.root)
    return folder


def _class_folder(
    cfg: Config, data: str | Path | ClassData | None, checkpoint: dict | None, skip_bad: bool, say: Say
) -> ClassData:
    if data is None:
        train, val = (inner_dataset(cfg[loader]) for loader in ('train_dataloader', 'test_dataloader'))
        for dataset in (val,) if checkpoint is not None else (train, val):
            _check_present(cfg, dataset, (dataset.data_prefix.img,))
        # The two splits may have different roots.
        below = [str(Path(dataset.data_root, dataset.data_prefix.img).resolve()) for dataset in (train, val)]
        folder = read_class_folder(val.data_root, None if checkpoint is not None else below[0], below[1])
    else:
        folder = data if isinstance(data, ClassData) else _checked_classes(data, checkpoint, skip_bad, say)
        for name, loader in loaders_of(cfg).items():
            split = SPLITS[name]
            left_out = [file for of, file in folder.left_out if of == split]
            inner_dataset(loader).update(
                data_root=_absolute(folder.root), data_prefix=dict(img=f'{split}/'), left_out=left_out
            )
    cfg.model.num_classes = len(folder.classes)
    return folder


def _absolute(root: Path) -> str:
    """Return the path of a data folder for the config: its checkpoints may be evaluated from another directory."""
    return os.path.abspath(root)


def _checked_classes(data: str | Path, checkpoint: dict | None, skip_bad: bool, say: Say) -> ClassData:
    root = demo_data(classifier=True) if data == 'demo' else data
    folder = read_class_folder(root, None if checkpoint is not None else 'train')
    if data == 'demo':
        return folder
    report = check_class_folder(folder, ('val',) if checkpoint is not None else ('train', 'val'))
    folder = report.usable(skip_bad)
    if report.findings:
        say(describe_left_out(report.findings))
    return folder


def demo_data(classifier: bool = False) -> str:
    """Return the folder of the demo data in the user's cache; it is drawn on first use, which takes seconds.

    One process on each machine draws it; the others wait for the file that is written last.

    Raises:
        DataError: it cannot be drawn, or was not drawn in time.
    """
    name, make, last = (
        (DEMO_CLASSES, make_shape_classes, CLASSES_DONE) if classifier else (DEMO_DATA, make_shapes, 'val.json')
    )
    folder = cache_folder() / name
    if int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0))) == 0:
        try:
            return str(make(folder))
        except OSError as error:
            raise DataError(
                f'the demo data cannot be drawn in {folder}: {error.strerror or error}; set XDG_CACHE_HOME to a '
                'writable folder'
            ) from error
    deadline = time.monotonic() + DEMO_PATIENCE
    while not (folder / last).is_file():
        if time.monotonic() > deadline:
            raise DataError(f'{folder} was not drawn by the first process within {DEMO_PATIENCE} s')
        time.sleep(0.2)
    return str(folder)


def _check_present(cfg: Config, dataset: ConfigDict, names: tuple[str | None, ...]) -> None:
    own = 'train/CLASS/, val/CLASS/' if is_classifier(cfg) else 'train.json, val.json, images/'
    root = dataset.get('data_root') or ''
    for path in (Path(root) / name for name in names if name is not None and '://' not in f'{root}{name}'):
        if not path.exists():
            raise UsageError(
                f'the data of {cfg.filename or "the config in the checkpoint"} is missing: {path} does not exist '
                f'(relative to {Path.cwd()}). Put it there, or use data=PATH for your own data ({own}), or data=demo '
                'for a small generated set'
            )


def check_classes(cfg: Config) -> None:
    """Refuse a model whose number of classes differs from that of its training images.

    A data set with unknown classes is accepted.

    Raises:
        UsageError: names the part of the model and both numbers, or two data sets with different classes.
    """
    several = {_classes(dataset): dataset for dataset in inner_datasets(cfg.train_dataloader.dataset)}
    if len(several) > 1:
        (one, a), (other, b) = [*several.items()][:2]
        raise UsageError(
            f'train_dataloader: the data sets have different classes: {shown_classes(one)} in '
            f'{a.get("ann_file") or a.type}, {shown_classes(other)} in {b.get("ann_file") or b.type}; give both the '
            'same metainfo=dict(classes=(...))'
        )
    classes = next(iter(several))
    model = cfg.model
    # Not every part: a region proposal network has a single class.
    heads = dicts_in([model.get('bbox_head'), (model.get('roi_head') or {}).get('bbox_head')])
    for part in (model, *heads):
        if classes and part.get('num_classes', len(classes)) != len(classes):
            raise UsageError(
                f'num_classes={part.num_classes} of {part.type}, but the training images have {len(classes)} classes, '
                f'{shown_classes(classes)}: set num_classes to their number'
            )


def _classes(dataset: ConfigDict) -> tuple[str, ...]:
    """Return the classes of a data set; empty if unknown."""
    from mmdet.registry import DATASETS

    kind = DATASETS.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    classes = {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}.get('classes') or ()
    return (classes,) if isinstance(classes, str) else tuple(classes)


def _mosaics(cfg: Mapping[str, Any]) -> list[dict]:
    """Return the entries of the training's mosaic data sets."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    return [node for node in dicts_in(dataset) if node.get('type') == 'mmcnn.MosaicDataset']


def continue_cache(cfg: Config, recorded: Mapping[str, Any], say: Say = print) -> None:
    """Keep a resumed run's memory for decoded images where this session leaves it open (``cache_gb=None``).

    Small tiles of a mosaic have slightly different pixels with and without it, so the run would end elsewhere.

    Args:
        cfg: config of this session, changed in place.
        recorded: the config of the run in its checkpoint; empty if there is none.
        say: called with a sentence.
    """
    mosaics, before = _mosaics(cfg), _mosaics(recorded)
    kept = [node.get('cache_gb', 0.0) for node in before]
    if len(mosaics) != len(kept) or None in kept or any(node.get('cache_gb', 0.0) is not None for node in mosaics):
        return
    for node, gigabytes in zip(mosaics, kept, strict=True):
        node.cache_gb = gigabytes
    if mosaics:
        say(f'note: the run began with cache_gb={sum(kept):g}, which is kept; --cache-gb changes it')


def set_cache(cfg: Config, cache_gb: float | None) -> None:
    """Set the memory for decoded training images, in 10^9 bytes; None keeps the config's value.

    Raises:
        UsageError: the config's training data have no such cache, or are drawn on the device with a model that cannot
            do so.
    """
    mosaics = _mosaics(cfg)
    if cache_gb is not None:
        if not mosaics:
            raise UsageError(
                f'cache_gb={cache_gb:g}: only mmcnn.MosaicDataset keeps decoded images, not '
                f'{cfg.train_dataloader.dataset.type}'
            )
        for node in mosaics:
            node.cache_gb = cache_gb / len(mosaics)
    preprocessor = cfg.model.get('data_preprocessor', {}).get('type')
    if any(node.get('device_augmentation') for node in mosaics) and preprocessor != 'mmcnn.PlanPreprocessor':
        raise UsageError(
            'train_dataloader.dataset.device_augmentation: drawing on the device needs '
            f'model.data_preprocessor.type=mmcnn.PlanPreprocessor, not {preprocessor}'
        )
