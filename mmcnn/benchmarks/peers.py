"""The same classifiers in timm and torchvision, found by their names and held to have as many parameters as ours."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable

import torch
from torch import nn

#: Libraries that have classifiers of ours, too.
LIBRARIES = ('timm', 'torchvision')
#: Where their name is not ours without the ending that says whose form it is.
NAMES = {
    'timm': {
        'mobilenetv2-tv': 'mobilenetv2_100',
        'mobilenetv3-large-tv': 'mobilenetv3_large_100',
        'mobilenetv3-small-tv': 'mobilenetv3_small_100',
        'xception-timm': 'legacy_xception',
        'vovnet39': 'vovnet39a',
        'vovnet57': 'vovnet57a',
        **{f'vovnetv2-{depth}': f'ese_vovnet{depth}b' for depth in (19, 39, 57, 99)},
    },
    'torchvision': {'inceptionv1-tv': 'googlenet'},
}
#: Their initialisation takes a minute of SciPy's time; their auxiliary heads have no counterpart.
ARGUMENTS = {name: dict(init_weights=False, aux_logits=True) for name in ('googlenet', 'inception_v3')}


def peer(library: str, row: str, parameters: int, say: Callable[[str], object]) -> nn.Module | None:
    """The network of a library that a classifier of ours is, in evaluation mode; None: there is none, which is said.

    Args:
        library: one of :data:`LIBRARIES`.
        row: our name of the network.
        parameters: of ours.
        say: takes the reason where there is none.
    """
    try:
        models = _models(library)
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another PyTorch
        say(f'{library}: not measured, it cannot be imported here ({str(error).splitlines()[0]})')
        return None
    plain = _plain(row)
    names = {_plain(name): name for name in reversed(models.list_models())}
    name = NAMES[library].get(row) or names.get(plain) or names.get(plain.removesuffix('tv').removesuffix('timm'))
    if name is None:
        say(f'{row}: not in {library}')
        return None
    if library == 'timm':
        found = models.create_model(name)
    else:
        found = models.get_model(name, weights=None, **ARGUMENTS.get(name, {}))
    count = sum(value.numel() for key, value in found.named_parameters() if not key.lower().startswith('aux'))
    if count != parameters:
        say(f"{row}: {library}'s {name} is another network, of {count:,} parameters and not {parameters:,}")
        return None
    return _without_auxiliary_heads(found).eval()


def _without_auxiliary_heads(model: nn.Module) -> nn.Module:
    """The same without what ours has not, and what in training would be computed beside the network."""
    for name in [name for name, _ in model.named_children() if name.lower().startswith('aux')]:
        setattr(model, name, None)
        model.aux_logits = False
    return model


def _models(library: str):
    """timm, or torchvision's models; their import on a PyTorch without CUDA needs operators that PyPI's build lacks."""
    try:
        importlib.import_module('torchvision')
    except RuntimeError:
        for operator in ('nms', 'qnms'):
            with contextlib.suppress(RuntimeError):  # it is there
                torch.library.define(
                    f'torchvision::{operator}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
                )
    return importlib.import_module('timm' if library == 'timm' else 'torchvision.models')


def _plain(name: str) -> str:
    return re.sub('[-_]', '', name)
