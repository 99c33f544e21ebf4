"""The error message for a file of weights that does not fit a model."""

from __future__ import annotations

from torch import nn

from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.fitting import Attempts
from mmcnn.weights.likeliest import likeliest
from mmcnn.weights.names import CLASS_LAYERS, HEADS, SOURCES, Request, backbone_of, name_of
from mmcnn.weights.record import Record
from mmcnn.weights.report import LoadReport
from mmcnn.weights.sources.darknet import BOX
from mmcnn.weights.sources.translate import OtherRowError


class UnfitError(CheckpointError):
    """A file that does not fit a model: what does not fit, and the argument of ``load_weights`` that would help.

    Attributes:
        sentence: the message without that argument.
        classes: number of classes of the file's head if only that does not fit and can be determined; else None.
    """

    def __init__(self, sentence: str, advice: str = '', classes: int | None = None) -> None:
        super().__init__(sentence + advice)
        self.sentence = sentence
        self.classes = classes


def refusal(file: Checkpoint, record: Record | None, request: Request, attempts: Attempts) -> UnfitError:
    """Return an error with the misfits of the best attempt, and similar networks if the file is another's."""
    best, model = attempts.misfits[0].report if attempts.misfits else None, request.model
    if best is None or (attempts.refusals and not best.used and len(SOURCES[file.format]) == 1):
        said = str(attempts.refusals[0])
        return UnfitError((said if str(file.path) in said else f'{file.path}: {said}') + _looks_like(file))
    sentence = f'{file.path} does not fit {name_of(model)}: {"; ".join(best.deviations(request.allowed))}'
    keys = [*best.missing, *(key for key, *_ in best.mismatched)]
    if best.used and not best.unexpected and all(key.startswith(HEADS) for key in keys):
        advice = '; with allow_head_mismatch=True, the head may have another number of classes'
        return UnfitError(sentence, '' if request.allowed else advice, classes_of_head(model, best))
    if not best.missing and not best.unexpected and _is_other_input(model, best):
        return UnfitError(
            sentence, '; adapt_input=True distributes the first convolution over the channels of your images'
        )
    if record is not None:
        return UnfitError(f'{sentence}; it holds weights of {record.model}')
    return UnfitError(sentence + _looks_like(file))


def other_row(file: Checkpoint, error: OtherRowError) -> UnfitError:
    """Return an error with the rows that a file does fit, since its names are another row's."""
    fitting = [name for name in likeliest(file) if name in error.fitting]
    return UnfitError(f'{file.path}: {error}' + (f'; they fit {" or ".join(fitting)}' if fitting else ''))


def classes_of_head(model: nn.Module, report: LoadReport) -> int | None:
    """Return the number of classes of a file's head with different shapes; None if the shapes do not tell."""
    for key, in_file, in_model in report.mismatched:
        if key.startswith('top.classes.'):
            return in_file[0]
        if key.startswith('roi_head.bbox_head.fc_cls.'):
            return in_file[0] - 1  # the last is the background
        if key.startswith(CLASS_LAYERS) and not key.startswith('roi_head.'):
            anchors = in_model[0] // (BOX + model.bbox_head.num_classes)
            classes, rest = divmod(in_file[0], anchors)
            return classes - BOX if rest == 0 and classes > BOX else None
    return None


def _is_other_input(model: nn.Module, report: LoadReport) -> bool:
    backbone = backbone_of(model)
    if backbone is None or len(report.mismatched) != 1:
        return False
    _, in_file, in_model = report.mismatched[0]
    groups, rest = divmod(in_file[1], 3) if len(in_file) == 4 else (0, 1)
    return rest == 0 and in_model == (in_file[0], groups * backbone.in_channels, *in_file[2:])


def _looks_like(file: Checkpoint) -> str:
    found = likeliest(file)
    return f'; the file looks like {" or ".join(found)}' if found else ''
