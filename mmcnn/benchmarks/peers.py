"""The same classifiers in timm and torchvision, found by name and verified to have as many parameters as ours."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable

import torch
from torch import nn

#: Libraries that also have our classifiers.
LIBRARIES = ('timm', 'torchvision')
#: Their names if they differ from ours without the suffix for the form.
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
#: Their initialisation takes a minute in SciPy; their auxiliary heads have no counterpart.
ARGUMENTS = {name: dict(init_weights=False, aux_logits=True) for name in ('googlenet', 'inception_v3')}


def peer(library: str, row: str, parameters: int, say: Callable[[str], object]) -> nn.Module | None:
    """Return a library's equivalent of our classifier, in evaluation mode; None: there is none, which is reported.

    Args:
        library: one of :data:`LIBRARIES`.
        row: our name of the network.
        parameters: parameter count of ours.
        say: takes the reason if there is none.
    """
    try:
        models = _models(library)
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another PyTorch
        say(f'{library}: not measured, since it cannot be imported here ({str(error).splitlines()[0]})')
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
        say(f"{row}: {library}'s {name} is another network, with {count:,} parameters instead of {parameters:,}")
        return None
    return _without_auxiliary_heads(found).eval()


def _without_auxiliary_heads(model: nn.Module) -> nn.Module:
    """Return the model without the heads that ours does not have, which would be computed in training."""
    for name in [name for name, _ in model.named_children() if name.lower().startswith('aux')]:
        setattr(model, name, None)
        model.aux_logits = False
    return model


def _models(library: str):
    """Return timm, or torchvision's models; without CUDA, their import needs operators that PyPI's build lacks."""
    try:
        importlib.import_module('torchvision')
    except RuntimeError:
        for operator in ('nms', 'qnms'):
            with contextlib.suppress(RuntimeError):  # it exists
                torch.library.define(
                    f'torchvision::{operator}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
                )
    return importlib.import_module('timm' if library == 'timm' else 'torchvision.models')


def _plain(name: str) -> str:
    return re.sub('[-_]', '', name)
