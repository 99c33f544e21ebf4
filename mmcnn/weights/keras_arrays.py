"""How the arrays of keras.applications lie, and what its files hold beside the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmcnn.errors import CheckpointError
from mmcnn.image_format import ImageFormat
from mmcnn.weights.translate import Translation

if TYPE_CHECKING:
    from mmcnn.models.backbones.row import Row

#: Keras's names of vectors -> ours.
VECTORS = {
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}
#: Epsilon of the BatchNorms in ResNet up to keras-applications 1.0.4.
OLD_RESNET_EPS = 1e-3


def prepare(state: Mapping[str, Tensor], row: Row) -> Translation:
    """Takes away EfficientNet's input normalisation, and gives ResNet's oldest files the epsilon of later ones."""
    layers = {key: key.rpartition('.')[0] for key in state}
    aside = tuple(key for key, layer in layers.items() if re.fullmatch(r'normalization_\d+', layer))
    kept, notes = {key: value for key, value in state.items() if key not in aside}, []
    if aside and not _same_normalisation(state, row.image):
        notes.append(
            f'the file normalises its images from 0 to 1 with {_values(state, "mean")} and '
            f'{_values(state, "variance")}; the row does so with mean {row.image.mean} and std {row.image.std} of '
            'images from 0 to 255'
        )
    if 'bn_conv1' in layers.values() and row.norm is not None:
        shift = OLD_RESNET_EPS - row.norm['eps']
        kept = {key: value + shift if key.endswith('.moving_variance') else value for key, value in kept.items()}
        notes.append(
            f'the names are of keras-applications up to 1.0.4, whose BatchNorms have the epsilon {OLD_RESNET_EPS}: '
            f'{shift:.6g} is added to the running variances, which gives the same results'
        )
    return Translation(kept, {'input normalisation': aside} if aside else {}, notes=notes)


def _same_normalisation(state: Mapping[str, Tensor], image: ImageFormat) -> bool:
    """Whether a file's statistics, of images from 0 to 1, are those of the row.

    Keras's published files hold the deviation where the variance should be, and its networks divide by the root again.
    """
    mean, variance, std = (
        _statistics(state, 'mean') * 255,
        _statistics(state, 'variance') * 255,
        torch.tensor(image.std),
    )
    return mean.shape == variance.shape == std.shape and (
        torch.allclose(mean, torch.tensor(image.mean), rtol=1e-3)
        and any(torch.allclose(each, std, rtol=1e-3) for each in (variance, (variance * 255).sqrt()))
    )


def _statistics(state: Mapping[str, Tensor], name: str) -> Tensor:
    return state.get(f'normalization_0.{name}', torch.empty(0)).flatten()


def _values(state: Mapping[str, Tensor], name: str) -> str:
    return f'{name} ({", ".join(f"{value:.4g}" for value in _statistics(state, name).tolist())})'


def to_torch(key: str, value: Tensor) -> tuple[str, Tensor]:
    """A name and an array of Keras under PyTorch's name and in its layout."""
    layer, _, array = key.rpartition('.')
    # Keras 2 says 'depthwise_kernel' in every depthwise layer, Keras 3 'kernel' in DepthwiseConv2D. No convolution of
    # the networks here that is larger than 1x1 has one output.
    if array.endswith('kernel') and value.ndim != 4 and (array != 'kernel' or value.ndim != 2):
        raise CheckpointError(f"'{key}' has the shape {tuple(value.shape)}, which no kernel has")
    depthwise = array == 'kernel' and value.ndim == 4 and value.shape[0] > 1 and value.shape[3] == 1
    if depthwise or array == 'depthwise_kernel':  # (H, W, C, M) to (C * M, 1, H, W)
        height, width, channels, multiplier = value.shape
        return f'{layer}.weight', value.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    if array in ('kernel', 'pointwise_kernel'):  # (H, W, C_in, C_out) or (F_in, F_out)
        layer += '/pointwise' if array == 'pointwise_kernel' else ''
        return f'{layer}.weight', value.permute(3, 2, 0, 1) if value.ndim == 4 else value.t()
    if array not in VECTORS:
        raise CheckpointError(f"'{key}' is no array of a known Keras layer")
    return f'{layer}.{VECTORS[array]}', value
