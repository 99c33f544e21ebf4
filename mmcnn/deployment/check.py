"""Every export against PyTorch, before it is said to be done."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope

from mmcnn.deployment.files import EXTRA_FILE
from mmcnn.deployment.plan import EXAMPLE_BATCH, Plan
from mmcnn.deployment.reference import prepared, reference
from mmcnn.deployment.timing import time_ratio
from mmcnn.errors import ExportError
from mmcnn.inference.detections import Detections
from mmcnn.inference.detector import test_pipeline
from mmcnn.runtime.detector import Detector
from mmcnn.runtime.metadata import DETECTION
from mmcnn.runtime.sessions import Session, open_session

#: Detections from this score on are looked at by themselves.
SURE = 0.25
#: Fewer compared detections say nothing.
FEWEST = 20


@dataclass(frozen=True)
class Tolerance:
    """How much the detections of a file may differ.

    Attributes:
        box: in pixels of the input; or ``side`` times the longer side of the box, where that is more: float32 rounds by
            shares. score: of a detection.
        sure: share of the detections from :data:`SURE` on that have to be found. every: the same of all.
        output: of the values of an output, where these are no detections, as a share of the largest one.
    """

    box: float
    score: float
    sure: float = 1.0
    every: float = 0.999
    output: float = 5e-6
    side: float = 1e-5

    def allows(self, matches: Matches) -> bool:
        """Whether a file's detections are those of PyTorch: as good as all are found, and as good as none besides."""
        return (
            matches.found_sure >= self.sure * matches.sure
            and matches.found >= self.every * matches.every
            and matches.more_sure <= (1 - self.sure) * matches.sure
            and matches.more <= (1 - self.every) * matches.every
        )


#: By precision. Those of float16 were found on detectors trained on bccd and cards at 160 to 320 px: 99 % of the boxes
#: within 0.2 px and of the scores within 0.001, and under 1 % of the detections others, since a rounding decides which
#: one stays of two boxes that are about as good as each other. Their maps were within 0.001 of the largest value.
TOLERANCES = {'fp32': Tolerance(1e-3, 1e-5), 'fp16': Tolerance(0.5, 2e-3, sure=0.98, every=0.99, output=1e-2)}
#: Random weights let a rounding grow from layer to layer, PyTorch's own as well: ten times that of trained ones. And
#: thousands of boxes are about as good as each other, so that a rounding decides which of them are candidates. Maps in
#: float16 of six families were within 0.001 to 0.05; an overflow is infinite.
RANDOM = {
    'fp32': Tolerance(1e-2, 1e-4, sure=0.99, every=0.99, output=5e-5),
    'fp16': Tolerance(5.0, 2e-2, sure=0.9, every=0.9, output=0.1),
}


def tolerance_of(plan: Plan) -> Tolerance:
    """How much a detection of a file may differ from PyTorch's."""
    return (RANDOM if plan.found.checkpoint is None else TOLERANCES)[plan.options.precision]


@dataclass(frozen=True)
class Matches:
    """Detections of PyTorch, those of them that a file finds, and those that only the file finds.

    Attributes:
        sure, found_sure, more_sure: from :data:`SURE` on.
        every, found, more: at any score.
        box: largest difference in pixels of those that were found. score: the same of scores.
    """

    sure: int
    found_sure: int
    more_sure: int
    every: int
    found: int
    more: int
    box: float
    score: float

    def __str__(self) -> str:
        more = f', and {self.more:,} are in the file only' if self.more else ''
        return (
            f'{self.found_sure:,} of {self.sure:,} detections from {SURE} on and {self.found:,} of {self.every:,} in '
            f'all are the same{more}; largest difference of a box {self.box:.2g} px, of a score {self.score:.2g}'
        )

    def worse(self, other: Matches) -> Matches:
        """The worse numbers of two comparisons of the same detections of PyTorch."""
        found = {name: min(getattr(self, name), getattr(other, name)) for name in ('found_sure', 'found')}
        most = {name: max(getattr(self, name), getattr(other, name)) for name in ('more_sure', 'more', 'box', 'score')}
        return replace(self, **found, **most)


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
    of_boxes = plan.found.task == DETECTION and plan.form != 'raw' and path.suffix != '.pt2'
    if of_boxes and plan.options.img_size is None:
        _compare_fit(plan, images)
    if plan.options.precision == 'int8':
        # By AP (accuracy.py): in steps of 8 bits no detection is the same.
        if not np.isfinite(largest):
            raise ExportError('the file gives values that are not finite')
        return Checked(f'{len(images)} images; {cases}: shapes and finite values', time_ratio(plan, session))
    if of_boxes:
        matches = compare_detections(plan, path, images)
        if matches.every < FEWEST:
            raise ExportError(
                f'not checked: PyTorch has {matches.every} detections on {len(images)} images to compare, and {FEWEST} '
                'are the least that says anything; data=PATH takes images that the detector knows'
                + (f', score_thr a lower threshold than {_threshold(plan):g}' if plan.form == 'nms' else '')
            )
        if not tolerance_of(plan).allows(matches):
            raise ExportError(f'the file does not give what PyTorch gives: {matches}')
    elif largest > (most := tolerance_of(plan).output):
        raise ExportError(
            f'the file does not give what PyTorch gives: outputs differ by {largest:.2g} of the largest value, more '
            f'than {most:g}'
        )
    words = [f'{len(images)} images', cases]
    words.append(str(matches) if matches else f'largest difference of an output {largest:.2g} of its largest value')
    return Checked('; '.join(words), time_ratio(plan, session), matches)


def compare_detections(plan: Plan, path: Path, images: Sequence[np.ndarray]) -> Matches:
    """Final detections of a file, of one image after the other and of all at once, against PyTorch's."""
    with warnings.catch_warnings(action='ignore'):  # of form nms: that it has a threshold of its own
        detector = Detector(path, score_thr=0.0, threads=1)
    theirs = [reference(plan, image) for image in images]
    rounds = [[detector(image) for image in images]]
    if plan.batch is None:
        rounds.append(detector.batch(images))
    scales = [plan.fit.apply(image).scale_factor for image in images]
    cfg = detector.metadata.test_cfg
    settings = tolerance_of(plan), cfg['score_thr'], cfg['max_per_img']
    return reduce(Matches.worse, (match(theirs, ours, scales, *settings) for ours in rounds))


def match(
    theirs: Sequence[Detections],
    ours: Sequence[Detections],
    scales: Sequence[tuple[float, float]],
    tolerance: Tolerance,
    score_thr: float,
    max_per_img: int,
) -> Matches:
    """Pairs detections of the same images: same class, and box and score within a tolerance, each once.

    Of the file's, those count as well that have no partner: where it does not suppress, it finds all of PyTorch's.

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
    counts, largest = np.zeros((2, 3), int), np.zeros(2)  # rows: at any score, sure; columns: theirs, found, more
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
            most = max(tolerance.box, tolerance.side * ((box[2:] - box[:2]) * scale).max())
            fits = np.flatnonzero(
                free & (got.labels == label) & (boxes <= most) & (scores <= tolerance.score)
            )  # fmt: skip
            if len(fits):
                best = fits[np.argmin(boxes[fits])]
                free[best] = False
                counts[rows, 1] += 1
                largest = np.maximum(largest, (boxes[best], scores[best]))
        # What is left over of the file's; one of PyTorch's that was left aside has at most this score there.
        more = got.scores[free & (got.scores > least + tolerance.score)]
        counts[:, 2] += len(more), (more >= SURE).sum()
    (every, found, more), (sure, found_sure, more_sure) = counts.tolist()
    return Matches(sure, found_sure, more_sure, every, found, more, *largest.tolist())


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
            for a, b in zip(wanted, session.run(plan.feeds(inputs)), strict=True):
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
        given = prepared(network, plan.found.fit.apply(image, np.float32))['inputs']
        if not torch.equal(wanted, given):
            raise ExportError(
                f'the runner would make other images than the test pipeline of {plan.found.name}: '
                f'{tuple(given.shape)} in place of {tuple(wanted.shape)}'
            )


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
