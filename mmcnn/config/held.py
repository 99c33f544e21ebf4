"""The config of mmcnn that fits a file of weights, by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config
from torch import Tensor

from mmcnn.config.files import new_name, own_configs
from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta
from mmcnn.errors import CheckpointError
from mmcnn.models.wiring import set_num_classes, wire
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.fitting import AmbiguousError, attempt, prefixes
from mmcnn.weights.likeliest import likeliest
from mmcnn.weights.names import Request

#: An entry of every file of one of our detectors -> prefix of its configs' names.
OWN = {
    'neck.spp.': 'yolov4',
    'neck.bottom_up5.main_conv.': 'yolov5',
    'bbox_head.convs_pred.': 'yolov3',
    'roi_head.bbox_head.': 'faster_rcnn',
}
#: Parts of a model's config that do not affect its detections.
TRAINING = ('train_cfg', 'init_cfg', 'frozen_stages', 'norm_eval', 'batch_augments')


@dataclass(frozen=True)
class Held:
    """A config of mmcnn that fits a file.

    Attributes:
        config: name of the config.
        what: description of the file.
        num_classes: number of classes of the file's head.
        options: entries in which the file differs from the config, as ``cfg_options``.
        resize: the transform that resizes the test images; None: the config's.
        notes: phrases about the origin of settings, and about assumptions.
    """

    config: str
    what: str
    num_classes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    resize: dict | None = None
    notes: tuple[str, ...] = ()


def own_held(file: Checkpoint, state: Mapping[str, Tensor]) -> Held:
    """Return the config of a file with our own names, written by a conversion or a run.

    Raises:
        CheckpointError: no config fits, or several that would produce different boxes.
    """
    state, family = _detector_in(state)
    if not family:
        raise CheckpointError(_none(file))
    if file.record is not None and file.record.source:
        raise CheckpointError(
            f'{file.path} is a conversion of {file.record.source} without its config, and the weights do not determine '
            'its boxes (anchors, decoding, size): convert the source again, or name the config'
        )
    fitting: dict[str, Held] = {}
    for name in _families(family):
        held = Held(
            name,
            "a detector with mmcnn's own names",
            _own_classes(state),
            notes=('everything else is from the config',),
        )
        try:
            checked(file, held, 'mmcnn')
        except AmbiguousError:
            raise
        except CheckpointError as error:
            refusal = error
            continue
        fitting.setdefault(finds(load_config(name)), held)
    if not fitting:
        raise CheckpointError(_none(file)) from refusal
    if len(fitting) > 1:
        names = ' and '.join(held.config for held in fitting.values())
        raise CheckpointError(
            f'{file.path} contains no config (meta.cfg), and its names and shapes fit {names}, which produce different '
            'boxes from the same weights: name the config that it was trained with'
        )
    return next(iter(fitting.values()))


def _detector_in(state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str]:
    """Return the entries of one of our detectors, without a prefix added by a program, and its family."""
    for prefix in ('', *prefixes(state)):
        inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        family = next((name for sign, name in OWN.items() if any(key.startswith(sign) for key in inside)), '')
        if family and any(key.startswith('backbone.') for key in inside):
            return inside, family
    return state, ''


def _families(prefix: str) -> list[str]:
    return [name for name, path in own_configs().items() if name.startswith(prefix) and not new_name(path)]


def _own_classes(state: Mapping[str, Tensor]) -> int:
    for name, count in (
        ('bbox_head.predictions.0.bias', per_anchor),
        ('bbox_head.convs_pred.0.bias', per_anchor),
        ('roi_head.bbox_head.fc_cls.bias', lambda bias: len(bias) - 1),
    ):
        if name in state:
            return max(count(state[name]), 1)
    return 1  # the head is missing, which the comparison will report


def per_anchor(bias: Tensor) -> int:
    """Return the number of classes of a YOLO head with three anchors per level, from the bias (3 * (5 + classes),)."""
    return len(bias) // 3 - 5


def finds(cfg: Config) -> tuple:
    """Return the parts of a model's config that affect its detections; equal if configs differ only in training."""
    return _without_training(wire(cfg.model).to_dict())


def _without_training(node: Any) -> Any:
    if isinstance(node, Mapping):
        kept = {k: v for k, v in sorted(node.items()) if k not in TRAINING and not k.startswith('loss')}
        return tuple((key, _without_training(value)) for key, value in kept.items())
    return tuple(_without_training(each) for each in node) if isinstance(node, list | tuple) else node


def checked(file: Checkpoint, held: Held, source: str) -> Held:
    """Return the config if its network has exactly the entries of the file, with the names of ``source``.

    Raises:
        CheckpointError: the entries differ; the message names the first ones.
    """
    cfg = load_config(held.config, say=_nothing)
    cfg.merge_from_dict(dict(held.options))
    set_num_classes(cfg.model, held.num_classes)
    model = build_on_meta(cfg)
    attempts = attempt(file, Request(model, source))
    if attempts.fit is None:
        misfits = [*(each.report.deviations() for each in attempts.misfits), *([str(e)] for e in attempts.refusals)]
        raise CheckpointError(
            f'{file.path} looks like {held.what}, but does not fit {held.config}: {"; ".join(misfits[0])}; name the '
            'config that it fits'
        )
    return held


def _none(file: Checkpoint) -> str:
    alike = likeliest(file)
    what = f', but look like {" or ".join(alike)}' if alike else ''
    return (
        f'{file.path} contains no config (meta.cfg), and its names and shapes fit no detector that comes with '
        f'mmcnn{what}: name the config that it was trained with'
    )


def _nothing(line: str) -> None:
    """Ignore a message about a config that is only examined."""
