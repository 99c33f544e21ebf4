"""The options of an export; both Python and the command line use this class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mmcnn.errors import UsageError
from mmcnn.runs.options import ModelOptions, Option, SplitOptions
from mmcnn.runtime.metadata import LAYOUTS, PRECISIONS

#: What can be written, and the ending of its file.
SUFFIXES = {'onnx': '.onnx', 'openvino': '.xml', 'torch-export': '.pt2'}
FORMS = ('decoded', 'nms', 'raw', 'logits', 'maps')
DYNAMIC = ('batch', 'all', 'none')


@dataclass(frozen=True, kw_only=True)
class ExportOptions(SplitOptions, ModelOptions):
    """An export.

    Attributes:
        source: a checkpoint, published weights, or the name of a network or config (its weights are random then,
            unless there are ``weights``).
        config: as for an inference; None: the one inside the checkpoint, else the one of ours that holds the weights.
    """

    source: Any
    config: Any = None
    out: Annotated[
        str | Path | None, Option('the file to write (default: named after the source, in this folder)', 'FILE')
    ] = None
    to: Annotated[str, Option('what to write (default: onnx)', choices=tuple(SUFFIXES))] = 'onnx'
    form: Annotated[
        str | None,
        Option(
            'what the outputs are. Of a detector: decoded boxes and scores (the default), nms, raw maps. Of a network '
            'by name: maps (the default) or logits',
            choices=FORMS,
        ),
    ] = None
    weights: Annotated[
        str | Path | None, Option('weights of any kind for a network or config that is called by its name', 'FILE')
    ] = None
    classes: Annotated[
        str | Path | Sequence | None,
        Option(
            'names of the classes of weights that do not say them: a,b,c or a file with one on each line', 'NAMES|FILE'
        ),
    ] = None
    img_size: Annotated[
        Sequence[int] | int | None,
        Option(
            'height and width of the input, or one number for both, in pixels (default: what a square image gets in '
            'the test)',
            'N',
        ),
    ] = None
    dynamic: Annotated[
        str | None,
        Option(
            'what may differ from call to call: the batch (the default), all (height and width, too) or none',
            choices=DYNAMIC,
        ),
    ] = None
    input: Annotated[
        str,
        Option(
            'float (N, 3, H, W) or uint8 (N, H, W, 3), both BGR from 0 to 255 as OpenCV reads images (default: float)',
            choices=('float', 'uint8'),
        ),
    ] = 'float'
    precision: Annotated[str, Option('of the weights and of what is computed (default: fp32)', choices=PRECISIONS)] = (
        'fp32'
    )
    data: Annotated[
        str | Path | None,
        Option('folder of a data set, whose validation images the check and int8 use (default: drawn images)', 'PATH'),
    ] = None
    max_loss: Annotated[
        float,
        Option(
            'AP that int8, or fp16 with other detections, may cost at most (default: 0.01)', 'AP', minimum=0, maximum=1
        ),
    ] = 0.01
    score_thr: Annotated[
        float | None,
        Option('lowest score that form nms gives (default: that of the config)', 'S', minimum=0, maximum=1),
    ] = None
    layout: Annotated[
        str,
        Option(
            'of the outputs of form nms: plain; tensorrt, 32-bit integers as of its EfficientNMS; deepstream, '
            'one tensor (N, K, 6) (default: plain)',
            choices=LAYOUTS,
        ),
    ] = 'plain'
    mish: Annotated[
        str | None,
        Option(
            'Mish as a quotient of polynomials of exp(x), which ONNX Runtime computes in half the time (the default of '
            'ONNX files), or by its own operator, which OpenVINO and PyTorch compute faster (the default of theirs)',
            choices=('fast', 'exact'),
        ),
    ] = None

    web: Annotated[
        str | Path | None,
        Option(
            'make this folder: a page that detects in the browser, with the model and onnxruntime-web beside it (form '
            'nms, or decoded where the NMS has no operator)',
            'DIR',
        ),
    ] = None
    ort_web: Annotated[
        str | Path | None,
        Option('the folder of onnxruntime-web that web copies from (default: npm install, in a folder of its own)',
               'FOLDER'),
    ] = None  # fmt: skip
    triton: Annotated[
        str | Path | None,
        Option("add the model to this folder, a model repository of NVIDIA's Triton: config.pbtxt and 1/model.onnx",
               'DIR'),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device is not None:
            raise UsageError(f'device={self.device}: an export is made and checked on the CPU; leave the option out')
        self._check_folders()
        if self.mish is None:
            object.__setattr__(self, 'mish', 'fast' if self.to == 'onnx' else 'exact')
        size = self.img_size
        if size is not None:
            sides = (size,) * 2 if isinstance(size, int) else tuple(size)
            sides = sides * 2 if len(sides) == 1 else sides
            if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) for side in sides):
                raise UsageError(f'img_size={size!r}: it has to be one whole number, or height and width')
            if min(sides) < 1:
                raise UsageError(f'img_size={size!r}: each side has to be at least 1 pixel')
            object.__setattr__(self, 'img_size', sides)
        if self.precision != 'fp32' and self.to == 'torch-export':
            raise UsageError(
                f'precision={self.precision} is of to=onnx and to=openvino; to=torch-export writes in fp32'
            )
        if self.precision == 'int8' and self.data is None:
            raise UsageError(
                'precision=int8 needs data=PATH: the ranges of the maps, and AP, are measured on its images'
            )

    def _check_folders(self) -> None:
        """Refuse what does not go with ``web`` and ``triton``.

        Raises:
            UsageError: names it.
        """
        if self.ort_web is not None and self.web is None:
            raise UsageError(f'ort_web={self.ort_web} is of web=DIR only')
        if self.web is not None and self.triton is not None:
            raise UsageError(f'web={self.web} and triton={self.triton}: one folder is made at a time')
        for name, folder in (('web', self.web), ('triton', self.triton)):
            if folder is None:
                continue
            if self.to != 'onnx':
                raise UsageError(f'{name}={folder} holds an ONNX file; to={self.to} does not go with it')
            if self.out is not None:
                raise UsageError(f'{name}={folder} says where the file goes; leave out={self.out} out')
        if self.web is not None and self.form not in (None, 'nms', 'decoded'):
            raise UsageError(f'web={self.web}: the page reads the forms nms and decoded, not form={self.form}')
        if self.web is not None and self.layout != 'plain':
            raise UsageError(f'web={self.web}: the page reads layout=plain, not {self.layout}')
