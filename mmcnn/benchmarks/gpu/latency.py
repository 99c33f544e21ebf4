"""Stage 5: seconds from images in memory to their detections, by batch size."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer
from mmcnn.benchmarks.gpu.recipes import RECIPES, TINY_BATCH, complete_config
from mmcnn.benchmarks.pipeline import PHOTOGRAPH
from mmcnn.deployment.random_weights import spread
from mmcnn.errors import UsageError
from mmcnn.inference.detector import Detector
from mmcnn.silence import silenced

BATCHES, TINY_BATCHES = (1, 8, 32), (1, 2)
#: Number of warm-up calls, and minimum number of measured calls.
WARM_UP, LEAST = 3, 5
#: Maximum number of calls; a median needs no more.
MOST = 100
#: Those of a GPU; only the first is measured on a CPU.
PRECISIONS = ('fp32', 'bf16', 'fp16')


def measure(circumstances: Circumstances, timer: Timer, report: Report, *, recipe: str) -> None:
    """Measure medians in milliseconds per batch: the network alone, with NMS, and from arrays to detections.

    The weights are random, with spread logits, so that NMS has as much work as possible.

    Args:
        circumstances: device.
        timer: time limit in seconds.
        report: takes the values, by precision and batch.
        recipe: a detector's key of :data:`~.recipes.RECIPES`.
    """
    timer = circumstances.timer_of_speed(timer)
    batches = TINY_BATCHES if circumstances.tiny else BATCHES
    width, height = PHOTOGRAPH
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(max(batches))]
    precisions = PRECISIONS if torch.device(circumstances.device).type == 'cuda' else PRECISIONS[:1]
    calls = [(precision, batch) for precision in precisions for batch in batches]
    detectors: dict[str, Detector] = {}
    for number, (precision, batch) in enumerate(calls):
        seconds = timer.left() / (len(calls) - number)
        try:
            if precision not in detectors:
                detectors = {precision: _detector(circumstances, recipe, precision)}
            found = _times(detectors[precision], images[:batch], seconds)
        except (RuntimeError, UsageError) as error:  # the card lacks the precision, or there is too little memory
            found = dict(failed=str(error).splitlines()[0])
        report(**{f'{precision}, batch {batch}': found})


def _times(detector: Detector, images: list[np.ndarray], seconds: float) -> dict[str, float | list[int]]:
    device = next(detector.model.parameters()).device
    with torch.no_grad():
        prepared = detector.prepare(images)
        calls = {
            'network_ms': lambda: detector.model(prepared['inputs'], mode='tensor'),
            'predict_ms': lambda: detector.model(**prepared, mode='predict'),
            'end_to_end_ms': lambda: detector.batch(images),
        }
        if hasattr(detector.model, 'roi_head'):
            del calls['network_ms']  # the next steps depend on the detections
        found = {name: round(1e3 * _median(call, seconds / len(calls), device), 3) for name, call in calls.items()}
    return dict(
        found,
        images_per_second=round(1e3 * len(images) / found['end_to_end_ms'], 1),
        input_shape=list(prepared['inputs'].shape),
    )


def _detector(circumstances: Circumstances, recipe: str, precision: str) -> Detector:
    """Return a detector with random weights, like one that is read from a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = complete_config(RECIPES[recipe], circumstances, folder, batch_size=TINY_BATCH, workers=0)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
        with silenced():  # MMEngine logs each tensor
            model.init_weights()
        spread(model, torch.randn(2, 3, 128, 128))
        classes = tuple(cfg.train_dataloader.dataset.get('dataset', cfg.train_dataloader.dataset).metainfo.classes)
        path = Path(folder, 'random.pth')
        torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))), path)
        amp = None if precision == 'fp32' else precision
        return Detector(path, cfg, device=circumstances.device, say=lambda line: None, amp=amp)


def _median(call: Callable[[], object], seconds: float, device: torch.device) -> float:
    """Return the seconds of a synchronised call."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    for number in range(WARM_UP + MOST):
        if time.perf_counter() > end and len(times) >= LEAST:
            break
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        call()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            times.append(time.perf_counter() - start)
    return statistics.median(times)
