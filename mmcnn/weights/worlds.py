"""From the names in a file to those of one of our models: a function for each world."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from mmcnn.errors import CheckpointError
from mmcnn.models.families import backbone_families
from mmcnn.weights.files import WeightFile
from mmcnn.weights.sources import keras, mmdet, timm, torchvision
from mmcnn.weights.sources.darknet import read_darknet
from mmcnn.weights.sources.translate import Source, Translation
from mmcnn.weights.sources.ultralytics import from_ultralytics

if TYPE_CHECKING:
    from mmcnn.models.backbones import Backbone


def backbone_of(model: nn.Module) -> Backbone | None:
    """The backbone of a classifier or a detector, a backbone itself; None: it is none of ours."""
    backbone = getattr(model, 'backbone', model)
    return backbone if is_backbone(backbone) else None


def is_backbone(model: nn.Module) -> bool:
    return isinstance(model, tuple(set(backbone_families().values())))


def is_detector(model: nn.Module) -> bool:
    return not is_backbone(model) and not hasattr(model, 'top')


def _own(file: WeightFile, model: nn.Module, prefix: str) -> Translation:
    """Names of mmcnn: of the model itself, of a classifier or detector around it."""
    state = dict(file.state)
    if prefix:
        prefix = prefix.removesuffix('.') + '.'
        outside = tuple(key for key in state if not key.startswith(prefix))
        inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        return Translation(inside, {f'not under {prefix}': outside} if outside else {})
    parts = {key.split('.')[0] for key in state}
    if is_backbone(model) and 'backbone' in parts and parts - {'backbone', 'top'}:
        raise CheckpointError(
            f"{file.path} holds a whole detector: say prefix='backbone.' to load its backbone into {model.variant}"
        )
    return Translation(state)


def _of_library(world: Source) -> Callable[[WeightFile, nn.Module, str], Translation]:
    def translate(file: WeightFile, model: nn.Module, prefix: str) -> Translation:
        if is_detector(model):
            raise CheckpointError(f'{file.path}: {world.name} has classifiers, no detectors; load it into the backbone')
        return world.translate(file.state, backbone_of(model).variant)

    return translate


def _of_mmdet(file: WeightFile, model: nn.Module, prefix: str) -> Translation:
    if is_detector(model):
        return mmdet.from_mmdet_detector(file.state, model)
    return mmdet.SOURCE.translate(file.state, backbone_of(model).variant)


def _of_darknet(file: WeightFile, model: nn.Module, prefix: str) -> Translation:
    return read_darknet(file.path, model)


def _of_ultralytics(file: WeightFile, model: nn.Module, prefix: str) -> Translation:
    return from_ultralytics(file.tree or file.state, model)


#: World -> what renames the tensors of a file for a model; the third argument is load_weights' prefix.
TRANSLATE: dict[str, Callable[[WeightFile, nn.Module, str], Translation]] = {
    'mmcnn': _own,
    'mmdet': _of_mmdet,
    'torchvision': _of_library(torchvision.SOURCE),
    'timm': _of_library(timm.SOURCE),
    'keras': _of_library(keras.SOURCE),
    'darknet': _of_darknet,
    'ultralytics': _of_ultralytics,
}
