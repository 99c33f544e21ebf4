"""Networks to be exported, with everything that is recorded in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.models import FasterRCNN
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.compat.packaged_configs import is_packaged
from mmcnn.config.class_names import class_names
from mmcnn.config.entries import merge_options
from mmcnn.config.files import own_configs
from mmcnn.config.load import load_config, set_backbone
from mmcnn.config.model import is_classifier, wire_model
from mmcnn.config.of_weights import KNOWN_CLASSES, config_of
from mmcnn.deployment.detectors import clips, fit_of, image_of, test_cfg_of
from mmcnn.deployment.options import ExportOptions
from mmcnn.errors import UsageError
from mmcnn.fit import Fit
from mmcnn.image_format import ImageFormat
from mmcnn.inference.detector import Detector
from mmcnn.models.classifiers import build_classifier
from mmcnn.models.families import build_backbone, list_backbones
from mmcnn.models.wiring import num_classes, set_num_classes
from mmcnn.nearest import nearest
from mmcnn.runtime.metadata import CLASSIFICATION, DETECTION, FEATURES
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.loading import load_state, load_weights
from mmcnn.weights.sources.catalog import of_file

Say = Callable[[str], object]
#: Seed of the weights of a network that is given by its name.
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A network with everything that is recorded in its file.

    Attributes:
        network: in evaluation mode, on the CPU.
        task: one of :data:`~mmcnn.runtime.metadata.TASKS`.
        name: name of the network or config.
        image: format of its input images.
        classes: names of the classes; empty for a backbone.
        config: config of a detector; None: not a detector.
        fit: how an image is fitted to the input of a detector.
        test_cfg: settings of a detector, as in :class:`~mmcnn.runtime.metadata.Metadata`.
        clip: whether the boxes of a detector are clipped to the image.
        checkpoint: name and SHA-256 of the file of weights; None: they are random.
        licence: licence of the weights; None: their file does not state it.
    """

    network: nn.Module
    task: str
    name: str
    image: ImageFormat
    classes: tuple[str, ...] = ()
    config: Config | None = None
    fit: Fit | None = None
    test_cfg: dict[str, Any] | None = None
    clip: bool = True
    checkpoint: dict[str, str] | None = None
    licence: str | None = None

    @property
    def is_two_stage(self) -> bool:
        """Whether it is a Faster R-CNN, which processes one image at a time."""
        return isinstance(self.network, FasterRCNN)

    @property
    def stride(self) -> int:
        """The number that the sides of its input must be multiples of, pixels; 1: any size is possible."""
        return 32 if self.task == DETECTION else 1


def exportable(options: ExportOptions, say: Say) -> Exportable:
    """Return the network to export.

    Raises:
        UsageError: there is no such file, network or config, or an option does not apply to it.
        CheckpointError: the weights cannot be used.
    """
    source = options.source
    name = 'the source' if isinstance(source, Config) else str(source)
    is_named = name.endswith('.py') or name.removeprefix('configs/') in own_configs() or is_packaged(name)
    is_config = isinstance(source, Config) or is_named
    if is_config and options.config is not None:
        raise UsageError(f'config={options.config}: {name} is already a config; omit the option')
    if isinstance(source, Config):
        return _of_config(load_config(source, say=say), 'config', options, say)
    if Path(name).is_file() and not name.endswith('.py'):
        if options.weights is not None:
            raise UsageError(f'weights={options.weights}: {name} contains weights; omit the option')
        return _of_file(Checkpoint.open(name), options, say)
    if is_config:
        return _of_config(load_config(name, say=say), Path(name.rpartition('::')[2]).stem, options, say)
    return _of_network(name, options, say)


def _of_network(name: str, options: ExportOptions, say: Say) -> Exportable:
    """Return a backbone or classifier by its name."""
    networks = list_backbones()
    if name not in networks:
        known = [*networks, *own_configs()]
        raise UsageError(f"'{name}' is neither a file, a network nor a config; {nearest(name, known)}")
    for option in ('backbone', 'cfg_options', 'config'):
        if getattr(options, option):
            raise UsageError(f'{option} applies to configs, but {name} is a network')
    classifies = options.form == 'logits'
    if options.classes is not None and not classifies:
        raise UsageError(f'classes: {name} returns maps and has no classes; use form=logits for its classifier')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = build_classifier(name) if classifies else build_backbone(name)
    file = _loaded(network, options.weights, name, say)
    return Exportable(
        network=network.eval(),
        task=CLASSIFICATION if classifies else FEATURES,
        name=name,
        image=network.image if classifies else network.arch.image,
        classes=_class_names(options, network.num_classes, file.classes if file else ()) if classifies else (),
        **_provenance(file),
    )


def _of_config(cfg: Config, name: str, options: ExportOptions, say: Say) -> Exportable:
    """Return the model of a config, with random weights unless there are ``weights``."""
    _adapt(cfg, options, say)
    if options.classes is not None:
        set_num_classes(cfg.model, len(class_names(options.classes)))
    wire_model(cfg)
    # Use PyTorch's initialisation: that of the config may download, and gives scores that no check can compare.
    with DefaultScope.overwrite_default_scope('mmdet'), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = MODELS.build(cfg.model)
    file = _loaded(network, options.weights, name, say)
    count = max(num_classes(cfg.model))
    names = _class_names(options, count, file.classes if file else (), _names_of_data(cfg), whose=name, say=say)
    return _described(network, cfg, name, names, **_provenance(file))


def _of_file(file: Checkpoint, options: ExportOptions, say: Say) -> Exportable:
    """Return a checkpoint of a run, or published weights of a detector."""
    given = _provenance(file)
    if options.config is None and isinstance(file.meta.get('cfg'), str) and is_classifier(file.config):
        cfg = file.config
        _adapt(cfg, options, say)
        with DefaultScope.overwrite_default_scope('mmdet'):
            network = MODELS.build(cfg.model)
        load_state(network, file.state_dict, file.path)
        classes = _class_names(options, network.num_classes, file.classes)
        return _described(network, cfg, network.backbone.variant, classes, **given)
    if options.config is None:
        cfg, names = config_of(file, options.classes, say)
    else:
        cfg, names = load_config(options.config, say=say), options.classes
    _adapt(cfg, options, say)
    wire_model(cfg)
    detector = Detector(file, cfg, 'cpu', classes=names or None, say=say)
    return _described(detector.model, cfg, Path(cfg.filename or file.path).stem, detector.classes, **given)


def _described(network: nn.Module, cfg: Config, name: str, classes: Sequence[str], **given: Any) -> Exportable:
    """Return a network with the settings of its config."""
    image = image_of(network, cfg)
    known = dict(network=network.eval(), name=name, image=image, classes=tuple(classes), **given)
    if is_classifier(cfg):
        return Exportable(task=CLASSIFICATION, **known)
    fit = fit_of(cfg, image)
    return Exportable(
        task=DETECTION, config=cfg, fit=fit, test_cfg=test_cfg_of(network), clip=clips(network), **known
    )  # fmt: skip


def _adapt(cfg: Config, options: ExportOptions, say: Say) -> None:
    set_backbone(cfg, options.backbone, options.cfg_options, say)
    merge_options(cfg, options.cfg_options, say)


def _loaded(network: nn.Module, weights: str | Path | None, name: str, say: Say) -> Checkpoint | None:
    """Load weights, report what they are, and return their file."""
    if weights is None:
        say(f'note: the weights of {name} are random; use weights=FILE for trained ones')
        return None
    file = Checkpoint.open(weights)
    say(f'{file.path}: {load_weights(network, file)}')
    return file


def _provenance(file: Checkpoint | None) -> dict[str, Any]:
    """Return name, hash and licence of a file of weights, from the file itself, else from the catalog."""
    if file is None:
        return {}
    published = of_file(file.path.name, file.sha256)
    licence = file.record.licence if file.record else ''
    return dict(
        checkpoint=dict(name=file.path.name, sha256=file.sha256),
        licence=licence or (published.licence if published else '') or None,
    )


def _names_of_data(cfg: Config) -> tuple[str, ...]:
    """Return the class names in a config's data settings."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    names = (dataset.get('metainfo') or {}).get('classes') or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _class_names(
    options: ExportOptions, count: int, *recorded: Sequence[str], whose: str = '', say: Say | None = None
) -> tuple[str, ...]:
    """Return the given names, else the first recorded ones of the right number, else known ones or numbers.

    Args:
        options: options of the export, whose ``classes`` may have the names.
        count: number of classes.
        *recorded: recorded names, the most specific first.
        whose: name of the detector whose classes may be assumed to be COCO's because of their number, which is
            reported; empty: do not assume it.
        say: takes the sentence that reports it.

    Raises:
        UsageError: the number of given names is not the number of classes.
    """
    if options.classes is not None:
        names = class_names(options.classes)
        if len(names) != count:
            raise UsageError(f'classes: {len(names)} names were given for {count} classes')
        return names
    for names in recorded:
        if len(names) == count:
            return tuple(names)
    if whose and count in KNOWN_CLASSES:
        names, theirs = KNOWN_CLASSES[count]
        say(f'note: the {count} classes of {whose} have no names and are assumed to be {theirs}')
        return names
    return tuple(f'class {i}' for i in range(count))
