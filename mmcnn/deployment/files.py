"""The files of an export: ONNX, OpenVINO, and PyTorch's exported programs."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from mmcnn.deployment import deformable
from mmcnn.deployment.half import in_half
from mmcnn.deployment.operators import translations
from mmcnn.deployment.plan import QUANTIZERS, Plan
from mmcnn.errors import DependencyError, ExportError
from mmcnn.runs.causes import interrupt_behind
from mmcnn.runtime.metadata import KEY, Metadata

#: Version of the operators; supported by ONNX Runtime 1.14 (2023), TensorRT 10 and OpenVINO 2024.
OPSET = 18
#: The packages that each kind of file needs, and the extra of mmcnn that installs them.
NEEDED = {
    'onnx': (('onnx', 'onnxscript', 'onnxruntime'), 'export'),
    'openvino': (('onnx', 'onnxscript', 'onnxruntime', 'openvino'), 'export,openvino'),
    'torch-export': ((), ''),
}
#: Name of the metadata entry in a file of PyTorch.
EXTRA_FILE = f'{KEY}.json'


def check_packages(to: str, precision: str = 'fp32') -> None:
    """Raise DependencyError if a package that the kind of file needs is missing."""
    packages, extra = NEEDED[to]
    for name in (*packages, QUANTIZERS[to]) if precision == 'int8' else packages:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise DependencyError(f"to={to} needs the package {name}: pip install 'mmcnn[{extra}]'") from error


def write(plan: Plan, path: Path, metadata: Metadata) -> None:
    """Write a plan's file, in float32, or in float16 if that is its precision.

    Raises:
        ExportError: PyTorch cannot export the network.
    """
    if plan.options.to == 'torch-export':
        # It raises errors of many types, some of them private.
        program = _traced(plan, lambda shapes: torch.export.export(plan.module, plan.example(), dynamic_shapes=shapes),
                          Exception)  # fmt: skip
        torch.export.save(program, path, extra_files={EXTRA_FILE: metadata.to_json()})
        return
    onnx_path = path.with_suffix('.onnx')
    write_onnx(plan, onnx_path, metadata)
    if plan.options.to == 'openvino':
        write_openvino(onnx_path, path, metadata)
        onnx_path.unlink()


def write_onnx(plan: Plan, path: Path, metadata: Metadata) -> None:
    """Write an ONNX file with operators of ONNX's own domain only.

    Raises:
        ExportError: PyTorch cannot export the network, or the file is not valid.
    """
    import onnx

    model = _onnx_program(plan).model_proto
    keep_metadata(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f'the file of {plan.found.name} would not be valid: {error}') from error
    onnx.save(model, path)


def _onnx_program(plan: Plan) -> torch.onnx.ONNXProgram:
    # For OpenVINO only the weights are stored in half precision; its runtime chooses the precision of the computation.
    module = in_half(plan.module) if plan.options.precision == 'fp16' and plan.options.to == 'onnx' else plan.module
    return _traced(
        plan,
        lambda shapes: torch.onnx.export(
            module,
            plan.example(),
            dynamo=True,
            opset_version=deformable.OPSET if deformable.has_deform_conv(module) else OPSET,
            input_names=plan.input_names,
            output_names=plan.output_names,
            dynamic_shapes=shapes,
            custom_translation_table={**translations(), **deformable.translations()},
            external_data=False,
            verbose=False,
        ),
        torch.onnx.OnnxExporterError,
    )


def _traced(plan: Plan, trace: Callable[[Any], Any], failures: type[Exception]) -> Any:
    """Return the result of ``trace`` for the dynamic shapes of a plan; if PyTorch cannot prove them, use unproven ones.

    Raises:
        ExportError: it raises one of the ``failures``.
    """
    failure = None
    for proven in (True, False) if plan.dynamic == 'all' else (True,):
        try:
            with _quiet(), torch.no_grad():
                return trace(plan.dynamic_shapes(proven))
        except failures as error:
            if (interrupt := interrupt_behind(error)) is not None:
                raise interrupt from None
            failure = error
    reason = str(failure.__cause__ or failure).strip().splitlines()[0]
    raise ExportError(f'{plan.found.name} cannot be exported by PyTorch {torch.__version__}: {reason}') from failure


def keep_metadata(model, metadata: Metadata) -> None:
    """Put the metadata into an ONNX model; tools that rewrite models sometimes lose it."""
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: metadata.to_json()})


def write_openvino(source: Path, path: Path, metadata: Metadata) -> None:
    """Convert an ONNX file; the weights are written next to ``path``, in a .bin file of the same name."""
    import openvino

    model = openvino.convert_model(source)
    model.set_rt_info(metadata.to_json(), ['model_info', KEY])
    openvino.save_model(model, path, compress_to_fp16=metadata.precision in ('fp16', 'bf16'))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the messages of PyTorch's exporter, and of the package that writes its graphs."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action='ignore'):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
