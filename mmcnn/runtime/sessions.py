"""Sessions that run an exported file: ONNX Runtime or OpenVINO's own runtime, behind one interface."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmcnn.errors import CheckpointError, DependencyError, UsageError
from mmcnn.runtime.metadata import KEY, precision_of

#: Short names of ONNX Runtime's providers; 'openvino' is OpenVINO's own runtime, which reads both kinds of files.
PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider', 'tensorrt': 'TensorrtExecutionProvider'}
OPENVINO = 'openvino'
#: Names of the inputs: the images, and in some files the size of the image on the canvas.
IMAGES, IMAGE_SIZE = 'images', 'im_size'

Shape = tuple[int | None, ...]  # None: any number


class Session(Protocol):
    """A file that is ready to run.

    Attributes:
        metadata: the metadata of the file as text; None: there are none.
        inputs: NumPy's name of the type, and the shape, of each input by name.
        outputs: the shape of each output, in order.
        runtime: the runtime, in words.
    """

    runtime: str
    metadata: str | None
    inputs: dict[str, tuple[str, Shape]]
    outputs: list[Shape]

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run the network and return its outputs, in order."""
        ...


def open_session(path: Path, provider: str | None, threads: int | None) -> Session:
    """Load a file.

    Args:
        path: an ONNX file, or the .xml of OpenVINO's format with its .bin beside it.
        provider: 'cpu', 'cuda', 'tensorrt', 'openvino' or the full name of a provider of ONNX Runtime; None: the CPU.
        threads: number of threads for an operator; None: the number of cores.

    Raises:
        CheckpointError: there is no such file, or it cannot be read.
        UsageError: the provider is not available; the message lists those that are.
        DependencyError: the package that reads the file is not installed.
    """
    if not path.is_file():
        raise CheckpointError(
            f'{path} is a folder, not an exported file' if path.is_dir() else f'there is no file {path}'
        )
    if not path.stat().st_size:
        raise CheckpointError(f'{path} is empty')
    if threads is not None and threads < 1:
        raise UsageError(f'threads={threads}: the value must be at least 1')
    if path.suffix.lower() == '.xml':
        if provider not in (None, 'cpu', OPENVINO):
            raise UsageError(
                f'provider={provider!r}: {path.name} is an OpenVINO file, which runs on the CPU: omit the option'
            )
        return _OpenVINO(path, threads)
    if provider == OPENVINO:
        return _OpenVINO(path, threads)
    return _OnnxRuntime(path, provider, threads)


class _OnnxRuntime:
    def __init__(self, path: Path, provider: str | None, threads: int | None) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise DependencyError('reading ONNX files needs another package: pip install onnxruntime') from error
        name = PROVIDERS.get(provider or 'cpu', provider)
        available = onnxruntime.get_available_providers()
        if name not in available:
            short = [each for each, long in PROVIDERS.items() if long in available]
            short += [OPENVINO] if importlib.util.find_spec(OPENVINO) else []
            raise UsageError(f'provider={provider!r} is not available here; available are {", ".join(short)} and, by '
                             f'full name, {", ".join(available)}')  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are also raised as exceptions
        options.intra_op_num_threads = threads or 0
        # No fallback: it would print several lines and run on the CPU although another provider was requested.
        names = list(dict.fromkeys([name, PROVIDERS['cpu']]))
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=names, enable_fallback=0)
        except Exception as error:  # the classes of its errors are in a private module
            raise _unreadable(path, 'an ONNX file', error) from error
        if (first := self._session.get_providers()[0]) != name:
            raise UsageError(f'provider={provider!r} fails to start, and {first} would be used instead: its '
                             'libraries or its device are missing')  # fmt: skip
        self.runtime = f'ONNX Runtime {onnxruntime.__version__}, {name}'
        self.metadata = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        self.inputs = {each.name: (_numpy_type(each.type), _shape(each.shape)) for each in self._session.get_inputs()}
        self.outputs = [_shape(each.shape) for each in self._session.get_outputs()]

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(None, feeds)


@functools.cache
def openvino_core() -> Any:
    """Return the only Core of OpenVINO in this process, which is never freed.

    On processors with AMX, its CPU plugin installs its own signal stack. A Core that ends restores the stack of the
    previous Core, which may be freed by then, and the next signal that Python handles ends the process (OpenVINO
    2026.4.1).
    """
    import openvino

    return openvino.Core()


def openvino_has_bfloat16() -> bool:
    """Return whether OpenVINO computes in bfloat16 on this processor."""
    return 'BF16' in openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


class _OpenVINO:
    def __init__(self, path: Path, threads: int | None) -> None:
        try:
            openvino = importlib.import_module(OPENVINO)
        except ModuleNotFoundError as error:
            raise DependencyError(f'reading {path.name} needs another package: pip install openvino') from error
        config: dict[str, Any] = {}
        if threads is not None:
            config['INFERENCE_NUM_THREADS'] = threads
        core = openvino_core()
        try:
            model = core.read_model(path)
            places = ['model_info', KEY], ['framework', KEY]  # the second one holds an ONNX file's
            found = next((place for place in places if model.has_rt_info(place)), None)
            self.metadata = found and model.get_rt_info(found).astype(str)
            # By default every file is computed in bfloat16 if the processor can, which changes detections.
            in_bfloat16 = precision_of(self.metadata) == 'bf16' and openvino_has_bfloat16()
            config['INFERENCE_PRECISION_HINT'] = 'bf16' if in_bfloat16 else 'f32'
            self._model = core.compile_model(model, 'CPU', config)
        except Exception as error:  # a RuntimeError, of several lines
            kind = "OpenVINO's" if path.suffix.lower() == '.xml' else 'an ONNX file'
            raise _unreadable(path, kind, error) from error
        self.runtime = f'OpenVINO {openvino.__version__.partition("-")[0]}'
        if in_bfloat16:
            self.runtime += ', bfloat16'
        self.inputs = {
            _input_name(each.names): (each.get_element_type().to_dtype().name, _shape(each.get_partial_shape()))
            for each in self._model.inputs
        }
        self.outputs = [_shape(each.get_partial_shape()) for each in self._model.outputs]

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return list(self._model(feeds).values())


def _shape(shape: Any) -> Shape:
    """Return a shape from ONNX Runtime, which names dynamic sizes, or from OpenVINO, where they are not static."""
    sides = [each.get_length() if getattr(each, 'is_static', False) else each for each in shape]
    return tuple(side if isinstance(side, int) else None for side in sides)


def _input_name(names: set[str]) -> str:
    """Return one of OpenVINO's names of an input, which also include those of plain copies."""
    return next((name for name in (IMAGES, IMAGE_SIZE) if name in names), ' or '.join(sorted(names)))


def _numpy_type(name: str) -> str:
    """Return NumPy's name of a type: 'float32' for ``tensor(float)``, 'uint8' for ``tensor(uint8)``."""
    name = name.removeprefix('tensor(').removesuffix(')')
    return {'float': 'float32', 'double': 'float64'}.get(name, name)


def _unreadable(path: Path, kind: str, error: Exception) -> CheckpointError:
    reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1:] or [type(error).__name__]
    return CheckpointError(
        f'{path} cannot be read as {kind}: it is damaged, truncated or of another format ({reason[0][:200]})'
    )
