"""A forward of the whole detector before its first step, so that what does not fit together is found then."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mmcnn.errors import UsageError
from mmcnn.models.wiring.slots import one_size

#: Side of the square image, pixels: the coarsest map of stride 128 is two pixels wide.
SIDE = 256
#: What torch says where sizes do not fit; anything else that a forward without labels raises may be its own fault.
MISFITS = ('channels', 'size', 'shape', 'must match', 'compiled mmcv')


def prove(model: dict) -> list[str]:
    """Runs a detector, from the image to what its heads give, without data and without memory where that is possible.

    On the meta device; what computes with numbers (proposals, masks, a transformer's reference points) runs once more
    on the CPU, in full width on an image of 256 pixels, in both ways that need no labels. Random state is left alone.

    Args:
        model: a wired config (:func:`~mmcnn.models.wiring.wire`). Not changed; weights are not loaded.

    Returns:
        what could not be proven, a sentence; empty: all is.

    Raises:
        UsageError: a part does not take what the one before it gives, or needs an operator that is not there; names
            the part.
    """
    side = one_size(model) or SIDE
    with torch.random.fork_rng(devices=[]), DefaultScope.overwrite_default_scope('mmdet'):
        if _runs(model, 'meta', 'tensor', side) is None:
            return []
        predicted = _runs(model, 'cpu', 'predict', side)
        forward = _runs(model, 'cpu', 'tensor', side) if _has_rois(model) else predicted
    for found in (predicted, forward):
        if found is not None and found.is_misfit:
            raise UsageError(f'the parts of the model do not fit together at {found.where}: {found.message}')
    if predicted is not None:
        words = f'not proven before the first step: {predicted.where} ({predicted.message})'
        return [words]
    return []


class _Found:
    """Where a forward broke off, and why."""

    def __init__(self, where: str, error: Exception) -> None:
        lines = str(error).strip().splitlines()
        self.where, self.message = where, lines[0] if lines else type(error).__name__
        self.is_misfit = isinstance(error, RuntimeError | AssertionError | ValueError | IndexError) and (
            any(word in self.message for word in MISFITS) or isinstance(error, NotImplementedError)
        )


def _runs(model: dict, device: str, mode: str, side: int) -> _Found | None:
    """How a forward ends: None, or where it breaks off."""
    entered: list[str] = []
    try:
        with torch.device(device), torch.no_grad():
            built = MMDET_MODELS.build(_without_weights(model)).eval()
            with _watched(built, entered):
                built(torch.zeros(1, 3, side, side), [_sample(side)], mode=mode)
    except Exception as error:  # of whatever part; what it says decides
        return _Found(_named(entered, model), error)
    return None


@contextlib.contextmanager
def _watched(model: nn.Module, entered: list[str]) -> Iterator[None]:
    """Keeps the names of the modules that have been entered and not been left."""
    hooks = []
    for name, module in model.named_modules():
        if name:
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: entered.append(name)))
            hooks.append(module.register_forward_hook(lambda *_: entered.pop() and None))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _named(entered: list[str], model: dict) -> str:
    return entered[-1] if entered else str(model.get('type'))


def _sample(side: int) -> DetDataSample:
    """An image's own: its size, and proposals for a detector that gets them with the data (Fast R-CNN)."""
    size = (side, side)
    sample = DetDataSample(
        metainfo=dict(
            img_id=0, img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0),
            border=(0, side, 0, side), flip=False,
        )
    )  # fmt: skip
    boxes = torch.tensor([[0.0, 0.0, side / 2, side / 2], [side / 4, side / 4, side, side]])
    sample.proposals = InstanceData(bboxes=boxes, scores=torch.ones(2), labels=torch.zeros(2, dtype=torch.long))
    return sample


def _has_rois(model: dict) -> bool:
    inner = model.get('detector')
    return 'roi_head' in (inner if isinstance(inner, dict) else model)


def _without_weights(model: dict) -> ConfigDict:
    """The config with no file to be loaded."""
    cfg = ConfigDict(copy.deepcopy(dict(model)))
    for part in (cfg, cfg.get('detector')):
        if isinstance(part, dict) and isinstance(part.get('backbone'), dict):
            part['backbone']['init_cfg'] = None
    return cfg
