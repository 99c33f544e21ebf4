"""Images per second of a detector on a folder: the network alone, with pre- and post-processing, and MMDetection's."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mmcnn.benchmarks.comparison import Comparison, Say
from mmcnn.benchmarks.loading import write_checkpoint
from mmcnn.benchmarks.options import InferBenchmarkOptions
from mmcnn.benchmarks.pipeline import data_folder
from mmcnn.benchmarks.programs import other_programs, rate_of_marks
from mmcnn.benchmarks.train import YOLOX, multiply_adds
from mmcnn.benchmarks.wired import wired_config
from mmcnn.compat.onednn import cpu_features
from mmcnn.compat.packaged_configs import packaged_config
from mmcnn.inference.detector import Detector
from mmcnn.inference.images import read_image
from mmcnn.inference.sources import Sources, find_sources
from mmcnn.interleaved import in_turn
from mmcnn.models.costs import measure as measure_cost
from mmcnn.models.wiring import set_num_classes
from mmcnn.runs.infer import write
from mmcnn.runs.infer_files import InferFiles, plan_files
from mmcnn.silence import silenced

ALONE, STREAM, FILES = 'network alone', 'Detector.stream', 'stream and files'
#: Only on a processor with instructions for it.
BF16 = f'{ALONE}, bf16'
PEER = 'MMDetection YOLOX-tiny'


def measure(options: InferBenchmarkOptions, say: Say) -> list[Comparison]:
    """Measure wall time, as images per second; all sides use the same files.

    MMDetection's YOLOX-tiny is another network, on square canvases: its rate is converted to that of a network with
    our multiply-adds for an image of 640 x 480 pixels. ``inference_detector`` processes images one by one, whatever our
    batch size. Other programs are started anew in each round, and their start is not counted.

    Raises:
        UsageError: the command of another program cannot be parsed or run, or it fails; or its name is taken.
    """
    others = other_programs(options.peers, (ALONE, STREAM, FILES, BF16, PEER))
    with data_folder(options.data) as data, tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        detector = _detector(options, folder / 'model.pth')
        sources = Sources(find_sources(data.root).sources[: options.samples])
        paths = [source.path for source in sources.sources]
        sides: dict[str, Callable[[], object]] = {
            ALONE: _alone(detector, paths, options.batch_size),
            STREAM: lambda: sum(1 for _ in detector.stream(sources, options.batch_size)),
            FILES: lambda: _with_files(detector, sources, folder / 'found', options.batch_size),
        }
        theirs, scale = _mmdetection(options, detector, say)
        if cpu_features():
            sides[BF16] = _alone(_detector(options, folder / 'mixed.pth', amp='bf16'), paths, options.batch_size)
        sides[PEER] = lambda: theirs([str(path) for path in paths])
        rates = {name: _rate(call, len(paths) * (scale if name == PEER else 1)) for name, call in sides.items()}
        for name, command in others.items():
            rates[name] = partial(rate_of_marks, name, command, options.image_pattern, folder)
        figures = in_turn(rates, options.runs)
    ours = {name: figures[name] for name in (ALONE, STREAM, FILES)}
    peers = [PEER, *others]
    beside = {name: figures[name] for name in (STREAM, FILES, *peers)}
    compared = [
        Comparison(options.config, 'images/s', ours, frozenset([ALONE]), more_is_better=True),
        Comparison(f'{options.config}, peer', 'images/s', beside, frozenset(peers), more_is_better=True),
    ]
    if BF16 in figures:
        both = {name: figures[name] for name in (BF16, ALONE)}
        compared.append(
            Comparison(f'{options.config}, precision', 'images/s', both, frozenset([ALONE]), more_is_better=True)
        )
    return compared


def _detector(options: InferBenchmarkOptions, path: Path, amp: str | None = None) -> Detector:
    cfg = wired_config(options)
    set_num_classes(cfg.model, 2)
    write_checkpoint(cfg, path)
    return Detector(path, cfg, device='cpu', amp=amp)


def _alone(detector: Detector, paths: Sequence[Path], batch_size: int) -> Callable[[], object]:
    """Return backbone, neck and head of the network on images in memory, without decoding, NMS and files."""
    images = [read_image(path) for path in paths[:batch_size]]
    batch = detector.prepare(images)['inputs']
    batches, rest = divmod(len(paths), batch_size)

    def run() -> None:
        with torch.no_grad():
            for _ in range(batches):
                detector.model(batch, mode='tensor')
            if rest:
                detector.model(batch[:rest], mode='tensor')

    return run


def _with_files(detector: Detector, sources: Sources, folder: Path, batch_size: int) -> None:
    """Do what ``mmcnn infer FOLDER`` does once the detector is loaded."""
    shutil.rmtree(folder, ignore_errors=True)
    with InferFiles(folder, plan_files(sources.sources, folder, ()), detector.classes, ()) as files:
        write(detector.stream(sources, batch_size), sources, files)


def _mmdetection(options: InferBenchmarkOptions, detector: Detector, say: Say) -> tuple[Callable, float]:
    """Return MMDetection's detector on a list of files, and its multiply-adds as a multiple of ours."""
    from mmdet.apis import inference_detector, init_detector

    cfg = Config.fromfile(packaged_config(YOLOX))
    inputs = detector.prepare([np.zeros((480, 640, 3), np.uint8)])['inputs']
    side = max(inputs.shape[-2:])
    for step in cfg.test_pipeline:
        if step.type == 'Resize':
            step.scale = (side, side)
    cfg.test_dataloader.dataset.pipeline = cfg.test_pipeline
    model = init_detector(cfg, device='cpu', palette='random')
    with silenced():  # MMEngine logs each tensor
        model.init_weights()  # like ours
    with torch.no_grad():
        scale = multiply_adds(cfg, side) / measure_cost(detector.model, torch.zeros_like(inputs))[0].multiply_adds
    say(f'YOLOX-tiny has {scale:.2f} times the multiply-adds of {options.config}: its rate is multiplied by that')

    def run(paths: list[str]) -> None:
        for start in range(0, len(paths), options.batch_size):
            inference_detector(model, paths[start : start + options.batch_size])

    return run, scale


def _rate(call: Callable[[], object], images: float) -> Callable[[], float]:
    def measured() -> float:
        start = time.perf_counter()
        call()
        return images / (time.perf_counter() - start)

    return measured
