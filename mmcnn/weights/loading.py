"""Loading of weights from any source into our networks, completely or not at all, with a report on every entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mmcnn.compat.moved import moved_names, renamed_arguments
from mmcnn.errors import CheckpointError
from mmcnn.image_format import in_words
from mmcnn.models.backbones import Backbone
from mmcnn.nearest import nearest
from mmcnn.weights.addresses import fetch, is_address
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.fitting import Fit, attempt
from mmcnn.weights.names import SOURCES, TRANSLATE, Request, backbone_of, is_detector, name_of
from mmcnn.weights.record import Record, of_published, of_row
from mmcnn.weights.refusal import other_row, refusal
from mmcnn.weights.report import LoadReport, compare, without_counters
from mmcnn.weights.sources import mmdet
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.translate import OtherRowError

__getattr__ = moved_names(__name__)


def load_weights(
    model: nn.Module,
    path: str | Path | Checkpoint,
    source: str | None = None,
    *,
    prefix: str = '',
    allow_head_mismatch: bool = False,
    adapt_input: bool = False,
    drop_head: bool = False,
    class_layers: tuple[str, ...] = Request.class_layers,
    record: Record | None = None,
) -> LoadReport:
    """Load a file of weights into one of our backbones, classifiers or detectors, completely or not at all.

    Supported are Darknet's ``.weights`` and ``.conv.N``, Keras's ``.h5``, ``.weights.h5`` and ``.keras``, state dicts
    of torchvision, timm, MMDetection and mmcnn in ``.pth`` or ``.safetensors``, and ultralytics' ``.pt``. The format is
    detected from the file's content.

    The following entries may be left over: the top and the stages that a backbone does not have, a custom classifier
    behind one (``fc.1``, ``dense_2``), auxiliary heads, what a truncated Darknet file lacks, and what the arguments
    allow. A prefix of all names (``module.``, ``net.``) is removed if the model's entries are then all found. The
    report lists all of these.

    Args:
        model: keeps its values if anything does not fit.
        path: the file, opened or not, or an address: ``mmcnn://NAME`` of the catalog, ``torchvision://resnet50``,
            ``open-mmlab://darknet53``, https.
        source: library whose layer names the file has: 'darknet', 'keras', 'torchvision', 'timm', 'mmdet',
            'ultralytics' or 'mmcnn'; None: it is detected.
        prefix: use only entries whose names begin with it, such as ``'student.'``; required if two prefixes would fit.
        allow_head_mismatch: layers whose shape depends on the number of classes may differ, and for a classifier
            everything behind its backbone may be missing; what differs keeps the model's values.
        adapt_input: distribute a first convolution for 3 channels over the model's ``in_channels``: each gets the sum
            over the three, divided by their number, so that the response to a grey image stays the same.
        drop_head: like ``allow_head_mismatch``, and the file's layers that depend on the number of classes are not
            loaded even if their shapes fit, because its classes are different.
        class_layers: prefixes of the layers whose shape depends on the number of classes: by default those of our heads
            and of MMDetection's YOLOv3 and Faster R-CNN; for another detector, :func:`mmcnn.config.model.class_layers`
            finds them.
        record: facts about the file, if the file has no record itself.

    Returns:
        What happened to every entry.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or belongs to another network; the message names the first
            keys and the networks that the file resembles. Or there is no such source, or nothing for ``drop_head`` to
            drop.
    """
    if source is not None and source not in TRANSLATE:
        raise CheckpointError(f"unknown source='{source}'; {nearest(source, TRANSLATE)}")
    file, published = None, None
    if isinstance(path, Checkpoint):
        file, path = path, path.path
    mmdet.refuse_caffe_style(path)
    if file is None and is_address(str(path)):
        path, known, published = fetch(str(path))
        source = source or known
        record = record or (published and of_published(published))
    file = file or Checkpoint.open(path)
    record = file.record or record
    sources = SOURCES[file.format]
    if source is not None and source not in sources:
        raise CheckpointError(
            f'{path} is a {file.format} file, which cannot hold weights of {source}, only of {" or ".join(sources)}'
        )
    if drop_head and not (
        backbone_of(model) is model or any(key.startswith(class_layers) for key in model.state_dict())
    ):
        raise CheckpointError(
            f'{path} is for other classes, but no layer of {name_of(model)} is known to depend on their number: its '
            'head cannot be replaced'
        )
    request = Request(model, source, prefix, allow_head_mismatch, adapt_input, drop_head, class_layers)
    try:
        attempts = attempt(file, request)
    except OtherRowError as error:
        raise other_row(file, error) from None
    if (fit := attempts.fit) is None:
        raise refusal(file, record, request, attempts)
    own = model.state_dict()
    refuse_senseless(fit.state, own, path)
    if trained := record or _trained(model, fit.source):
        trained.refuse_other(model, path)
    model.load_state_dict({key: fit.state[key] for key in own if _fits(own, fit.state, key)}, strict=False)
    images = fit.translation.images or (record.images if record else '')
    return replace(
        fit.report,
        reshaped=tuple(dict.fromkeys((*(key for key in fit.translation.reshaped if key in own), *fit.adapted))),
        left_out={reason: tuple(keys) for reason, keys in fit.translation.left_out.items() if keys},
        source=fit.source,
        images=images,
        notes=(*_notes(file, fit, record, images, model), *fit.translation.notes, *_warnings(published)),
    )


@renamed_arguments(source='path')
def load_state(
    model: nn.Module, state_dict: Mapping[str, Tensor], path: str | Path = '', allow_mismatch: tuple[str, ...] = ()
) -> LoadReport:
    """Load a state dict under the model's own names, completely or not at all.

    BatchNorm's ``num_batches_tracked``, which older checkpoints lack, may be absent on either side.

    Args:
        model: keeps its values if anything does not fit.
        state_dict: tensors by name, see :func:`~mmcnn.weights.checkpoint.state_dict_of`.
        path: path of the checkpoint, for messages.
        allow_mismatch: prefixes of keys whose shapes may differ; these keep the model's values and are listed in the
            report.

    Returns:
        What was loaded and what was not.

    Raises:
        CheckpointError: keys are missing, unexpected or of another shape, or values are not finite; the message names
            the first ones.
    """
    own = model.state_dict()
    report = compare(own, state_dict)
    if deviations := report.deviations(allow_mismatch):
        raise CheckpointError(f'{path or "the checkpoint"} does not fit the model: {"; ".join(deviations)}')
    refuse_senseless(state_dict, own, path or 'the checkpoint')
    model.load_state_dict({key: state_dict[key] for key in own if _fits(own, state_dict, key)}, strict=False)
    return report


@renamed_arguments(source='path')
def refuse_senseless(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise CheckpointError for values that no training produces: NaN, infinity, negative variances, wrong types.

    Args:
        state: state dict of a file, under the model's names.
        own: state dict of the model.
        path: path of the file, for messages.
    """
    for key in without_counters(state):
        value = state[key]
        floating = own.get(key, value).is_floating_point()
        if value.layout != torch.strided or value.is_meta or value.is_floating_point() != floating:
            kind = 'floats' if floating else 'integers'
            raise CheckpointError(f'{path}: {key} is not a plain tensor of {kind}: {value.dtype}, {value.layout}')
        if not floating:
            continue
        values = value.float()  # after conversion: 1e300 becomes infinite, and 8-bit floats cannot be compared
        if not torch.isfinite(values).all():
            raise CheckpointError(f'{path}: {key} has NaN or infinite values')
        if key.endswith('running_var') and (values < 0).any():
            raise CheckpointError(f'{path}: {key} has negative variances')


def _trained(model: nn.Module, source: str) -> Record | None:
    """Return how another library trains this row's network; ``arch`` and ``norm_cfg`` can deviate from it."""
    backbone = backbone_of(model)
    if source == 'torchvision' and is_detector(model):  # its norms are not the row's, and were compared with the file's
        return None
    return of_row(backbone.variant) if source != 'mmcnn' and backbone is not None else None


def _fits(own: Mapping[str, Tensor], state: Mapping[str, Tensor], key: str) -> bool:
    return key in state and own[key].shape == state[key].shape


def _notes(file: Checkpoint, fit: Fit, record: Record | None, images: str, model: nn.Module) -> tuple[str, ...]:
    kind = f'{"an" if file.format[0] in "aeiou" else "a"} {file.format} file'
    notes = [kind if fit.source == file.format else f'{kind} with the names of {fit.source}', *file.notes]
    if fit.prefix:
        notes.append(f'{fit.prefix} removed from the names')
    backbone = backbone_of(model)
    if record is not None and backbone is not None and record.model != backbone.variant:
        notes.append(f'weights of {record.model}')
    if backbone is not None and images not in ('', in_words(backbone.arch.image)):
        notes.append(
            f'warning: trained on images in {images}; {backbone.variant} expects {in_words(backbone.arch.image)}'
        )
    if backbone is model and fit.source != 'mmcnn':
        notes += _other_than_classifier(backbone)
    notes += [f'{key} distributed over {backbone.in_channels} channels' for key in fit.adapted]
    return tuple(notes)


def _other_than_classifier(backbone: Backbone) -> list[str]:
    """Return how the network that the weights were trained in differs, and the setting that removes the difference."""
    row = backbone.arch
    other = {name: value for name, value in row.as_classifier.items() if getattr(row, name) != value}
    return [
        f'{backbone.variant} was trained as a classifier with {name}={value!r}, but this backbone has '
        f'{name}={getattr(row, name)!r}: set arch=dict({name}={value!r}) to get the same feature maps'
        for name, value in other.items()
    ]


def _warnings(published: Published | None) -> list[str]:
    return [f'warning: {published.warning}'] if published and published.warning else []
