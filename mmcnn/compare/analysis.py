"""What the data of a comparison allow to say: pairs with intervals and verdicts, from its runs and their detections."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mmcnn.compare import statistics
from mmcnn.compare.calibration import calibrate
from mmcnn.compare.resampling import Resamples, resample
from mmcnn.compare.results import AP, CandidateResult, Comparison, PairResult, RunResult
from mmcnn.compare.verdicts import verdict
from mmcnn.evaluation.kept_detections import read_detections

#: Resamples of the validation images.
RESAMPLES = 1000
#: So many runs of one candidate alone are an A/A test of the intervals.
RUNS_OF_CALIBRATION = 12


def analysed(comparison: Comparison, folder: Path, annotations: Path | None) -> Comparison:
    """The comparison with its pairs, and how their intervals were made; of many runs of one candidate an A/A test.

    Args:
        comparison: with its runs.
        folder: of the comparison, where its detections are.
        annotations: COCO file of val; None: it is not there, and the part of the images is left out.
    """
    labels = _labels(comparison)
    runs = {each.name: {labels[run.block]: run for run in each.runs} for each in comparison.candidates}
    blocks = statistics.complete_blocks(
        {name: {seed: run.metrics.get(AP) for seed, run in of.items()} for name, of in runs.items()}
    )
    chosen = [[runs[name][seed] for seed in blocks.seeds] for name in blocks.names]
    covariance, num_images = None, 0
    if annotations is not None and len(chosen) > 1 and all(run.detections for several in chosen for run in several):
        found = _resampled(chosen, folder, annotations)
        places = iter(range(len(found.ap)))
        covariance = found.covariance([[next(places) for _ in several] for several in chosen])
        num_images = found.num_images
    if len(blocks.names) == 1 and len(blocks.seeds) >= RUNS_OF_CALIBRATION:
        return dataclasses.replace(comparison, method=_calibration(chosen[0], folder, annotations))
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
    method = statistics.method(blocks, num_images, RESAMPLES if num_images else 0)
    return dataclasses.replace(comparison, pairs=results, method=method)


def _calibration(runs: list[RunResult], folder: Path, annotations: Path | None) -> list[str]:
    """What the A/A test of the intervals finds on the runs of one candidate, in words."""
    covariance, num_images = None, 0
    if annotations is not None and all(run.detections for run in runs):
        found = _resampled([runs], folder, annotations)
        covariance, num_images = found.covariance([[place] for place in range(len(runs))]), found.num_images
    return calibrate([run.metrics[AP] for run in runs], covariance, num_images).sentences()


def _labels(comparison: Comparison) -> dict[tuple[int, int | None], int]:
    """A number for each pair of seeds by which the trainings are blocks: the one of the two that varies."""
    found = list(dict.fromkeys(run.block for each in comparison.candidates for run in each.runs))
    place = 0 if len({seed for seed, _ in found}) == len(found) else 1
    return {block: block[place] for block in found}


def _resampled(chosen: list[list[RunResult]], folder: Path, annotations: Path) -> Resamples:
    detections = (read_detections(folder / run.detections) for several in chosen for run in several)
    return resample(annotations, detections, RESAMPLES)


def _mean_seconds(candidate: CandidateResult) -> float:
    """Of a training."""
    seconds = [run.seconds for run in candidate.runs if run.failure is None]
    return sum(seconds) / len(seconds) if seconds else 0.0
