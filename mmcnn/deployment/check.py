"""Comparison of every exported file with PyTorch before the export is reported as done."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope
from torch import Tensor

from mmcnn.deployment.files import EXTRA_FILE
from mmcnn.deployment.matching import RANDOM, TOLERANCES, Matches, Pair, Tolerance, match
from mmcnn.deployment.options import JUDGED_BY_AP
from mmcnn.deployment.plan import EXAMPLE_BATCH, Plan
from mmcnn.deployment.reference import prepared, reference
from mmcnn.deployment.rounding import in_double, no_worse, outputs_in_double
from mmcnn.deployment.timing import time_ratio
from mmcnn.errors import ExportError
from mmcnn.inference.detections import Detections
from mmcnn.inference.detector import test_pipeline
from mmcnn.runtime.detector import Detector
from mmcnn.runtime.metadata import DETECTION
from mmcnn.runtime.sessions import Session, open_session

#: Fewer compared detections are not conclusive.
FEWEST = 20


def tolerance_of(plan: Plan) -> Tolerance:
    """Return how much a detection of a file may differ from PyTorch's."""
    return (RANDOM if plan.found.checkpoint is None else TOLERANCES)[plan.options.precision]


@dataclass(frozen=True)
class Checked:
    """The result of checking a file.

    Attributes:
        summary: the result in words.
        time_ratio: CPU time of the file relative to folded PyTorch, both on one thread with one image.
        matches: matches of a detector's detections; None: maps were compared, or it is not a detector.
        failure: how detections in float16 differ from PyTorch's, which AP has to decide on; None: they do not.
    """

    summary: str
    time_ratio: float
    matches: Matches | None = None
    failure: str | None = None


def check_export(plan: Plan, path: Path, images: Sequence[np.ndarray], more: Iterable[np.ndarray] = ()) -> Checked:
    """Run a file and PyTorch on the same images.

    Args:
        plan: the plan that the file was written with.
        path: the file.
        images: (H, W, 3) uint8 BGR, of several sizes.
        more: further images, used if ``images`` give too few detections.

    Raises:
        ExportError: the results differ, or there are too few detections to tell.
    """
    session = _ProgramSession(path, plan.input_names) if path.suffix == '.pt2' else open_session(path, None, 1)
    largest, cases, failure = _compare_outputs(plan, session, images)
    if failure and not _weighed_by_ap(plan):
        raise ExportError(failure + _by_ap(plan))
    matches = None
    of_boxes = plan.found.task == DETECTION and plan.form != 'raw' and path.suffix != '.pt2'
    if of_boxes and plan.options.img_size is None:
        _compare_fit(plan, images)
    if plan.options.precision in JUDGED_BY_AP:  # by accuracy.py
        if not np.isfinite(largest):
            raise ExportError('the file returns NaN or infinite values')
        return Checked(f'{len(images)} images; {cases}: shapes and finite values', time_ratio(plan, session))
    words = [f'{len(images)} images', cases]
    if of_boxes:
        matches = compare_detections(plan, path, images, more if plan.found.checkpoint is not None else ())
        words[0] = f'{matches.images} images'
        if matches.every < FEWEST:
            raise ExportError(
                f'not checked: PyTorch finds {matches.every} detections on {matches.images} images, but the comparison '
                f'needs at least {FEWEST}; use data=PATH with images of the objects that it detects'
                + (f', or a score_thr below {_threshold(plan):g}' if plan.form == 'nms' else '')
            )
        if not tolerance_of(plan).allows(matches):
            different = f'the results of the file differ from PyTorch: {matches}'
            if plan.options.precision == 'fp32' and plan.found.checkpoint is None:
                words.append(_by_float64(plan, path, images, different))
            elif _weighed_by_ap(plan):
                failure = different
            else:
                raise ExportError(different + _way_out(plan, matches))
    elif largest > (most := tolerance_of(plan).output):
        raise ExportError(
            f'the results of the file differ from PyTorch: by {largest:.2g} of the largest output value, more than '
            f'{most:g}'
        )
    words.append(str(matches) if matches else f'largest output difference {largest:.2g} of the largest value')
    return Checked('; '.join(words), time_ratio(plan, session), matches, failure)


def _weighed_by_ap(plan: Plan) -> bool:
    """Return whether AP decides (accuracy.py) if half precision changes detections."""
    return plan.options.precision == 'fp16' and plan.found.checkpoint is not None and plan.options.data is not None


def _way_out(plan: Plan, matches: Matches) -> str:
    """Return the end of a sentence that says how more images would help."""
    if plan.found.checkpoint is None:
        return ''
    if not (found := _by_ap(plan)) and tolerance_of(plan).undecided(matches):
        return '; no mismatch is tolerated among so few; use data=PATH with more images'
    return found


def _by_ap(plan: Plan) -> str:
    """Return the end of a sentence that says that AP decides, if it could."""
    weighed = plan.options.precision == 'fp16' and plan.found.checkpoint is not None and plan.options.data is None
    return '; with data=PATH, AP on its images decides' if weighed else ''


def compare_detections(
    plan: Plan, path: Path, images: Sequence[np.ndarray], more: Iterable[np.ndarray] = ()
) -> Matches:
    """Compare the final detections of a file, image by image and as a batch, with PyTorch's.

    Args:
        plan: see :func:`check_export`.
        path: see :func:`check_export`.
        images: see :func:`check_export`.
        more: see :func:`check_export`.
    """
    detector, more, tolerance = _detector(path), iter(more), tolerance_of(plan)
    rounds = _rounds(plan, detector, images, [reference(plan, image) for image in images])
    while True:
        matches = reduce(Matches.worse, rounds)
        too_few = tolerance.undecided(matches) or (tolerance.allows(matches) and matches.every < FEWEST)
        if not too_few or not (further := [*islice(more, len(images))]):
            return matches
        theirs = [reference(plan, image) for image in further]
        rounds = [a + b for a, b in zip(rounds, _rounds(plan, detector, further, theirs), strict=True)]


def _detector(path: Path) -> Detector:
    with warnings.catch_warnings(action='ignore'):  # form nms warns about its own threshold
        return Detector(path, score_thr=0.0, threads=1)


def _rounds(
    plan: Plan, detector: Detector, images: Sequence[np.ndarray], theirs: Sequence[Detections]
) -> list[Matches]:
    """Yield a file's detections image by image, and in a batch if it accepts one, paired with ``theirs``."""
    rounds = [[detector(image) for image in images]]
    if plan.batch is None:
        rounds.append(detector.batch(images))
    return [_matched(plan, theirs, ours, images) for ours in rounds]


def _matched(
    plan: Plan, theirs: Sequence[Detections], ours: Sequence[Detections], images: Sequence[np.ndarray]
) -> Matches:
    scales = [plan.fit.apply(image).scale_factor for image in images]
    cfg = plan.metadata().test_cfg
    return match(theirs, ours, scales, tolerance_of(plan), cfg['score_thr'], cfg['max_per_img'])


def _by_float64(plan: Plan, path: Path, images: Sequence[np.ndarray], failure: str) -> str:
    """Say that with random weights the file is as close to float64 as PyTorch's float32.

    Raises:
        ExportError: it is not.
    """
    precise = in_double(plan, images)
    file = reduce(Matches.worse, _rounds(plan, _detector(path), images, precise))
    torch32 = _matched(plan, precise, [reference(plan, image) for image in images], images)
    misses = [(each.every - each.found, each.more) for each in (file, torch32)]
    if not no_worse(*misses, file.every):
        raise ExportError(failure)
    return (
        f'of {file.every:,} detections in float64, the file misses {misses[0][0]:,} and PyTorch in float32 '
        f'{misses[1][0]:,}: random weights amplify rounding errors'
    )


def _compare_outputs(plan: Plan, session: Session, images: Sequence[np.ndarray]) -> tuple[float, str, str | None]:
    """Return the largest difference of an output relative to its largest value.

    The other values are what was compared, in words, and how boxes before NMS differ from PyTorch's (None: not at all).
    """
    if plan.form == 'nms':  # with equal scores, the order may differ
        return 0.0, 'one by one' if plan.batch else 'one by one and in a batch', None
    failure = None
    sizes = [plan.size, plan.other_size] if plan.dynamic == 'all' else [plan.size]
    batches = [plan.batch] if plan.batch else [1, EXAMPLE_BATCH + 1]
    largest = 0.0
    for size in sizes:
        for batch in batches:
            inputs = plan.inputs([images[i % len(images)] for i in range(batch)], size)
            with torch.no_grad():
                wanted = plan.module(*inputs)
            pairs = []
            for a, b in zip(
                wanted if isinstance(wanted, tuple) else (wanted,), session.run(plan.feeds(inputs)), strict=True
            ):
                if tuple(a.shape) != b.shape:
                    raise ExportError(
                        f'the file returns an output of shape {b.shape}, but PyTorch one of {tuple(a.shape)}'
                    )
                pairs.append((a.numpy(), b))
                difference = np.abs(a.numpy() - b).max() / max(float(a.abs().max()), 1e-30)
                largest = max(largest, difference if np.isfinite(difference) else np.inf)
            if plan.form == 'decoded' and plan.options.precision not in JUDGED_BY_AP:
                failure = failure or _compare_boxes(plan, inputs, size, *pairs)
    shown = ' and '.join(f'{height} x {width}' for height, width in sizes)
    return float(largest), f'{shown} px in batches of {" and ".join(map(str, batches))}', failure


def _compare_boxes(
    plan: Plan, inputs: Sequence[Tensor], size: tuple[int, int], boxes: Pair, scores: Pair
) -> str | None:
    """Say how boxes (N, B, 4) before NMS or their scores (N, B, C) differ; None if they do not."""
    tolerance = tolerance_of(plan)
    if (share := tolerance.alike(boxes, scores)) >= tolerance.every:
        return None
    if plan.options.precision == 'fp32' and plan.found.checkpoint is None:
        # Random weights amplify rounding errors: compare with float64, where the file must not be worse than PyTorch.
        precise = outputs_in_double(plan, inputs)
        missed = [
            round((1 - tolerance.alike((precise[0], boxes[side]), (precise[1], scores[side]))) * boxes[0][..., 0].size)
            for side in (1, 0)
        ]
        if no_worse(*((count, 0) for count in missed), boxes[0][..., 0].size):
            return None
    return (
        f'the results of the file differ from PyTorch: only {share:.2%} of the boxes at {size[0]} x {size[1]} px in a '
        f'batch of {len(boxes[0])} are the same with their scores, fewer than {tolerance.every:.1%}'
    )


def _compare_fit(plan: Plan, images: Sequence[np.ndarray]) -> None:
    """Raise ExportError unless the runner prepares images for the network as the config's test pipeline does."""
    network = plan.found.network
    preprocessor = copy.copy(network.data_preprocessor)
    if plan.found.fit.rule == 'long-short':  # if the padding differs here, the plan says so (Plan.padding)
        preprocessor.pad_size_divisor = plan.found.fit.stride
    with DefaultScope.overwrite_default_scope('mmdet'):
        pipeline = Compose(test_pipeline(plan.found.config))
    for image in images:
        sample = dict(img=image, img_id=0, img_path=None, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        packed = pipeline(sample)
        wanted = preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)['inputs']
        given = prepared(network, plan.found.fit.apply(image, np.float32))['inputs']
        if not torch.equal(wanted, given):
            raise ExportError(
                f'the runner prepares images differently from the test pipeline of {plan.found.name}: '
                f'{tuple(given.shape)} instead of {tuple(wanted.shape)}'
            )


def _threshold(plan: Plan) -> float:
    return plan.metadata().test_cfg['score_thr']


class _ProgramSession:
    """One of PyTorch's exported programs with the interface of ONNX Runtime."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        extra = {EXTRA_FILE: ''}
        self._module = torch.export.load(path, extra_files=extra).module()
        self._names = names
        self.metadata = extra[EXTRA_FILE]

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, in order."""
        with torch.no_grad():
            outputs = self._module(*(torch.from_numpy(feeds[name]) for name in self._names))
        return [each.numpy() for each in (outputs if isinstance(outputs, tuple | list) else (outputs,))]
