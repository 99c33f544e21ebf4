"""``backbone_weights``: separate initial weights for a detector's backbone, for example a classifier's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.config.model import is_classifier
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.models.families import backbone_families
from mmcnn.runs.options import RunOptions, TrainOptions
from mmcnn.weights.addresses import is_address, resolve
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.recorded_config import other_normalisation

#: The entry that the option sets.
ENTRY = 'model.backbone.init_cfg'


def typed_options(options: RunOptions) -> dict[str, Any]:
    """Return ``cfg_options``, with ``backbone_weights`` as the corresponding entry.

    Raises:
        UsageError: another option would replace these weights.
    """
    typed = dict(options.cfg_options)
    weights = options.backbone_weights if isinstance(options, TrainOptions) else None
    if weights is None:
        return typed
    others = [name for name in ('weights', 'load_from', 'resume') if getattr(options, name)]
    others += [f'cfg_options {key}' for key in typed if key.startswith(ENTRY)]
    if others:
        raise UsageError(f'backbone_weights={weights} and {others[0]} both set the initial weights: use one of them')
    typed[ENTRY] = dict(_delete_=True, type='Pretrained', checkpoint=str(weights))
    return typed


def check_backbone_weights(cfg: Config, weights: str | Path, say: Say) -> None:
    """Refuse backbone weights unless the model is a detector with one of our backbones; also open their file.

    Args:
        cfg: with its backbone.
        weights: a path, or a name or address that :class:`~mmcnn.weights.initializer.Pretrained` takes.
        say: called with a warning if the weights were trained on images with another normalisation.

    Raises:
        CheckpointError: the file is missing, broken or unsafe; no weights have this name.
        UsageError: the model is a classifier, or its backbone is not ours.
    """
    if is_classifier(cfg):
        raise UsageError(
            f'backbone_weights={weights} is for detectors: for a classifier use load_from={weights}, with '
            'allow_head_mismatch=True if it has other classes'
        )
    name = str(cfg.model.get('backbone', {}).get('type')).removeprefix('mmcnn.')
    if name not in backbone_families():
        raise UsageError(
            f"backbone_weights={weights}: {name} is not one of mmcnn's backbones (mmcnn zoo lists them); set its "
            "weights by cfg_options model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)"
        )
    if is_address(str(weights)):
        resolve(str(weights))
        return
    checkpoint = Checkpoint.open(weights)
    checkpoint.state_dict  # noqa: B018  raises an error if they cannot be read
    if warning := other_normalisation(cfg.model.get('data_preprocessor'), {'meta': checkpoint.meta}, weights):
        say(warning)
