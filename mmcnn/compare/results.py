"""The stored result of a comparison: runs, candidates, pairs."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from mmcnn.errors import DataError

#: Format entry of a stored comparison.
FORMAT = 'mmcnn comparison 2'
#: Additional entries in comparison.json for programs that read it up to release 0.1 (table.py).
OLD_ENTRIES = ('rows', 'measured')
#: The costs of a candidate in display order, with their names.
COSTS = {
    'parameters': 'parameters', 'multiply_adds': 'multiply-adds', 'memory_access': 'memory access',
    'latency': 'latency end to end', 'network_latency': 'latency of the network alone', 'peak_memory': 'peak memory',
    'training_seconds': 'training time', 'energy': 'energy',
}  # fmt: skip
AP, AP50 = 'bbox_mAP', 'bbox_mAP_50'


@dataclass(frozen=True)
class Cost:
    """A cost of a candidate.

    Attributes:
        value: the value; None: not measured.
        unit: 'ms', 's', 'MB', 'J', or '' for a count.
        how: how it was measured, or why it was not.
    """

    value: float | None
    unit: str
    how: str


@dataclass(frozen=True)
class RunResult:
    """A training of a candidate.

    Attributes:
        seed: seed of order and augmentation.
        init_seed: seed of the initial weights; None: they follow from the seed.
        folder: folder below that of the comparison.
        failure: why it has no result; None: it has one.
        metrics: the twelve COCO numbers and the AP of each class at the end, by their keys without ``coco/``; None:
            there was nothing to measure.
        curve: for each validation ``epoch``, ``AP`` and ``AP50``.
        losses: ``iteration`` and ``loss``.
        seconds: duration, including start and validations.
        checkpoint_sha256: hash of its last checkpoint; '': there is none.
        command: command as it can be typed.
        detections: detections of the last validation, a file below the folder of the comparison; None: not kept.
    """

    seed: int
    init_seed: int | None
    folder: str
    failure: str | None
    metrics: dict[str, float | None] = field(default_factory=dict)
    curve: list[dict[str, float | None]] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    checkpoint_sha256: str = ''
    command: str = ''
    detections: str | None = None

    @property
    def block(self) -> tuple[int, int | None]:
        """The seeds, which trainings of different candidates share."""
        return self.seed, self.init_seed


@dataclass(frozen=True)
class CandidateResult:
    """A candidate with its trainings.

    Attributes:
        name: displayed name.
        backbone: short name.
        weights: 'scratch', or the initial weights.
        fraction: fraction of the training images.
        costs: costs by the names of :data:`COSTS`.
        settings: settings that were given or determined for it alone.
        runs: its trainings, in the order of the seeds.
        dropped: why it was not trained to the end if the budget was too small; None: it was.
    """

    name: str
    backbone: str
    weights: str
    fraction: float
    costs: dict[str, Cost]
    settings: dict[str, Any]
    runs: list[RunResult]
    dropped: str | None = None


@dataclass(frozen=True)
class PairResult:
    """Two candidates in comparison.

    Attributes:
        first: the one with the higher mean.
        second: the other.
        difference: mean paired difference of AP, first minus second.
        low: lower end of its simultaneous 95 % interval; None: there is none.
        high: upper end.
        seeds: seeds that both have finished.
        variance_of_seeds: variance of the difference due to the seeds.
        variance_of_images: variance of the difference due to the images; None: no detections were kept.
        sign_flip_p: p-value of the exact test; None: there are too few seeds for it.
        verdict: conclusion in words.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    seeds: int
    variance_of_seeds: float | None
    variance_of_images: float | None
    sign_flip_p: float | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        title: config and budget.
        command: command that repeats or continues it.
        made: ISO date.
        versions: versions of the packages, and the machine.
        data: path, SHA-256 of the validation annotations, numbers of images, classes.
        candidates: candidates in the given order.
        pairs: all pairs.
        method: how the intervals were made, sentences.
        not_measured: what is missing and why, sentences.
    """

    title: str
    command: str
    made: str
    versions: dict[str, str]
    data: dict[str, Any]
    candidates: list[CandidateResult]
    pairs: list[PairResult] = field(default_factory=list)
    method: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Return the comparison as text for :meth:`from_json`."""
        return json.dumps({'format': FORMAT, **dataclasses.asdict(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Return a stored comparison, from :meth:`as_json` or comparison.json.

        Raises:
            DataError: it does not have this format.
        """
        try:
            content = json.loads(text)
            content = {key: value for key, value in content.items() if key not in OLD_ENTRIES}
            found = content.pop('format', None)
            if found != FORMAT:
                raise DataError(f'format={found!r}: a comparison must have {FORMAT!r}')
            several = [
                CandidateResult(
                    **{
                        **each,
                        'costs': {name: Cost(**cost) for name, cost in each['costs'].items()},
                        'runs': [RunResult(**run) for run in each['runs']],
                    }
                )
                for each in content.pop('candidates')
            ]
            pairs = [PairResult(**each) for each in content.pop('pairs')]
            return cls(candidates=several, pairs=pairs, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f'this is not a comparison: {error}') from error
