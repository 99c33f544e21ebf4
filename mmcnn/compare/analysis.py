"""Conclusions from the data of a comparison: pairs with intervals and verdicts, from its runs and their detections."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from mmcnn.compare import statistics
from mmcnn.compare.calibration import calibrate
from mmcnn.compare.resampling import resample
from mmcnn.compare.results import AP, CandidateResult, Comparison, PairResult, RunResult
from mmcnn.compare.verdicts import verdict
from mmcnn.errors import DataError
from mmcnn.evaluation.kept_detections import read_detections

#: Number of resamples of the validation images.
RESAMPLES = 1000
#: With at least this many runs of a single candidate, they are an A/A test of the intervals.
RUNS_OF_CALIBRATION = 12


def analysed(comparison: Comparison, folder: Path, annotations: Path | None) -> Comparison:
    """Return the comparison with its pairs and the method of their intervals; an A/A test for runs of one candidate.

    Args:
        comparison: comparison with its runs.
        folder: folder of the comparison with its detections.
        annotations: COCO file of val; None: it is missing, and the variance of the images is left out.
    """
    labels = _labels(comparison)
    runs = {each.name: {labels[run.block]: run for run in each.runs} for each in comparison.candidates}
    blocks = statistics.complete_blocks(
        {name: {seed: run.metrics.get(AP) for seed, run in of.items()} for name, of in runs.items()}
    )
    chosen = [[runs[name][seed] for seed in blocks.seeds] for name in blocks.names]
    if len(blocks.names) == 1 and len(blocks.seeds) >= RUNS_OF_CALIBRATION:
        sentences = [*blocks.left_out, *_calibration(chosen[0], folder, annotations)]
        return dataclasses.replace(comparison, method=sentences)
    covariance, num_images, why = None, 0, ''
    if len(chosen) > 1:
        covariance, num_images, why = _of_images(chosen, folder, annotations)
    pairs = statistics.compare_pairs(blocks, covariance, num_images)
    seconds = sum(_mean_seconds(each) for each in comparison.candidates if each.name in blocks.names)
    results = [
        PairResult(
            pair.first,
            pair.second,
            pair.difference,
            pair.low,
            pair.high,
            pair.seeds,
            pair.variance_of_seeds,
            pair.variance_of_images if num_images else None,
            pair.sign_flip_p,
            verdict(pair, len(blocks.names), num_images, seconds),
        )
        for pair in pairs
    ]
    method = statistics.method(blocks, num_images, RESAMPLES if num_images else 0, why)
    return dataclasses.replace(comparison, pairs=results, method=method)


def _calibration(runs: list[RunResult], folder: Path, annotations: Path | None) -> list[str]:
    """Return the result of the A/A test of the intervals on the runs of one candidate, in words."""
    covariance, num_images, _ = _of_images([[run] for run in runs], folder, annotations)
    return calibrate([run.metrics[AP] for run in runs], covariance, num_images).sentences()


def _labels(comparison: Comparison) -> dict[tuple[int, int | None], int]:
    """Return a number for each pair of seeds that defines the blocks: the one of the two that varies."""
    found = list(dict.fromkeys(run.block for each in comparison.candidates for run in each.runs))
    place = 0 if len({seed for seed, _ in found}) == len(found) else 1
    return {block: block[place] for block in found}


def _of_images(
    chosen: list[list[RunResult]], folder: Path, annotations: Path | None
) -> tuple[np.ndarray | None, int, str]:
    """Return the covariance of the means of several groups of runs between draws of val's images, and their number.

    If it cannot be computed: None, 0 and the reason in words. The trainings are finished by then, and their other
    results are not lost.
    """
    if annotations is None or not all(run.detections for several in chosen for run in several):
        return None, 0, 'no detections were kept'
    try:
        detections = (read_detections(folder / run.detections) for several in chosen for run in several)
        found = resample(annotations, detections, RESAMPLES)
    except DataError as error:
        return None, 0, str(error)
    places = iter(range(len(found.ap)))
    return found.covariance([[next(places) for _ in several] for several in chosen]), found.num_images, ''


def _mean_seconds(candidate: CandidateResult) -> float:
    """Return the mean time of a training."""
    seconds = [run.seconds for run in candidate.runs if run.failure is None]
    return sum(seconds) / len(seconds) if seconds else 0.0
