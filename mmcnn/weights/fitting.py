"""Matching of a file of weights to a model: prefixes of its names, and permitted differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.names import SOURCES, TRANSLATE, Names, Request, backbone_of, is_backbone, name_of
from mmcnn.weights.report import LoadReport, compare, explain
from mmcnn.weights.sources.darknet import TOP, UNBUILT
from mmcnn.weights.sources.translate import OtherRowError, Translation

#: Reasons why a head of the model keeps its values, and why one of the file is not used.
STARTS_ANEW, OTHER_CLASSES = 'the head, which keeps its initial values', 'the head, because its classes differ'
#: Fraction of a file's entries that must have a prefix in common, and the maximum number of names in a prefix.
_LEAST_SHARE, _DEEPEST = 1 / 8, 4


class AmbiguousError(CheckpointError):
    """A file contains the entries of a model more than once."""


@dataclass(frozen=True)
class Fit:
    """A file's tensors under a model's names.

    Attributes:
        source: library whose names the file has.
        report: what will happen to each entry.
        state: our name -> tensor.
        translation: the source's translation of them.
        prefix: prefix of the names in the file.
        adapted: entries of ``state`` that were made for another number of image channels.
    """

    source: str
    report: LoadReport
    state: Mapping[str, Tensor]
    translation: Translation
    prefix: str = ''
    adapted: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Attempts:
    """The attempts at fitting a file: ``fit`` is the successful one; None: there is none.

    Attributes:
        misfits: the other attempts at which the names were known, best first.
        refusals: why the names are not those of other sources.
    """

    fit: Fit | None = None
    misfits: list[Fit] = field(default_factory=list)
    refusals: list[CheckpointError] = field(default_factory=list)


def attempt(file: Checkpoint, request: Request) -> Attempts:
    """Try to fit a file to a model: with its names unchanged, then without their prefixes.

    ``net.`` or ``module.model.`` is removed if the rest of the names then explains every entry of the model.

    Raises:
        OtherRowError: every name is known, but they belong to another row.
        CheckpointError: two prefixes explain the model, and it is unclear which one is meant.
    """
    sources = SOURCES[file.format] if request.source is None else (request.source,)
    names = _behind(file, request.prefix) if request.prefix else Names(file, file.state_dict)
    attempts = _try(names, sources, request)
    if attempts.fit is None and not request.prefix:
        attempts.fit = _behind_some_prefix(file, sources, request)
    return attempts


def _behind_some_prefix(file: Checkpoint, sources: tuple[str, ...], request: Request) -> Fit | None:
    found: list[Fit] = []
    for prefix in prefixes(file.state_dict):
        if any(prefix.startswith(each.prefix) for each in found):
            continue
        fit = _try(_behind(file, prefix), sources, request).fit
        if fit is not None:
            found.append(fit)
    if len(found) > 1:
        names = ' and '.join(f"'{each.prefix}'" for each in found)
        raise AmbiguousError(
            f'{file.path}: the entries with the prefixes {names} are each a complete {name_of(request.model)}; choose '
            'one with prefix=, or save one of them separately'
        )
    return found[0] if found else None


def _behind(file: Checkpoint, prefix: str) -> Names:
    prefix = prefix.removesuffix('.') + '.'
    inside = {key.removeprefix(prefix): value for key, value in file.state_dict.items() if key.startswith(prefix)}
    outside = tuple(key for key in file.state_dict if not key.startswith(prefix))
    return Names(file, inside, prefix, outside)


def prefixes(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield prefixes of so many names that they may be a wrapper's, shortest first."""
    level, least = [''], max(len(state) * _LEAST_SHARE, 1)
    for _ in range(_DEEPEST):
        counts: Counter[str] = Counter()
        for prefix in level:
            inside = (key.removeprefix(prefix) for key in state if key.startswith(prefix))
            counts.update(f'{prefix}{key.partition(".")[0]}.' for key in inside if '.' in key)
        level = [prefix for prefix, count in counts.items() if count >= least]
        yield from level


def _try(names: Names, sources: tuple[str, ...], request: Request) -> Attempts:
    """Try the names of each source, up to the first that fits."""
    attempts = Attempts()
    for source in sources:
        try:
            translation = TRANSLATE[source](names, request)
        except OtherRowError:  # these names leave no doubt about the source of the file
            raise
        except CheckpointError as error:
            attempts.refusals.append(error)
            continue
        if names.outside:
            left_out = {**translation.left_out, f'not under {names.prefix}': names.outside}
            translation = replace(translation, left_out=left_out)
        fit = _held(source, translation, names.prefix, request)
        if not fit.report.deviations(request.allowed):
            attempts.fit = fit
            return attempts
        attempts.misfits.append(fit)
    attempts.misfits.sort(key=lambda each: -len(each.report.used))
    return attempts


def _held(source: str, translation: Translation, prefix: str, request: Request) -> Fit:
    """Compare the tensors that the model is to have with the model's."""
    model = request.model
    own = model.state_dict()
    translation = _for_model(model, translation)
    state, absent = dict(translation.state), dict(translation.absent)
    if request.drop_head:
        dropped = [key for key in state if key.startswith(request.class_layers)]
        state = {key: value for key, value in state.items() if key not in dropped}
        translation = replace(translation, left_out={**translation.left_out, OTHER_CLASSES: dropped})
        absent[STARTS_ANEW] = [key for key in own if key.startswith(request.class_layers)]
    if request.allowed and hasattr(model, 'top'):
        absent[STARTS_ANEW] = [key for key in own if key.startswith('top.')]
    adapted = _adapted_input(model, own, state) if request.adapt_input else {}
    state |= adapted
    report = explain(compare(own, state), {**_may_lack(model, state), **absent})
    if request.drop_head and STARTS_ANEW in report.absent:  # dropped layers are listed already
        lacking = tuple(key for key in report.absent[STARTS_ANEW] if key not in translation.left_out[OTHER_CLASSES])
        report = replace(report, absent={**report.absent, STARTS_ANEW: lacking})
    return Fit(source, report, state, translation, prefix, adapted)


# --------------------------------------------------------------------------------------------------- what may differ


def _for_model(model: nn.Module, translation: Translation) -> Translation:
    """Return those entries of a classifier that a bare backbone has; the known rest is left out."""
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
    """Return the first convolution's kernel (C_out, 3 m, h, w) as (C_out, C m, h, w); m is 4 behind a Focus, else 1."""
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
