"""What a comparison found, as it is kept in comparison.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cost:
    """What a candidate costs: a value in its unit, None where it was not measured; how it was, or why it was not."""

    value: float | None
    unit: str
    how: str


@dataclass(frozen=True)
class RunResult:
    """One training of one candidate with one seed."""

    seed: int
    init_seed: int
    folder: str
    failure: str | None
    metrics: dict[str, float | None]
    curve: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    seconds: float
    checkpoint_sha256: str
    command: str
    detections: str | None


@dataclass(frozen=True)
class CandidateResult:
    """What was compared: a backbone with its weights and its fraction of the training data, with its runs."""

    name: str
    backbone: str
    weights: str
    fraction: float
    costs: dict[str, Cost]
    settings: dict[str, Any]
    runs: list[RunResult]


@dataclass(frozen=True)
class PairResult:
    """What the data say of two candidates, of which the first has the higher mean AP."""

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    seeds: int
    variance_of_seeds: float | None
    variance_of_images: float
    sign_flip_p: float | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """A whole comparison."""

    title: str
    command: str
    made: str
    versions: dict[str, str]
    data: dict[str, Any]
    candidates: list[CandidateResult]
    pairs: list[PairResult]
    method: list[str]
    not_measured: list[str]

    def as_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """What :meth:`as_json` gave."""
        content = json.loads(text)
        candidates = [
            CandidateResult(
                **each
                | dict(
                    costs={key: Cost(**cost) for key, cost in each['costs'].items()},
                    runs=[RunResult(**run) for run in each['runs']],
                )
            )
            for each in content['candidates']
        ]
        pairs = [PairResult(**each) for each in content['pairs']]
        return cls(
            **{field.name: content[field.name] for field in fields(cls)} | dict(candidates=candidates, pairs=pairs)
        )

    def write(self, folder: Path) -> None:
        """Writes comparison.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'comparison.json').write_text(self.as_json() + '\n', encoding='utf-8')
