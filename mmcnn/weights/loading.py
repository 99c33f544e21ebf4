"""Weights from every source into our networks, exactly or not at all, with a word for every entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mmcnn.compat.moved import moved_names, renamed_arguments
from mmcnn.errors import CheckpointError
from mmcnn.image_format import in_words
from mmcnn.models.backbones import Backbone
from mmcnn.models.families import backbone_families
from mmcnn.nearest import nearest
from mmcnn.weights.addresses import fetch, is_address
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.likeliest import likeliest
from mmcnn.weights.record import Record, of_published, of_row
from mmcnn.weights.report import LoadReport, compare, explain, without_counters
from mmcnn.weights.sources import keras, mmdet, timm, torchvision
from mmcnn.weights.sources.darknet import TOP, UNBUILT, read_darknet
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.torchvision_detectors import from_torchvision_detector
from mmcnn.weights.sources.translate import OtherRowError, Source, Translation
from mmcnn.weights.sources.ultralytics import from_ultralytics

__getattr__ = moved_names(__name__)

#: Kind of file -> whose layer names its tensors may have, in the order in which they are tried.
SOURCES = {
    'darknet': ('darknet',),
    'keras': ('keras',),
    'ultralytics': ('ultralytics',),
    'safetensors': ('mmcnn', 'torchvision', 'timm', 'mmdet', 'ultralytics'),
    'pytorch': ('mmcnn', 'torchvision', 'timm', 'mmdet', 'ultralytics'),
}
#: Layers whose shape follows the number of classes: of our heads, MMDetection's YOLOv3 and Faster R-CNN.
CLASS_LAYERS = (
    'top.classes.',
    'bbox_head.predictions.',
    'bbox_head.convs_pred.',
    'roi_head.bbox_head.fc_cls.',
    'roi_head.bbox_head.fc_reg.',
)


def load_weights(
    model: nn.Module,
    path: str | Path | Checkpoint,
    source: str | None = None,
    *,
    prefix: str = '',
    allow_head_mismatch: bool = False,
    adapt_input: bool = False,
    record: Record | None = None,
) -> LoadReport:
    """Loads a file of weights into one of our backbones, classifiers or detectors, all of it or not at all.

    Darknet's ``.weights`` and ``.conv.N``, Keras's ``.h5``, ``.weights.h5`` and ``.keras``, state dicts of torchvision,
    timm, MMDetection and mmcnn in ``.pth`` or ``.safetensors``, ultralytics' ``.pt``. What a file is, is told by its
    content.

    Left over may only be: the top and the stages that a backbone has not, auxiliary heads, what a Darknet cut-off ends
    before, and what the arguments allow. The report lists each.

    Args:
        model: keeps its values when anything does not fit.
        path: the file, opened or not, or an address: ``mmcnn://NAME`` of the catalog, ``torchvision://resnet50``,
            ``open-mmlab://darknet53``, https.
        source: whose layer names it has: 'darknet', 'keras', 'torchvision', 'timm', 'mmdet', 'ultralytics' or 'mmcnn';
            None: found out.
        prefix: only entries that begin so are the model's, ``'backbone.'`` of a detector; names of mmcnn only.
        allow_head_mismatch: layers whose shape follows the number of classes may differ; these keep their values.
        adapt_input: a first convolution made for 3 channels is spread over the model's ``in_channels``: each gets the
            sum over the three, divided by their number, so that a grey image is seen as before.
        record: what is known of the file where it says nothing itself.

    Returns:
        What became of every entry.

    Raises:
        CheckpointError: a file that is missing, broken, unsafe or of another network; the sentence names the first keys
            and the networks that the file looks like. Or there is no such source.
    """
    if source is not None and source not in TRANSLATE:
        raise CheckpointError(f"source='{source}' is unknown; {nearest(source, TRANSLATE)}")
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
            f'{path} is a file of the kind {file.format}, which does not hold weights of {source}, but of '
            f'{" or ".join(sources)}'
        )
    own, best, refusals = model.state_dict(), None, []
    allowed = CLASS_LAYERS if allow_head_mismatch else ()
    for each in ('mmcnn',) if prefix else sources if source is None else (source,):
        try:
            translation = TRANSLATE[each](file, model, prefix)
        except OtherRowError as error:  # its names settle whose file it is
            raise CheckpointError(f'{path}: {error}') from None
        except CheckpointError as error:
            refusals.append(error)
            continue
        translation = _for_model(model, translation)
        adapted = {}
        if adapt_input:
            adapted = _adapted_input(model, own, translation.state)
        state = {**translation.state, **adapted}
        report = explain(compare(own, state), {**_may_lack(model, state), **translation.absent})
        if not report.deviations(allowed):
            refuse_senseless(state, own, path)
            if trained := record or _trained(model, each):
                trained.refuse_other(model, path)
            model.load_state_dict({key: state[key] for key in own if _fits(own, state, key)}, strict=False)
            images = translation.images or (record.images if record else '')
            return replace(
                report,
                reshaped=tuple(dict.fromkeys((*(k for k in translation.reshaped if k in own), *adapted))),
                left_out={reason: tuple(keys) for reason, keys in translation.left_out.items() if keys},
                source=each,
                images=images,
                notes=(
                    *_notes(file, each, record, images, model, adapted),
                    *translation.notes,
                    *_warnings(published),
                ),
            )
        if best is None or len(report.used) > len(best.used):
            best = report
    raise _refusal(file, record, model, best, refusals, allowed)


@renamed_arguments(source='path')
def load_state(
    model: nn.Module, state_dict: Mapping[str, Tensor], path: str | Path = '', allow_mismatch: tuple[str, ...] = ()
) -> LoadReport:
    """Loads a state dict under the model's own names, all of it or not at all.

    ``num_batches_tracked`` of BatchNorm, which older checkpoints lack, may be absent on either side.

    Args:
        model: Keeps its values when anything does not fit.
        state_dict: Name to tensor, see :func:`~mmcnn.weights.checkpoint.state_dict_of`.
        path: Of the checkpoint, for messages.
        allow_mismatch: Prefixes of keys whose shapes may differ; these keep the model's values and are listed in the
            report.

    Returns:
        What was loaded and what was not.

    Raises:
        CheckpointError: Keys are missing, unexpected or of another shape, or values are not finite; names the first.
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
    """Raises CheckpointError for what no training leaves: NaN, infinity, a negative running variance, other numbers.

    Args:
        state: of a file, under the model's names. own: the model's. path: of the file, for messages.
    """
    for key in without_counters(state):
        value = state[key]
        floating = own.get(key, value).is_floating_point()
        if value.layout != torch.strided or value.is_meta or value.is_floating_point() != floating:
            kind = 'floats' if floating else 'integers'
            raise CheckpointError(f'{path}: {key} is no plain tensor of {kind}: {value.dtype}, {value.layout}')
        if not floating:
            continue
        values = value.float()  # as they will be: 1e300 is infinite; and 8-bit floats compare to nothing
        if not torch.isfinite(values).all():
            raise CheckpointError(f'{path}: {key} holds values that are not finite')
        if key.endswith('running_var') and (values < 0).any():
            raise CheckpointError(f'{path}: {key} holds negative variances')


# ------------------------------------------------------------------------------------------- from their names to ours


def backbone_of(model: nn.Module) -> Backbone | None:
    """The backbone of a classifier or a detector, a backbone itself; None: it is none of ours."""
    backbone = getattr(model, 'backbone', model)
    return backbone if is_backbone(backbone) else None


def is_backbone(model: nn.Module) -> bool:
    return isinstance(model, tuple(set(backbone_families().values())))


def is_detector(model: nn.Module) -> bool:
    return not is_backbone(model) and not hasattr(model, 'top')


def _own(file: Checkpoint, model: nn.Module, prefix: str) -> Translation:
    """Names of mmcnn: of the model itself, of a classifier or detector around it."""
    state = dict(file.state_dict)
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


def _of_library(library: Source) -> Callable[[Checkpoint, nn.Module, str], Translation]:
    def translate(file: Checkpoint, model: nn.Module, prefix: str) -> Translation:
        if is_detector(model):
            raise CheckpointError(
                f'{file.path}: {library.name} has classifiers, no detectors; load it into the backbone'
            )
        return library.translate(file.state_dict, backbone_of(model).variant)

    return translate


def _of_torchvision(file: Checkpoint, model: nn.Module, prefix: str) -> Translation:
    if is_detector(model):
        return from_torchvision_detector(file.state_dict, model)
    return torchvision.SOURCE.translate(file.state_dict, backbone_of(model).variant)


def _of_mmdet(file: Checkpoint, model: nn.Module, prefix: str) -> Translation:
    if is_detector(model):
        return mmdet.from_mmdet_detector(file.state_dict, model)
    return mmdet.SOURCE.translate(file.state_dict, backbone_of(model).variant)


def _of_darknet(file: Checkpoint, model: nn.Module, prefix: str) -> Translation:
    with file.unchanged() as path:
        return read_darknet(path, model)


def _of_ultralytics(file: Checkpoint, model: nn.Module, prefix: str) -> Translation:
    return from_ultralytics(file.tree or file.state_dict, model)


#: Source -> what renames the tensors of a file for a model; the third argument is load_weights' prefix.
TRANSLATE: dict[str, Callable[[Checkpoint, nn.Module, str], Translation]] = {
    'mmcnn': _own,
    'mmdet': _of_mmdet,
    'torchvision': _of_torchvision,
    'timm': _of_library(timm.SOURCE),
    'keras': _of_library(keras.SOURCE),
    'darknet': _of_darknet,
    'ultralytics': _of_ultralytics,
}


# --------------------------------------------------------------------------------------------------- what may differ


def _for_model(model: nn.Module, translation: Translation) -> Translation:
    """Of a classifier's entries those that a bare backbone has; the declared rest is left out."""
    if not is_backbone(model):
        return translation
    state, left_out = {}, {TOP: [], UNBUILT: []}
    for key, value in translation.state.items():
        name = key.removeprefix('backbone.')
        if key.startswith('top.'):
            left_out[TOP].append(key)
        elif name.split('.')[0] in model.unbuilt:
            left_out[UNBUILT].append(key)
        else:
            state[name] = value
    reshaped = [key.removeprefix('backbone.') for key in translation.reshaped]
    return replace(translation, state=state, left_out={**translation.left_out, **left_out}, reshaped=reshaped)


def _may_lack(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    backbone = backbone_of(model)
    if backbone is None:
        return {}
    prefix = '' if backbone is model else 'backbone.'
    own = {key.removeprefix(prefix) for key in state if key.startswith(prefix)}
    return {reason: [prefix + key for key in keys] for reason, keys in backbone.may_lack(own).items()}


def _adapted_input(model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The first convolution's kernel (C_out, 3 m, h, w) as (C_out, C m, h, w); m is 4 behind a Focus, else 1."""
    if (backbone := backbone_of(model)) is None:
        return {}
    channels = backbone.in_channels
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape != own[key].shape:
            groups = value.shape[1] // 3
            if value.shape[1] != 3 * groups or own[key].shape[1] != channels * groups:
                break
            kernel = value.unflatten(1, (groups, 3)).sum(2, keepdim=True) / channels
            return {key: kernel.repeat_interleave(channels, dim=2).flatten(1, 2)}
    return {}


def _trained(model: nn.Module, source: str) -> Record | None:
    """What another library's network is trained with: what our row says, which ``arch`` and ``norm_cfg`` can change."""
    backbone = backbone_of(model)
    if source == 'torchvision' and is_detector(model):  # its norms are not the row's, and were compared with the file
        return None
    return of_row(backbone.variant) if source != 'mmcnn' and backbone is not None else None


def _fits(own: Mapping[str, Tensor], state: Mapping[str, Tensor], key: str) -> bool:
    return key in state and own[key].shape == state[key].shape


# ------------------------------------------------------------------------------------------------------ what is said


def _name(model: nn.Module) -> str:
    if is_detector(model):
        return type(model).__name__
    return backbone_of(model).variant


def _notes(
    file: Checkpoint,
    source: str,
    record: Record | None,
    images: str,
    model: nn.Module,
    adapted: Mapping[str, Tensor],
) -> tuple[str, ...]:
    notes = [f'a {file.format} file with the names of {source}']
    backbone = backbone_of(model)
    if record is not None and backbone is not None and record.model != backbone.variant:
        notes.append(f'weights of {record.model}')
    if backbone is not None and images not in ('', in_words(backbone.arch.image)):
        notes.append(
            f'warning: trained on images in {images}; {backbone.variant} expects {in_words(backbone.arch.image)}'
        )
    notes += [f'{key} spread over {backbone.in_channels} channels' for key in adapted]
    return tuple(notes)


def _warnings(published: Published | None) -> list[str]:
    return [f'warning: {published.warning}'] if published and published.warning else []


def _refusal(
    file: Checkpoint,
    record: Record | None,
    model: nn.Module,
    best: LoadReport | None,
    refusals: list[CheckpointError],
    allowed: tuple[str, ...],
) -> CheckpointError:
    """The sentence about a file that fits in no way."""
    if best is None or (refusals and not best.used and len(SOURCES[file.format]) == 1):
        said = str(refusals[0])
        return CheckpointError((said if str(file.path) in said else f'{file.path}: {said}') + _looks_like(file))
    message = f'{file.path} does not fit {_name(model)}: {"; ".join(best.deviations(allowed))}'
    if best.mismatched and all(key.startswith(CLASS_LAYERS) for key, *_ in best.mismatched):
        if not best.missing and not best.unexpected:
            message += '; a head of another class count is kept as it is with allow_head_mismatch=True'
        return CheckpointError(message)
    if not best.missing and not best.unexpected and _is_other_input(model, best):
        message += "; a first convolution for 3 channels is spread over the image's with adapt_input=True"
    elif record is not None:
        message += f'; it holds weights of {record.model}'
    else:
        message += _looks_like(file)
    return CheckpointError(message)


def _is_other_input(model: nn.Module, report: LoadReport) -> bool:
    backbone = backbone_of(model)
    if backbone is None or len(report.mismatched) != 1:
        return False
    _, in_file, in_model = report.mismatched[0]
    groups, rest = divmod(in_file[1], 3) if len(in_file) == 4 else (0, 1)
    return rest == 0 and in_model == (in_file[0], groups * backbone.in_channels, *in_file[2:])


def _looks_like(file: Checkpoint) -> str:
    found = likeliest(file.state_dict) if file.state_dict else ()
    return f'; the file looks like {" or ".join(found)}' if found else ''
