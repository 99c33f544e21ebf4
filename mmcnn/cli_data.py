"""What ``--data`` and ``--img-size`` of the tools change in a config, and what is read of that data."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict

from mmcnn.cli import UsageError, build_on_meta, dicts_in, is_classifier
from mmcnn.datasets.anchors import anchors_of, best_possible_recall, box_sizes
from mmcnn.datasets.class_check import check_class_images, describe_left_out
from mmcnn.datasets.class_folder import ClassData, read_class_folder
from mmcnn.datasets.data_check import check_data
from mmcnn.datasets.data_report import DetectorData
from mmcnn.datasets.findings import listed
from mmcnn.datasets.shapes import CLASSES_DONE, make_shape_classes, make_shapes

#: Where ``--data demo`` puts its pictures, below the current folder: those of detectors, those of classifiers.
DEMO_DATA = Path('data') / 'mmcnn_demo'
DEMO_CLASSES = Path('data') / 'mmcnn_demo_classes'
#: Seconds that the other processes wait for it.
DEMO_PATIENCE = 120
#: Smallest side of a classifier's images, pixels: one value is left of it at stride 32.
MIN_IMAGE = 32
#: MMDetection's transforms that give the network's input its size.
SCALED = ('Resize', 'RandomResize', 'RandomChoiceResize')
#: Best possible recall below which anchors are called unfit, as in YOLOv5's check before training.
MIN_RECALL = 0.98
_SHOWN = 20


def set_data(
    cfg: Config, data: str | None, checkpoint: dict | None = None, skip_bad: bool = False
) -> DetectorData | ClassData | None:
    """Points a config at ``--data``: files, classes, class counts and evaluators. None: the config's own, checked.

    Args:
        cfg: changed in place.
        data: 'demo', a folder, or None.
        checkpoint: one to be tested; then only the images to test on have to be there, and with the same classes.
        skip_bad: leave out what the check of a folder finds at fault, and say how many of what.

    Returns:
        what the folder holds; None for a detector's own data.

    Raises:
        UsageError: the config's own data is not there, or the checkpoint was trained on other classes.
        DataError: the folder's is not usable.
    """
    if skip_bad and data in (None, 'demo'):
        raise UsageError('--skip-bad goes with --data PATH: no other data is checked picture by picture')
    read = _class_folder if is_classifier(cfg) else _detector_folder
    folder = read(cfg, data, checkpoint, skip_bad)
    if folder is None:
        return None
    trained = tuple(((checkpoint or {}).get('meta', {}).get('dataset_meta') or {}).get('classes') or folder.classes)
    if trained != folder.classes:
        raise UsageError(
            f'the checkpoint was trained on the classes {_shown(trained)}, but {folder.root} has '
            f'{_shown(folder.classes)}'
        )
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        inner_dataset(cfg[loader]).metainfo = dict(classes=folder.classes)
    return folder


def _detector_folder(cfg: Config, data: str | None, checkpoint: dict | None, skip_bad: bool) -> DetectorData | None:
    from mmcnn.models.wiring import set_num_classes

    if data is None:
        for loader in ('test_dataloader',) if checkpoint is not None else ('train_dataloader', 'val_dataloader'):
            dataset = inner_dataset(cfg[loader])
            _check_present(cfg, dataset, (dataset.ann_file, dataset.data_prefix.get('img', '')))
        return None
    root = _demo_data(make_shapes, DEMO_DATA, 'val.json') if data == 'demo' else data
    report = check_data(root, ('val',) if checkpoint is not None else ('train', 'val'), decode=data != 'demo')
    folder = report.usable(skip_bad)
    _say(listed(report.of('warning')) + ([report.left_out()] if report.of('error') else []))
    for loader, part in (('train_dataloader', 'train'), ('val_dataloader', 'val'), ('test_dataloader', 'val')):
        if part in folder.files:
            ann_file, prefix = folder.files[part]
            inner_dataset(cfg[loader]).update(
                data_root=str(folder.root), ann_file=ann_file, data_prefix=dict(img=prefix)
            )
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(folder.root / folder.files['val'][0])
    set_num_classes(cfg.model, len(folder.classes))
    return folder


def _class_folder(cfg: Config, data: str | None, checkpoint: dict | None, skip_bad: bool) -> ClassData:
    if data is None:
        train, val = (inner_dataset(cfg[loader]) for loader in ('train_dataloader', 'test_dataloader'))
        for dataset in (val,) if checkpoint is not None else (train, val):
            _check_present(cfg, dataset, (dataset.data_prefix.img,))
        # The two may have roots of their own.
        below = [str(Path(dataset.data_root, dataset.data_prefix.img).resolve()) for dataset in (train, val)]
        folder = read_class_folder(val.data_root, None if checkpoint is not None else below[0], below[1])
    else:
        root = _demo_data(make_shape_classes, DEMO_CLASSES, CLASSES_DONE) if data == 'demo' else data
        folder, bad = read_class_folder(root, None if checkpoint is not None else 'train'), []
        if data != 'demo':
            folder, bad = check_class_images(folder, ('val',) if checkpoint is not None else ('train', 'val'), skip_bad)
            _say([describe_left_out(bad)] if bad else [])
        for loader, part in (('train_dataloader', 'train'), ('val_dataloader', 'val'), ('test_dataloader', 'val')):
            dataset = inner_dataset(cfg[loader])
            left_out = [finding.file for finding in bad if finding.part == part]
            dataset.update(data_root=str(folder.root), data_prefix=dict(img=f'{part}/'), left_out=left_out)
    cfg.model.num_classes = len(folder.classes)
    return folder


def _demo_data(make: Callable[[Path], Path], folder: Path, last: str) -> str:
    """Draws demo data, on one process of each machine; the others wait until the file that is written last is there."""
    if int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0))) == 0:
        print(f'making the demo data in {folder} (kept for the next time) ...', flush=True)
        try:
            return str(make(folder))
        except FileExistsError as error:
            raise UsageError(f'--data demo: {error}') from error
    deadline = time.monotonic() + DEMO_PATIENCE
    while not (folder / last).is_file():
        if time.monotonic() > deadline:
            raise UsageError(f'{folder} was not drawn by the first process within {DEMO_PATIENCE} s')
        time.sleep(0.2)
    return str(folder)


def _say(lines: list[str]) -> None:
    """Prints lines, in the first of several processes."""
    if not int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))):
        for line in lines:
            print(line, flush=True)


def _check_present(cfg: Config, dataset: ConfigDict, names: tuple[str, ...]) -> None:
    own = 'train/CLASS/, val/CLASS/' if is_classifier(cfg) else 'train.json, val.json, images/'
    for path in (Path(dataset.get('data_root') or '') / name for name in names):
        if not path.exists():
            raise UsageError(
                f'the data of {cfg.filename or "the config in the checkpoint"} is not there: looked for {path} (from '
                f'{Path.cwd()}). Put it there, or use --data PATH for your own ({own}), or --data demo for a small set '
                'made here'
            )


def check_classes(cfg: Config) -> None:
    """Refuses a model for another number of classes than its training images have.

    A data set that does not say what its classes are is taken as it is.

    Raises:
        UsageError: names the part of the model and both numbers.
    """
    from mmdet.registry import DATASETS

    dataset = inner_dataset(cfg.train_dataloader)
    kind = DATASETS.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    known = {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
    classes = known.get('classes') or ()
    classes = (classes,) if isinstance(classes, str) else tuple(classes)
    model = cfg.model
    # Not every part: a region proposal network has one class of its own.
    heads = dicts_in([model.get('bbox_head'), (model.get('roi_head') or {}).get('bbox_head')])
    for part in (model, *heads):
        if classes and part.get('num_classes', len(classes)) != len(classes):
            raise UsageError(
                f'num_classes={part.num_classes} of {part.type}, but the training images have {len(classes)} classes, '
                f'{_shown(classes)}: set num_classes to their number'
            )


def inner_dataset(loader: ConfigDict) -> ConfigDict:
    """The dataset that reads files, inside the wrappers around it."""
    dataset = loader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def image_size(cfg: Config) -> tuple[int, int] | None:
    """Width and height that a detector's test pipeline scales images into, pixels; None: no transform of it says so."""
    sizes = (step.get('img_scale') or step.get('scale') for step in inner_dataset(cfg.test_dataloader).pipeline)
    return next((tuple(size) for size in sizes if size is not None), None)


def train_box_sizes(cfg: Config, img_size: int) -> np.ndarray:
    """Widths and heights (N, 2) of the boxes that a detector is trained on, pixels at the network's input.

    Args:
        cfg: with data that is there (:func:`set_data`).
        img_size: of the longer side of each image.
    """
    dataset = inner_dataset(cfg.train_dataloader)
    return box_sizes(json.loads(Path(dataset.data_root or '', dataset.ann_file).read_bytes()), img_size)


def warn_of_anchors(cfg: Config, data: str | None) -> None:
    """Says so if many training boxes are out of reach of a detector's anchors (:data:`MIN_RECALL`).

    Nothing is said of a detector without anchors of fixed sizes, of data that is not in COCO format, nor by any but the
    first of several processes.

    Args:
        cfg: complete, with data that is there.
        data: ``--data``, for the command that the warning names.
    """
    anchors, size = anchors_of(cfg.model), image_size(cfg)
    if anchors is None or size is None:
        return
    if not inner_dataset(cfg.train_dataloader).ann_file.endswith('.json'):
        return
    size = max(size)
    recall = best_possible_recall(train_box_sizes(cfg, size), anchors)
    if recall < MIN_RECALL:
        command = ['python', 'tools/anchors.py', *(['--data', data] if data else [])]
        command += ['--config', str(cfg.filename), '--img-size', str(size)]
        line = f'warning: the best possible recall of the anchors on the training boxes is {recall:.4f}; ones that fit '
        _say([f'{line}better: {shlex.join(command)}'])


def set_img_size(cfg: Config, size: int | None) -> None:
    """Side of the network input, in every transform of every pipeline that has one.

    That is ``img_scale`` of our transforms, and ``scale`` of MMDetection's, which keep the aspect: there it is the
    longer side, and a range of sizes keeps its proportions. None leaves a config as it is; but where a classifier's
    leaves it open (``img_scale=None``), it is the size that the backbone's published weights expect.

    Raises:
        UsageError: not a multiple of 32 for a detector, too small for a classifier, or the config has no such
            transform.
    """
    transforms = [node for node in dicts_in(cfg) if 'type' in node]
    sized = [node for node in transforms if 'img_scale' in node]
    scaled = [node for node in transforms if node['type'] in SCALED and 'scale' in node]
    if size is not None and not sized and not scaled:
        raise UsageError('--img-size: this config has no transform with an img_scale or a scale; use --cfg-options')
    if is_classifier(cfg):
        _set_classifier_size(cfg, size, sized)
        return
    if size is None:
        return
    if size < 32 or size % 32:
        raise UsageError(f'--img-size {size}: it has to be a multiple of 32, the coarsest stride')
    before = max(sized[0]['img_scale'] if sized else _sides(scaled[-1]['scale']))
    for node in sized:
        node['img_scale'] = (size, size)
    for node in scaled:
        largest = max(_sides(node['scale']))
        sides = [max(round(side * size / largest / 32), 1) * 32 for side in _sides(node['scale'])]
        # A range is two corners, (smaller, smaller) and (larger, larger).
        is_range = isinstance(node['scale'][0], Sequence)
        node['scale'] = [(side, side) for side in sides] if is_range else (size, size)
    for node in dicts_in(cfg.model):
        if 'random_size_range' in node:
            node['random_size_range'] = tuple(round(s * size / before / 32) * 32 for s in node['random_size_range'])


def set_cache(cfg: Config, cache_gb: float | None) -> None:
    """Memory for decoded training images, 10^9 bytes; None leaves a config as it is.

    Raises:
        UsageError: the config's training data have no such cache, or are to be drawn on the device by a model that
            does not.
    """
    dataset = cfg.train_dataloader.dataset
    if cache_gb is not None:
        if dataset.type != 'mmcnn.MosaicDataset':
            raise UsageError('--cache-gb: only mmcnn.MosaicDataset keeps decoded images, and this config has another')
        dataset.cache_gb = cache_gb
    preprocessor = cfg.model.get('data_preprocessor', {}).get('type')
    if dataset.get('device_augmentation') and preprocessor != 'mmcnn.PlanPreprocessor':
        raise UsageError(
            'train_dataloader.dataset.device_augmentation: the device draws with '
            f'model.data_preprocessor.type=mmcnn.PlanPreprocessor, not with {preprocessor}'
        )


def _sides(scale: Sequence) -> list[int]:
    """The longer side of a transform's ``scale``, or of each of several."""
    return [max(corner) for corner in scale] if isinstance(scale[0], Sequence) else [max(scale)]


def _set_classifier_size(cfg: Config, size: int | None, sized: list[dict]) -> None:
    open_ones = [node for node in sized if node['img_scale'] is None]
    if size is None and open_ones:
        own = build_on_meta(cfg).image.size
        for node in open_ones:
            node['img_scale'] = (own, own)
    if size is None:
        return
    if size < MIN_IMAGE:
        raise UsageError(f'--img-size {size}: it has to be at least {MIN_IMAGE}')
    model = build_on_meta(cfg).eval()
    try:
        model(torch.empty(1, model.backbone.in_channels, size, size, device='meta'))
    except RuntimeError as error:  # 'valid' padding leaves nothing to convolve
        raise UsageError(
            f'--img-size {size}: too small for {cfg.model.backbone.type} ({str(error).splitlines()[0]})'
        ) from error
    for node in sized:
        node['img_scale'] = (size, size)


def _shown(classes: tuple[str, ...]) -> str:
    if len(classes) <= _SHOWN:
        return str(classes)
    return f'({", ".join(map(repr, classes[:_SHOWN]))} and {len(classes) - _SHOWN} more)'
