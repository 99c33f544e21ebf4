"""``mmcnn.export``: a network to a file, which is checked against PyTorch before it is put in place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mmcnn.datasets.check.detector import check_data
from mmcnn.deployment.accuracy import Accuracy, AccuracyCheck
from mmcnn.deployment.check import Checked, check_export
from mmcnn.deployment.files import check_packages, write
from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import JUDGED_BY_AP, SUFFIXES, ExportOptions
from mmcnn.deployment.plan import Plan, plan_export
from mmcnn.deployment.quantize import calibration_images, quantize
from mmcnn.deployment.random_weights import spread
from mmcnn.deployment.triton import check_labels, write_config
from mmcnn.deployment.web import onnxruntime_web, write_page
from mmcnn.errors import DataError, ExportError, UsageError
from mmcnn.inference.images import read_image
from mmcnn.runs.api import takes
from mmcnn.runs.causes import known_causes, terminated
from mmcnn.runs.data import demo_data
from mmcnn.runs.drawn_split import draw_of
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runtime.metadata import Metadata
from mmcnn.weights.own_modules import import_modules

#: Name of the model file in the folders of ``web`` and ``triton``.
MODEL = 'model.onnx'
#: Number of images in the check. Every second one is cropped to get several aspect ratios.
CHECK_IMAGES = 8


@dataclass(frozen=True)
class ExportResult:
    """The result of an export.

    Attributes:
        path: the file; for OpenVINO the .xml, with the weights in a .bin beside it.
        size: size of the file or files in bytes.
        metadata: the metadata of the file.
        checked: the result of the check.
        accuracy: AP before and after, for bf16 and int8, and for fp16 if its detections differ; None: it was not
            needed.
    """

    path: Path
    size: int
    metadata: Metadata
    checked: Checked
    accuracy: Accuracy | None = None


@takes(ExportOptions, 'source')
def export(options: ExportOptions) -> ExportResult:
    """Write a network as ``mmcnn export`` does: ONNX, OpenVINO's format or one of PyTorch's exported programs.

    Example: ``mmcnn.export('best.pth', form='nms').path``. The first argument is a checkpoint, published weights, the
    name of a network or config, or a loaded config. The file is compared with PyTorch before it is put in place.

    Raises:
        MmcnnError: an option, the weights or the data are invalid, or the file's output would differ from PyTorch's;
            see :mod:`mmcnn.errors`.
    """
    return run_export(options)


def run_export(options: ExportOptions, say: Callable[[str], object] = print) -> ExportResult:
    """Run an export from an options object; :func:`mmcnn.export` builds one from keyword arguments.

    Raises:
        UsageError: an option is invalid, or the file exists.
        DependencyError: a package is missing.
        CheckpointError: the weights cannot be used.
        ExportError: PyTorch cannot export the network, or the file's output differs from PyTorch's or costs more AP
            than ``max_loss``; no file is written.
        DataError: the images of ``data`` cannot be used.
        StoppedError: SIGTERM stopped the export; nothing is left behind.
    """
    check_packages(options.to, options.precision)
    with kept_process_state(), known_causes(), terminated():
        import_modules(options.imports)
        base, file = _target(options)
        found = exportable(options, say)
        plan = plan_export(found, options)
        if options.triton is not None:
            check_labels(found.classes)
        library = onnxruntime_web(options.ort_web) if options.web is not None else None
        more = images_to_check(options)
        images = list(islice(more, CHECK_IMAGES))
        if found.checkpoint is None:
            spread(found.network, plan.canvases(images))
        accuracy_of, accuracy = None, None
        if options.precision in JUDGED_BY_AP:
            accuracy_of = AccuracyCheck(plan, say)
        if options.precision == 'int8':
            calibration, sentence = calibration_images(options)
            say(f'note: {sentence}')
        metadata = plan.metadata()
        for sentence in [*plan.padding, *metadata.dropped]:
            say(f'note: {sentence}')
        # The file is put in place only after the check, so that any file that exists can be used.
        with tempfile.TemporaryDirectory(dir=_existing(base), prefix=f'.{file.stem}-') as folder:
            path = Path(folder) / file
            path.parent.mkdir(exist_ok=True)
            write(plan, path, metadata)
            if options.precision == 'int8':
                quantize(plan, path, metadata, calibration)
            checked = check_export(plan, path, images, more)
            if checked.failure is not None:
                say(f'note: {checked.failure}; AP on the images of data decides')
                accuracy_of = _accuracy_check(plan, checked.failure, say)
            if accuracy_of is not None:
                accuracy = accuracy_of(path)
            size = sum(each.stat().st_size for each in path.parent.iterdir())
            if library is not None:
                write_page(path.parent, metadata, library)
            if options.triton is not None:
                write_config(path, base.name, metadata)
            _target(options)  # it may have been created in the meantime
            base.mkdir(parents=True, exist_ok=True)
            for each in sorted(Path(folder).iterdir(), key=lambda each: each.name == file.parts[0]):
                os.replace(each, base / each.name)
    return ExportResult(base / file, size, metadata, checked, accuracy)


def _accuracy_check(plan: Plan, failure: str, say: Callable[[str], object]) -> AccuracyCheck:
    """Return the measurement of AP that decides whether a failure counts.

    Raises:
        ExportError: AP cannot be measured, so the failure stands.
    """
    try:
        return AccuracyCheck(plan, say)
    except (UsageError, DataError, ExportError) as error:
        raise ExportError(f'{failure}; AP, which decides, cannot be measured: {error}') from error


def images_to_check(options: ExportOptions) -> Iterator[np.ndarray]:
    """Yield images (H, W, 3) uint8 BGR of the validation split of ``data``, or synthetic ones, each once.

    The first :data:`CHECK_IMAGES` are spread over the split.

    Raises:
        DataError: there are none.
    """
    data = options.data
    folder = demo_data() if data in (None, 'demo') else data
    split = check_data(folder, ('val',), decode=False, draw=draw_of(options)).splits[-1]
    entries = split.coco['images']
    if not entries:
        raise DataError(f'{split.title} has no images to check the export with')
    step = max(len(entries) // CHECK_IMAGES, 1)
    first = range(0, len(entries), step)[:CHECK_IMAGES]
    for i, number in enumerate((*first, *(n for n in range(len(entries)) if n not in first))):
        image = read_image(split.image_path(entries[number]))
        yield image[: max(image.shape[0] * 2 // 3, 1)] if i % 2 else image


def _target(options: ExportOptions) -> tuple[Path, Path]:
    """Return the folder for the files, and the main file in it.

    Raises:
        UsageError: it exists, has another suffix, or its folder does not exist.
    """
    suffix = SUFFIXES[options.to]
    name = Path(str(options.source)).stem if isinstance(options.source, str | Path) else 'network'
    if options.web is not None or options.triton is not None:
        base = Path(options.triton).expanduser() / name if options.web is None else Path(options.web).expanduser()
        if base.is_file() or (base.is_dir() and any(base.iterdir())):
            raise UsageError(f'{base} exists and would be overwritten; choose another folder')
        file = Path(MODEL if options.web is not None else f'1/{MODEL}')
        target, folder = base / file, _existing(base)
    else:
        target = Path(f'{name}{suffix}') if options.out is None else Path(options.out).expanduser()
        if target.suffix != suffix:
            raise UsageError(f'out={target}: a file for to={options.to} must end in {suffix}')
        for each in (target, target.with_suffix('.bin')) if options.to == 'openvino' else (target,):
            if each.exists():
                raise UsageError(f'out={each} exists and would be overwritten; choose another name')
        base, file = target.parent, Path(target.name)
        folder = base
        if not folder.is_dir():
            raise UsageError(f'out={target}: the folder {folder} does not exist')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f'{target} cannot be written: the folder {folder} is not writable')
    return base, file


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest parent that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
