"""The options of an export; both Python and the command line use this class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mmcnn.errors import UsageError
from mmcnn.runs.options import ModelOptions, Option, SplitOptions
from mmcnn.runtime.metadata import LAYOUTS, PRECISIONS

#: The kinds of files that can be written, and their suffixes.
SUFFIXES = {'onnx': '.onnx', 'openvino': '.xml', 'torch-export': '.pt2'}
FORMS = ('decoded', 'nms', 'raw', 'logits', 'maps')
DYNAMIC = ('batch', 'all', 'none')
#: Precisions in which no detection stays the same, so that AP decides whether a file is right.
JUDGED_BY_AP = ('bf16', 'int8')


@dataclass(frozen=True, kw_only=True)
class ExportOptions(SplitOptions, ModelOptions):
    """An export.

    Attributes:
        source: a checkpoint, published weights, or the name of a network or config (with random weights, unless
            ``weights`` are given).
        config: config of an inference; None: the one inside the checkpoint, else ours that fits the weights.
    """

    source: Any
    config: Any = None
    out: Annotated[
        str | Path | None, Option('output file (default: named after the source, in the current folder)', 'FILE')
    ] = None
    to: Annotated[str, Option('format of the output file (default: onnx)', choices=tuple(SUFFIXES))] = 'onnx'
    form: Annotated[
        str | None,
        Option(
            'form of the outputs. For a detector: decoded boxes and scores (default), nms, or raw maps. For a network '
            'given by name: maps (default) or logits',
            choices=FORMS,
        ),
    ] = None
    weights: Annotated[
        str | Path | None, Option('weights in any format for a network or config given by name', 'FILE')
    ] = None
    classes: Annotated[
        str | Path | Sequence | None,
        Option('class names, if the weights do not have them: a,b,c or a file with one name per line', 'NAMES|FILE'),
    ] = None
    img_size: Annotated[
        Sequence[int] | int | None,
        Option(
            'height and width of the input, or one number for both, in pixels (default: the size of a square image '
            'in the test pipeline)',
            'N',
        ),
    ] = None
    dynamic: Annotated[
        str | None,
        Option(
            'dynamic dimensions: batch (default), all (also height and width) or none',
            choices=DYNAMIC,
        ),
    ] = None
    input: Annotated[
        str,
        Option(
            'input type: float (N, 3, H, W) or uint8 (N, H, W, 3), both BGR in 0..255 (default: float)',
            choices=('float', 'uint8'),
        ),
    ] = 'float'
    precision: Annotated[
        str,
        Option(
            'precision of weights and computation; bf16 is for OpenVINO on a processor that computes in bfloat16 '
            '(default: fp32)',
            choices=PRECISIONS,
        ),
    ] = 'fp32'
    data: Annotated[
        str | Path | None,
        Option(
            'folder of a data set, whose validation images are used for the check and for int8 (default: drawn images)',
            'PATH',
        ),
    ] = None
    max_loss: Annotated[
        float,
        Option(
            'maximum loss of AP by int8 or bf16, or by fp16 if detections differ (default: 0.01)',
            'AP',
            minimum=0,
            maximum=1,
        ),
    ] = 0.01
    score_thr: Annotated[
        float | None,
        Option('score threshold of form nms (default: that of the config)', 'S', minimum=0, maximum=1),
    ] = None
    layout: Annotated[
        str,
        Option(
            'layout of the outputs of form nms: plain; tensorrt (32-bit integers, like its EfficientNMS); deepstream '
            '(one tensor (N, K, 6)) (default: plain)',
            choices=LAYOUTS,
        ),
    ] = 'plain'
    mish: Annotated[
        str | None,
        Option(
            'Mish as a quotient of polynomials of exp(x), which ONNX Runtime computes in half the time (default for '
            'ONNX files), or as its own operator, which is faster in OpenVINO and PyTorch (their default)',
            choices=('fast', 'exact'),
        ),
    ] = None

    web: Annotated[
        str | Path | None,
        Option(
            'create this folder with a page that detects in the browser, the model and onnxruntime-web (form nms, or '
            'decoded if the NMS has no operator)',
            'DIR',
        ),
    ] = None
    ort_web: Annotated[
        str | Path | None,
        Option('folder of onnxruntime-web to copy from for web (default: npm install in a temporary folder)',
               'FOLDER'),
    ] = None  # fmt: skip
    triton: Annotated[
        str | Path | None,
        Option("add the model to this model repository of NVIDIA's Triton: config.pbtxt and 1/model.onnx",
               'DIR'),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device is not None:
            raise UsageError(f'device={self.device}: exports run and are checked on the CPU; omit the option')
        self._check_folders()
        if self.mish is None:
            object.__setattr__(self, 'mish', 'fast' if self.to == 'onnx' else 'exact')
        size = self.img_size
        if size is not None:
            sides = (size,) * 2 if isinstance(size, int) else tuple(size)
            sides = sides * 2 if len(sides) == 1 else sides
            if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) for side in sides):
                raise UsageError(f'img_size={size!r}: must be one integer, or height and width')
            if min(sides) < 1:
                raise UsageError(f'img_size={size!r}: each side must be at least 1 pixel')
            object.__setattr__(self, 'img_size', sides)
        if self.precision != 'fp32' and self.to == 'torch-export':
            raise UsageError(
                f'precision={self.precision} needs to=onnx or to=openvino; to=torch-export writes only fp32'
            )
        if self.precision == 'bf16' and self.to != 'openvino':
            raise UsageError(f'precision=bf16 needs to=openvino; with to={self.to}, use fp16')
        if self.precision in JUDGED_BY_AP and self.data is None:
            measured = 'activation ranges and AP are' if self.precision == 'int8' else 'AP is'
            raise UsageError(f'precision={self.precision} needs data=PATH: {measured} measured on its images')

    def _check_folders(self) -> None:
        """Reject options that conflict with ``web`` and ``triton``.

        Raises:
            UsageError: there is such an option; the message gives it.
        """
        if self.ort_web is not None and self.web is None:
            raise UsageError(f'ort_web={self.ort_web} can only be used with web=DIR')
        if self.web is not None and self.triton is not None:
            raise UsageError(f'web={self.web} and triton={self.triton}: only one of them can be used at a time')
        for name, folder in (('web', self.web), ('triton', self.triton)):
            if folder is None:
                continue
            if self.to != 'onnx':
                raise UsageError(f'{name}={folder} needs an ONNX file; it cannot be used with to={self.to}')
            if self.out is not None:
                raise UsageError(f'{name}={folder} determines the output file; omit out={self.out}')
        if self.web is not None and self.form not in (None, 'nms', 'decoded'):
            raise UsageError(f'web={self.web}: the page supports the forms nms and decoded, not form={self.form}')
        if self.web is not None and self.layout != 'plain':
            raise UsageError(f'web={self.web}: the page supports layout=plain, not {self.layout}')
