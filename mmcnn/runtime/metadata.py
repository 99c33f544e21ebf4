"""The metadata of an exported file: everything that is needed to use it, so that nothing is guessed."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from mmcnn.errors import CheckpointError
from mmcnn.fit import Fit
from mmcnn.ops.greedy_sweep import NMS_KINDS

#: Version of the metadata; files with a newer one are rejected.
FORMAT_VERSION = 1
#: Name of the entry that holds them as JSON, in an ONNX file's ``metadata_props`` and OpenVINO's ``model_info``.
KEY = 'mmcnn'
DETECTION, CLASSIFICATION, FEATURES = TASKS = ('detection', 'classification', 'features')
#: The possible outputs of each task.
FORMS = {DETECTION: ('decoded', 'nms', 'raw'), CLASSIFICATION: ('logits',), FEATURES: ('maps',)}
#: Readers of the outputs of form nms.
LAYOUTS = ('plain', 'tensorrt', 'deepstream')
PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
#: Entries of a detector's ``test_cfg``, and of its ``nms``.
_TEST_CFG = dict(score_thr=float, nms=dict[str, Any], nms_pre=int, max_per_img=int, multi_label=bool)
_NMS = dict(type=str, iou_threshold=float)


@dataclass(frozen=True, kw_only=True)
class Input:
    """The images that a file takes as its input ``images``.

    Attributes:
        dtype: 'float32', with values 0 to 255 if ``normalised`` is False; or 'uint8'.
        layout: 'NCHW' or 'NHWC'.
        channel_order: 'bgr' or 'rgb'.
        normalised: True: the caller must subtract ``mean`` and divide by ``std``; False: the file does it.
        mean: mean of each channel in ``channel_order``, for values 0 to 255.
        std: standard deviation of each channel, likewise.
        size: (H, W) in pixels; None: any multiple of ``stride``.
        stride: 1 if any size is possible.
        batch: number of images; None: any.
        image_size: whether there is a second input ``im_size`` (2,) int64: height and width in pixels of the image
            in the upper left corner of the canvas.
    """

    dtype: str = 'float32'
    layout: str = 'NCHW'
    channel_order: str = 'bgr'
    normalised: bool = False
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    size: tuple[int, int] | None = None
    stride: int = 32
    batch: int | None = None
    image_size: bool = False


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of an exported file.

    Attributes:
        task: one of :data:`TASKS`.
        form: form of the outputs, one of :data:`FORMS` of the task.
        network: the config or network that was exported, in words.
        classes: names of the classes; empty for a backbone.
        input: the images.
        fit: how an image is fitted to the ``input``; None: not a detector.
        test_cfg: for a detector, ``score_thr``, ``nms`` (``type``, ``iou_threshold``), ``nms_pre``, ``max_per_img`` and
            ``multi_label`` of the exported network.
        clip: whether the boxes of a detector are clipped to the image.
        layout: for form nms: 'plain', 'tensorrt' or 'deepstream'.
        precision: one of :data:`PRECISIONS`.
        dropped: a sentence for each step of PyTorch's post-processing that neither the file nor the runner has.
        versions: versions of mmcnn, torch and other packages that made the file.
        checkpoint: name and SHA-256 of the file of weights; None: there was none.
        licence: licence of the weights according to their source; None: not stated.
        format_version: see :data:`FORMAT_VERSION`.
    """

    task: str
    form: str
    network: str
    classes: tuple[str, ...] = ()
    input: Input = field(default_factory=Input)
    fit: Fit | None = None
    test_cfg: dict[str, Any] = field(default_factory=dict)
    clip: bool = True
    layout: str = 'plain'
    precision: str = 'fp32'
    dropped: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    checkpoint: dict[str, str] | None = None
    licence: str | None = None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the metadata as text, for :meth:`from_json`."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | None, path: str | Path) -> Metadata:
        """Return the metadata of a file.

        Args:
            text: the entry :data:`KEY` of the file; None: it has none.
            path: the file, for messages.

        Raises:
            CheckpointError: there is no such text, it is of a newer format, or it is incomplete.
        """
        if text is None:
            raise CheckpointError(
                f'{path} has no metadata of mmcnn, so its classes, image size and normalisation are unknown; use a '
                'file written by mmcnn export'
            )
        try:
            values = json.loads(text)
            version = values['format_version']
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise CheckpointError(
                    f'{path} has metadata of format {version}, but this mmcnn only reads up to {FORMAT_VERSION}: '
                    'pip install --upgrade mmcnn'
                )
            whole = _of(cls, values)
            whole._check()
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f'{path} has invalid metadata of mmcnn: {_reason(error)}') from error
        return whole

    def _check(self) -> None:
        """Reject invalid values, which would be noticed late.

        Raises:
            ValueError: a value is not one of the possible ones.
        """
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f'format_version is {self.format_version!r}')
        if self.task not in TASKS or self.form not in FORMS[self.task]:
            raise ValueError(f'task is {self.task!r} with the form {self.form!r}')
        if self.input.dtype not in ('float32', 'uint8') or self.input.layout not in ('NCHW', 'NHWC'):
            raise ValueError(f'input is {self.input.dtype!r} in the layout {self.input.layout!r}')
        if self.input.channel_order not in ('bgr', 'rgb'):
            raise ValueError(f'channel_order is {self.input.channel_order!r}')
        if self.layout not in LAYOUTS or self.precision not in PRECISIONS:
            raise ValueError(f'layout is {self.layout!r} and precision {self.precision!r}')
        if not len(self.input.mean) == len(self.input.std) == 3 or not all(self.input.std):
            raise ValueError(f'mean is {self.input.mean} and std {self.input.std}')
        if _least(self.input.stride, self.input.batch, *(self.input.size or ())) < 1:
            raise ValueError('input has a size, a stride or a batch below 1')
        if self.task == DETECTION:
            self._check_detector()

    def _check_detector(self) -> None:
        if self.fit is None:
            raise ValueError('fit is missing')
        if _least(*self.fit.scale, *(self.fit.canvas or ()), self.fit.stride) < 1:
            raise ValueError('fit has a scale, a canvas or a stride below 1 pixel')
        if not all(0 <= value <= 255 for value in self.fit.value):
            raise ValueError(f'value of fit is {self.fit.value}, but images have values from 0 to 255')
        if not self.classes:
            raise ValueError('classes are missing')
        for settings, kinds, name in (
            (self.test_cfg, _TEST_CFG, 'test_cfg'),
            (self.test_cfg.get('nms', {}), _NMS, 'nms'),
        ):
            for key, kind in kinds.items():
                if key not in settings:
                    raise ValueError(f'{name} has no {key}')
                _valued(kind, settings[key], key)
        nms = self.test_cfg['nms']
        if nms['type'] not in NMS_KINDS:
            raise ValueError(f'type of nms is {nms["type"]!r}')
        for key, value in (('score_thr', self.test_cfg['score_thr']), ('iou_threshold', nms['iou_threshold'])):
            if not 0 <= value <= 1:
                raise ValueError(f'{key} is {value!r}')


def precision_of(text: str | None) -> str | None:
    """Return the precision that metadata in JSON state, before :meth:`Metadata.from_json` checks them.

    None: they state none.
    """
    try:
        return json.loads(text)['precision']
    except (TypeError, ValueError, KeyError):
        return None


def _least(*numbers: int | None) -> int:
    """Return the smallest number; None is ignored."""
    return min(number for number in numbers if number is not None)


def _of(kind: type, values: Any, name: str = 'the whole') -> Any:
    """Return a dataclass from its JSON form, which must have exactly its fields; nothing is filled in.

    Raises:
        ValueError: a value is of another type. KeyError: a field is missing.
    """
    if not isinstance(values, dict):
        raise ValueError(f'{name} is {values!r}')
    hints = get_type_hints(kind)
    if others := sorted(values.keys() - hints.keys()):
        raise ValueError(f'{name} has the unknown entry {others[0]!r}')
    return kind(**{field: _valued(hint, values[field], field) for field, hint in hints.items()})


def _valued(hint: Any, value: Any, name: str) -> Any:
    """Return a JSON value as a type: its lists become tuples, and an integer may stand for a float.

    Raises:
        ValueError: it is of another type.
    """
    of, inner = get_origin(hint), get_args(hint)
    if of is UnionType:
        return None if value is None else _valued(inner[0], value, name)
    if dataclasses.is_dataclass(hint):
        return _of(hint, value, name)
    if of is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            return tuple(_valued(each, part, name) for each, part in zip(kinds, value, strict=True))
    elif of is dict and isinstance(value, dict):
        return {key: _valued(inner[1], part, name) for key, part in value.items()}
    elif hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    elif hint is Any or (of is None and type(value) is hint):
        return value
    raise ValueError(f'{name} is {value!r}')


def _reason(error: Exception) -> str:
    return f'{error.args[0]!r} is missing' if isinstance(error, KeyError) else str(error)
