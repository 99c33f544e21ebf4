"""A forward pass of the whole detector before its first step, which finds parts that do not fit together."""

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

#: Sides of the square images, pixels. A model that fails on the first may need more positions than it has, such as the
#: 900 best of DINO; it is then tried on the second.
SIDES = (128, 256)
#: Name of the place where a part cannot even be built.
BUILDING = 'its construction'
#: Number of proposals and boxes that is enough to see whether a head accepts them.
FEW = 8
#: Words of torch's errors about sizes; any other error may be due to the forward pass without labels.
MISFITS = ('channels', 'size', 'shape', 'must match', 'compiled mmcv')


def prove(model: dict) -> list[str]:
    """Run a detector, from the image to the output of its heads, without data and if possible without memory.

    It runs on the meta device; parts that need actual values (proposals, masks, a transformer's reference points) run
    again on the CPU, at full width on an image of 256 pixels, in both modes that need no labels. The random state is
    unchanged.

    Args:
        model: a wired config (:func:`~mmcnn.models.wiring.wire`). It is not changed; weights are not loaded.

    Returns:
        Sentences about what could not be proven; empty if everything was.

    Raises:
        UsageError: a part does not accept the output of the one before it, or needs an operator that is not available;
            the message names the part.
    """
    cfg, side = _light(model), one_size(model)
    with torch.random.fork_rng(devices=[]), DefaultScope.overwrite_default_scope('mmdet'):
        for each in (side,) if side else SIDES:
            if (found := _first_misfit(cfg, each)) is None:
                return []
    if found.is_misfit:
        raise UsageError(f'the model fails at {found.where}: {found.message}')
    return [f'not proven before the first step: {found.where} ({found.message})']


def _first_misfit(cfg: ConfigDict, side: int) -> _Found | None:
    """Return the error that keeps a detector from running; None: it runs."""
    if _runs(cfg, 'meta', 'tensor', side) is None:
        return None
    if (found := _runs(cfg, 'cpu', 'predict', side)) is not None or not _has_rois(cfg):
        return found
    # A mask head gets no boxes from an untrained network, but it gets all proposals in this mode, which some detectors
    # lack.
    found = _runs(cfg, 'cpu', 'tensor', side)
    return found if found is not None and found.is_misfit else None


class _Found:
    """Where and why a forward pass failed."""

    def __init__(self, where: str, error: Exception) -> None:
        self.where, self.message = where, first_line(error)
        self.is_misfit = where == BUILDING or is_misfit(error)


def is_misfit(error: Exception) -> bool:
    """Return whether an error reports sizes that do not fit or a missing operator."""
    return isinstance(error, RuntimeError | AssertionError | ValueError | IndexError) and any(
        word in first_line(error) for word in MISFITS
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message with runs of spaces collapsed; if it is empty, the error's type."""
    lines = str(error).strip().splitlines()
    return ' '.join(lines[0].split()) if lines else type(error).__name__


def _runs(model: dict, device: str, mode: str, side: int) -> _Found | None:
    """Return where a forward pass fails; None: it succeeds."""
    entered: list[str] = []
    where = BUILDING
    try:
        with torch.device(device), torch.no_grad():
            built = MMDET_MODELS.build(copy.deepcopy(model)).eval()
            where = str(model.get('type'))
            with _watched(built, entered):
                built(torch.zeros(1, 3, side, side), [_sample(side, model)], mode=mode)
    except Exception as error:  # any error of any part; its message decides
        return _Found(entered[-1] if entered else where, error)
    return None


@contextlib.contextmanager
def _watched(model: nn.Module, entered: list[str]) -> Iterator[None]:
    """Track the names of the modules that have been entered but not left."""
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


def _sample(side: int, model: dict) -> DetDataSample:
    """Return an image's data sample: its size, and proposals for a detector that gets them as input (Fast R-CNN)."""
    size = (side, side)
    sample = DetDataSample(
        metainfo=dict(
            img_id=0, img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0),
            border=(0, side, 0, side), flip=False,
        )
    )  # fmt: skip
    if not _has_rois(model) or 'rpn_head' in model:
        return sample
    boxes = torch.tensor([[0.0, 0.0, side / 2, side / 2], [side / 4, side / 4, side, side]])
    sample.proposals = InstanceData(bboxes=boxes, scores=torch.ones(2), labels=torch.zeros(2, dtype=torch.long))
    return sample


def _has_rois(model: dict) -> bool:
    inner = model.get('detector')
    return 'roi_head' in (inner if isinstance(inner, dict) else model)


def _light(model: dict) -> ConfigDict:
    """Return the config with few proposals."""
    cfg = ConfigDict(copy.deepcopy(dict(model)))
    for part in (cfg, cfg.get('detector')):
        proposals = ((part or {}).get('test_cfg') or {}).get('rpn') if isinstance(part, dict) else None
        if isinstance(proposals, dict):
            few = {key: min(proposals[key], FEW) for key in ('nms_pre', 'max_per_img') if proposals.get(key)}
            proposals.update(few)
    return cfg
