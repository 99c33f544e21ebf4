"""Every export against PyTorch, before it is said to be done."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope

from mmcnn.deployment.files import EXTRA_FILE
from mmcnn.deployment.plan import EXAMPLE_BATCH, Plan
from mmcnn.errors import ExportError
from mmcnn.fit import Fitted
from mmcnn.inference.detections import Detections
from mmcnn.inference.detector import test_pipeline
from mmcnn.models.fuse import fuse
from mmcnn.runtime.detector import Detector
from mmcnn.runtime.metadata import DETECTION
from mmcnn.runtime.sessions import Session, open_session

#: Detections from this score on are looked at by themselves.
SURE = 0.25
#: Fewer compared detections say nothing.
FEWEST = 20
#: Largest difference of outputs, as a share of the largest value, in float32.
OUTPUT_TOLERANCE = 5e-6
#: Rounds of the comparison of times.
ROUNDS = 5


@dataclass(frozen=True)
class Tolerance:
    """How much the detections of a file may differ.

    Attributes:
        box: in pixels of the input. score: of a detection.
        sure: share of the detections from :data:`SURE` on that have to be found. every: the same of all.
    """

    box: float
    score: float
    sure: float = 1.0
    every: float = 0.999

    def allows(self, matches: Matches) -> bool:
        """Whether a file's detections are those of PyTorch."""
        return matches.found_sure >= self.sure * matches.sure and matches.found >= self.every * matches.every


#: By precision. Of float16 a mantissa has 11 bits, and a map of YOLO ends in a box by two products of 8 to 32 px.
TOLERANCES = {'fp32': Tolerance(1e-3, 1e-5), 'fp16': Tolerance(1.0, 1e-2)}
#: Random weights let a rounding grow from layer to layer, PyTorch's own as well: ten times that of trained ones. And
#: thousands of boxes are about as good as each other, so that a rounding decides which of them are candidates.
RANDOM = Tolerance(1e-2, 1e-4, sure=0.99, every=0.99)


def tolerance_of(plan: Plan) -> Tolerance:
    """How much a detection of a file may differ from PyTorch's."""
    is_random = plan.found.checkpoint is None and plan.options.precision == 'fp32'
    return RANDOM if is_random else TOLERANCES[plan.options.precision]


@dataclass(frozen=True)
class Matches:
    """Detections of PyTorch, and those of them that a file finds.

    Attributes:
        sure, found_sure: from :data:`SURE` on.
        every, found: at any score.
        box: largest difference in pixels of those that were found. score: the same of scores.
    """

    sure: int
    found_sure: int
    every: int
    found: int
    box: float
    score: float

    def __str__(self) -> str:
        return (
            f'{self.found_sure:,} of {self.sure:,} detections from {SURE} on and {self.found:,} of {self.every:,} in '
            f'all are the same; largest difference of a box {self.box:.2g} px, of a score {self.score:.2g}'
        )


@dataclass(frozen=True)
class Checked:
    """What the check of a file found.

    Attributes:
        summary: in words.
        time_ratio: CPU time of the file as a share of PyTorch's, folded, both on one thread, one image.
        matches: of a detector; None: of its maps, or another network.
    """

    summary: str
    time_ratio: float
    matches: Matches | None = None


def check_export(plan: Plan, path: Path, images: Sequence[np.ndarray]) -> Checked:
    """Runs a file and PyTorch on the same images.

    Args:
        plan: that the file was written by.
        path: the file.
        images: (H, W, 3) uint8 BGR, of several sizes.

    Raises:
        ExportError: they do not give the same, or too few detections to say so.
    """
    session = _ProgramSession(path, plan.input_names) if path.suffix == '.pt2' else open_session(path, None, 1)
    largest, cases = _compare_outputs(plan, session, images)
    matches = None
    if plan.found.task == DETECTION and plan.form != 'raw' and path.suffix != '.pt2':
        if plan.options.img_size is None:
            _compare_fit(plan, images)
        matches = compare_detections(plan, path, images)
        if matches.every < FEWEST:
            raise ExportError(
                f'not checked: PyTorch has {matches.every} detections on {len(images)} images to compare, and {FEWEST} '
                'are the least that says anything; data=PATH takes images that the detector knows'
                + (f', score_thr a lower threshold than {_threshold(plan):g}' if plan.form == 'nms' else '')
            )
        if not tolerance_of(plan).allows(matches):
            raise ExportError(f'the file does not give what PyTorch gives: {matches}')
    elif largest > OUTPUT_TOLERANCE and plan.options.precision == 'fp32':
        raise ExportError(
            f'the file does not give what PyTorch gives: outputs differ by {largest:.2g} of the largest value, more '
            f'than {OUTPUT_TOLERANCE:g}'
        )
    words = [f'{len(images)} images', cases]
    words.append(str(matches) if matches else f'largest difference of an output {largest:.2g} of its largest value')
    return Checked('; '.join(words), time_ratio(plan, session), matches)


def compare_detections(plan: Plan, path: Path, images: Sequence[np.ndarray]) -> Matches:
    """Final detections of a file, of one image after the other and of all at once, against PyTorch's."""
    with warnings.catch_warnings(action='ignore'):  # of form nms: that it has a threshold of its own
        detector = Detector(path, score_thr=0.0, threads=1)
    theirs = [reference(plan, image) for image in images]
    ours = [detector(image) for image in images]
    fitted = [plan.fit.apply(image) for image in images]
    if plan.batch is None:
        theirs, ours, fitted = theirs * 2, ours + detector.batch(images), fitted * 2
    cfg = detector.metadata.test_cfg
    tolerance = tolerance_of(plan)
    return match(theirs, ours, [each.scale_factor for each in fitted], tolerance, cfg['score_thr'], cfg['max_per_img'])


@torch.no_grad()
def reference(plan: Plan, image: np.ndarray) -> Detections:
    """What PyTorch finds in an image (H, W, 3) uint8 BGR, on the canvas that the runner gives it."""
    fitted = plan.fit.apply(image, np.float32)
    network = plan.found.network
    found = network(**_prepared(network, fitted), mode='predict')[0].pred_instances
    whole = (found.bboxes[:, 2:] > found.bboxes[:, :2]).all(dim=1)
    boxes, scores, labels = (found[name][whole].numpy() for name in ('bboxes', 'scores', 'labels'))
    return Detections(boxes, scores, labels, [plan.found.classes[label] for label in labels])


def match(
    theirs: Sequence[Detections],
    ours: Sequence[Detections],
    scales: Sequence[tuple[float, float]],
    tolerance: Tolerance,
    score_thr: float,
    max_per_img: int,
) -> Matches:
    """Pairs detections of the same images: same class, and box and score within a tolerance, each once.

    Left aside are detections that are there or not by chance: as good as the threshold, or as the last one of an image
    that has as many as it may have.

    Args:
        theirs: of PyTorch, of each image.
        ours: of the file.
        scales: (w, h) of each image: pixels of the input for one of the image.
        tolerance: of boxes in pixels of the input.
        score_thr: lowest score.
        max_per_img: most detections of an image.
    """
    counts, largest = np.zeros((2, 2), int), np.zeros(2)  # rows: at any score, sure; columns: theirs, found
    for wanted, got, scale in zip(theirs, ours, scales, strict=True):
        full = len(wanted) >= max_per_img
        least = (wanted.scores.min() if full else score_thr) + tolerance.score
        free = np.ones(len(got), bool)
        for box, score, label in zip(wanted.boxes, wanted.scores, wanted.labels, strict=True):
            if score <= least:
                continue
            rows = np.array([True, score >= SURE])
            counts[rows, 0] += 1
            boxes = (np.abs(got.boxes - box) * [*scale, *scale]).max(axis=1, initial=0)
            scores = np.abs(got.scores - score)
            fits = np.flatnonzero(
                free & (got.labels == label) & (boxes <= tolerance.box) & (scores <= tolerance.score)
            )  # fmt: skip
            if len(fits):
                best = fits[np.argmin(boxes[fits])]
                free[best] = False
                counts[rows, 1] += 1
                largest = np.maximum(largest, (boxes[best], scores[best]))
    (every, found), (sure, found_sure) = counts.tolist()
    return Matches(sure, found_sure, every, found, *largest.tolist())


def time_ratio(plan: Plan, session: Session) -> float:
    """CPU time of a file as a share of PyTorch's, both on one thread, one image; medians of interleaved rounds."""
    example = plan.example(1)
    feeds = _feeds(plan, example)
    network, canvas = fuse(plan.found.network), example[0].numpy()[0]
    canvas = canvas if plan.uint8 else canvas.transpose(1, 2, 0)

    def predict() -> object:
        """PyTorch's way to detections, where these are in the file, too."""
        fitted = Fitted(canvas, canvas.shape[:2], (0, 0), (1.0, 1.0), canvas.shape[:2])
        return network(**_prepared(network, fitted), mode='predict')

    times: dict[str, list[float]] = dict(torch=[], file=[])
    with one_thread(), torch.no_grad():
        as_file = predict if plan.form == 'nms' else lambda: plan.module(*example)
        runs: dict[str, Callable[[], object]] = dict(torch=as_file, file=lambda: session.run(feeds))
        for number in range(ROUNDS + 1):
            for name, run in runs.items():
                start = time.process_time()
                run()
                if number:  # the first one warms up
                    times[name].append(time.process_time() - start)
    return median(times['file']) / median(times['torch'])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _compare_outputs(plan: Plan, session: Session, images: Sequence[np.ndarray]) -> tuple[float, str]:
    """The largest difference of an output as a share of its largest value, and what was compared, in words."""
    if plan.form == 'nms':  # of equal scores another one may come first
        return 0.0, 'one by one' if plan.batch else 'one by one and together'
    sizes = [plan.size, plan.other_size] if plan.dynamic == 'all' else [plan.size]
    batches = [plan.batch] if plan.batch else [1, EXAMPLE_BATCH + 1]
    largest = 0.0
    for size in sizes:
        for batch in batches:
            inputs = plan.inputs([images[i % len(images)] for i in range(batch)], size)
            with torch.no_grad():
                wanted = plan.module(*inputs)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            for a, b in zip(wanted, session.run(_feeds(plan, inputs)), strict=True):
                if tuple(a.shape) != b.shape:
                    raise ExportError(f'the file gives an output {b.shape}, where PyTorch gives {tuple(a.shape)}')
                difference = np.abs(a.numpy() - b).max() / max(float(a.abs().max()), 1e-30)
                largest = max(largest, difference if np.isfinite(difference) else np.inf)
    shown = ' and '.join(f'{height} x {width}' for height, width in sizes)
    return float(largest), f'{shown} px in batches of {" and ".join(map(str, batches))}'


def _compare_fit(plan: Plan, images: Sequence[np.ndarray]) -> None:
    """Whether the runner gives the network the pixels that the config's test pipeline gives it."""
    network = plan.found.network
    with DefaultScope.overwrite_default_scope('mmdet'):
        pipeline = Compose(test_pipeline(plan.found.config))
    for image in images:
        sample = dict(img=image, img_id=0, img_path=None, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        packed = pipeline(sample)
        wanted = network.data_preprocessor(
            dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False
        )['inputs']
        given = _prepared(network, plan.found.fit.apply(image, np.float32))['inputs']
        if not torch.equal(wanted, given):
            raise ExportError(
                f'the runner would make other images than the test pipeline of {plan.found.name}: '
                f'{tuple(given.shape)} in place of {tuple(wanted.shape)}'
            )


def _prepared(network: torch.nn.Module, fitted: Fitted) -> dict[str, Any]:
    """An image on its canvas as a detector of MMDetection takes it."""
    corner = fitted.pad == (0, 0)
    meta = dict(
        img_shape=fitted.size if corner else fitted.image.shape[:2],
        ori_shape=fitted.original,
        scale_factor=fitted.scale_factor,
        pad_param=fitted.pad,
    )
    inputs = torch.from_numpy(np.ascontiguousarray(fitted.image.transpose(2, 0, 1)))
    return network.data_preprocessor(dict(inputs=[inputs], data_samples=[DetDataSample(metainfo=meta)]), False)


def _feeds(plan: Plan, inputs: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: each.numpy() for name, each in zip(plan.input_names, inputs, strict=True)}


def _threshold(plan: Plan) -> float:
    return plan.metadata().test_cfg['score_thr']


class _ProgramSession:
    """One of PyTorch's exported programs, as if it were read by ONNX Runtime."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        extra = {EXTRA_FILE: ''}
        self._module = torch.export.load(path, extra_files=extra).module()
        self._names = names
        self.metadata = extra[EXTRA_FILE]

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, in order."""
        with torch.no_grad():
            outputs = self._module(*(torch.from_numpy(feeds[name]) for name in self._names))
        return [each.numpy() for each in (outputs if isinstance(outputs, tuple | list) else (outputs,))]
