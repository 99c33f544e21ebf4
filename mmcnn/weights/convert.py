"""Conversion of files of weights to ours, with a record inside, and of ours back to Darknet's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.models.classifiers import build_classifier, list_classifiers
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring import set_num_classes, wire
from mmcnn.nearest import nearest
from mmcnn.weights.addresses import is_address
from mmcnn.weights.checkpoint import CLASSES, CONFIG, Checkpoint
from mmcnn.weights.formats.safetensors_file import write_safetensors
from mmcnn.weights.loading import load_weights
from mmcnn.weights.record import KEY, Record, describe, to_json
from mmcnn.weights.refusal import UnfitError
from mmcnn.weights.report import LoadReport, listed
from mmcnn.weights.sources import catalog
from mmcnn.weights.sources.darknet import write_darknet

#: Suffixes of the files that are written, and their formats.
ENDINGS = {'.pth': 'pytorch', '.safetensors': 'safetensors', '.weights': 'darknet'}


def convert(
    path: str | Path,
    target: str | Path,
    name: str,
    source: str | None = None,
    num_classes: int | None = None,
    model_cfg: Mapping[str, Any] | None = None,
    config: Config | None = None,
) -> tuple[LoadReport, Record]:
    """Read weights of any source into one of our networks and write them under our names.

    A network of the zoo is written as a classifier if the file has the top of one, otherwise as a backbone; both
    under ``backbone.``, so that either initializes the backbone of a detector.

    Args:
        path: the file; see :func:`~mmcnn.weights.loading.load_weights`.
        target: the output file, whose suffix selects the format: ``.pth`` or ``.safetensors`` with a record inside,
            ``.weights`` for Darknet. It is written completely or not at all.
        name: a network of the zoo, or a name for what ``model_cfg`` describes.
        source: library whose layer names the file has; None: it is detected.
        num_classes: number of classes of the file's top or head, if it is neither the config's nor ImageNet's.
        model_cfg: ``model`` of a detector's config; None: ``name`` is a network of the zoo.
        config: the whole config of the detector, which makes boxes of the model's outputs. It is written with the
            weights; None: it is unknown, and has to be given wherever the converted file is used for detection.

    Returns:
        What happened to each entry, and the record.

    Raises:
        UsageError: unknown network, an address instead of a file, or an unknown suffix.
        CheckpointError: the file does not fit, or the output cannot be written.
    """
    if is_address(str(path)):
        raise UsageError(f'{path} is an address, but SRC must be a file; use addresses with init_cfg or load_weights')
    path, target = Path(path).expanduser(), Path(target).expanduser()
    ending = _check_target(path, target)
    if model_cfg is None and name not in backbone_families():
        raise UsageError(f"unknown network '{name}'; {nearest(name, backbone_families())}")
    file = Checkpoint.open(path)
    model, report = _load(file, name, source, num_classes, model_cfg)
    sha256 = file.sha256
    published = catalog.of_file(path.name, sha256)
    classes = () if name in backbone_families() else file.classes  # of a detector's
    own = describe(model if config is None else _backbone_of(config), name)
    record = dataclasses.replace(
        own,
        images=report.images or own.images,
        source=path.name,
        sha256=sha256,
        format=file.format,
        library=report.source,
        licence=published.licence if published else '',
    )
    try:
        if ending == 'darknet':
            write_darknet(model, target)
        else:
            _write(model, target, record, classes, config)
    except OSError as error:
        raise CheckpointError(f'{target} cannot be written: {error.strerror or error}') from error
    return report, record


def _check_target(path: Path, target: Path) -> str:
    if target.suffix not in ENDINGS:
        raise UsageError(f'{target}: unknown suffix; use one of {", ".join(ENDINGS)}')
    if not target.parent.is_dir():
        raise UsageError(f'{target}: the folder {target.parent} does not exist')
    if target.is_dir() or (target.exists() and path.exists() and target.samefile(path)):
        raise UsageError(
            f'{target} is {"a folder" if target.is_dir() else "the source file"}: choose another output file'
        )
    return ENDINGS[target.suffix]


def _load(
    file: Checkpoint, name: str, source: str | None, num_classes: int | None, model_cfg: Mapping[str, Any] | None
) -> tuple[nn.Module, LoadReport]:
    if model_cfg is not None:
        model = _detector(model_cfg, num_classes)
        report = _loaded(model, file, source)
        if report.absent:
            keys = listed([key for each in report.absent.values() for key in each])
            raise CheckpointError(
                f'{file.path} holds only a part of {name}; {keys} are missing, and a conversion would fill them with '
                'random values: start a training from the unconverted file (load_from), or convert it for a backbone'
            )
        return model, report
    if name in list_classifiers():
        model = build_classifier(name, num_classes or 1000)
        try:
            report = _loaded(model, file, source)
            if not report.absent:  # Darknet's truncated files have no top, and an untrained one is not written
                return model, report
        except CheckpointError:
            if num_classes is not None:
                raise
    # The file may lack the top; if it does not, this error says what does not fit.
    with torch.device('meta'):
        levels = backbone_families()[name](variant=name).levels
    model = backbone_families()[name](variant=name, out_indices=levels)
    return model, _loaded(model, file, source)


def _loaded(model: nn.Module, file: Checkpoint, source: str | None) -> LoadReport:
    """Load the file; raise CheckpointError with advice that suits a conversion."""
    try:
        return load_weights(model, file, source)
    except UnfitError as error:
        advice = f'; its head has {error.classes} classes: set num_classes={error.classes}' if error.classes else ''
        raise CheckpointError(error.sentence + advice) from None


def _detector(model_cfg: Mapping[str, Any], num_classes: int | None) -> nn.Module:
    model = wire(model_cfg)
    model.backbone.pop('init_cfg', None)  # a custom backbone may not accept it
    if num_classes is not None:
        set_num_classes(model, num_classes)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model)


def _backbone_of(config: Config) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        return MODELS.build(wire(config.model).backbone)


def _write(model: nn.Module, target: Path, record: Record, classes: tuple[str, ...], config: Config | None) -> None:
    prefix = '' if hasattr(model, 'backbone') else 'backbone.'
    state = {prefix + key: value.contiguous() for key, value in model.state_dict().items()}
    if ENDINGS[target.suffix] == 'safetensors':
        names = {CLASSES: json.dumps(classes, ensure_ascii=False)} if classes else {}
        names |= {CONFIG: config.pretty_text} if config else {}
        write_safetensors(state, {KEY: to_json(record), **names}, target)
        return
    names = {'dataset_meta': {'classes': classes}} if classes else {}
    names |= {'cfg': config.pretty_text} if config else {}
    content = dict(meta={KEY: dataclasses.asdict(record), **names}, state_dict=state)
    write_whole(target, lambda file: torch.save(content, file))
