"""What is compared: a backbone with its weights, its fraction of the training images, and its width."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcnn.compare.widths import set_width
from mmcnn.errors import UsageError
from mmcnn.models.wiring import swap_backbone

#: Weights of a candidate with random initialization.
SCRATCH = 'scratch'
#: Placeholder for the name of the backbone in ``--weights``.
PLACE = '{backbone}'


@dataclass(frozen=True)
class Candidate:
    """One of the candidates of a comparison.

    Attributes:
        backbone: short name.
        weights: 'scratch', or a value of ``mmcnn train --weights``.
        fraction: fraction of the training images, above 0 and at most 1.
        widen_factor: widen factor of the backbone; None: that of its variant.
        epochs: length of its trainings; None: given by the budget.
    """

    backbone: str
    weights: str = SCRATCH
    fraction: float = 1.0
    widen_factor: float | None = None
    epochs: int | None = None

    @property
    def name(self) -> str:
        """Its name in a table: the backbone, and weights and fraction unless they are the default."""
        weights = [] if self.weights == SCRATCH else [self.weights]
        share = [] if self.fraction == 1 else [f'{100 * self.fraction:g} % of the data']
        return ', '.join([self.backbone, *weights, *share])

    @property
    def folder(self) -> Path:
        """Its folder below that of the comparison; named by the backbone alone if the rest is the default."""
        parts = [self.backbone]
        if self.weights != SCRATCH:
            digest = hashlib.sha256(self.weights.encode()).hexdigest()[:6]
            parts.append(f'{re.sub(r"[^A-Za-z0-9.-]+", "_", self.weights).strip("_")[-40:]}_{digest}')
        if self.fraction != 1:
            parts.append(f'fraction_{self.fraction:g}')
        return Path(*parts)

    def options(self) -> dict[str, Any]:
        """Options of ``mmcnn train`` that are specific to it; None: not given.

        The path of a file of weights is absolute, since a worker may have another current folder.
        """
        weights = str(Path(self.weights).resolve()) if Path(self.weights).is_file() else self.weights
        return dict(
            weights=None if self.weights == SCRATCH else weights,
            fraction=None if self.fraction == 1 else self.fraction,
        )

    def config(self, cfg: Config) -> Config:
        """Return a copy of a detector's config with its backbone.

        Raises:
            UsageError: there is no such backbone, or it lacks a level that the detector uses.
        """
        cfg, _ = on_backbone(cfg, self.backbone)
        if self.widen_factor is not None:
            set_width(cfg, self.widen_factor)
        return cfg


def candidates(names: Sequence[str], weights: Sequence[str] = (), fractions: Sequence[float] = ()) -> list[Candidate]:
    """Return every backbone with all weights and all fractions, in the order given, each once.

    Args:
        names: short names of backbones.
        weights: 'scratch', paths and addresses, in which ``{backbone}`` is replaced by the name; empty: scratch.
        fractions: fractions of the training images; empty: all images.
    """
    found = [
        Candidate(name, each.replace(PLACE, name), fraction)
        for name in names
        for each in weights or (SCRATCH,)
        for fraction in fractions or (1.0,)
    ]
    return list(dict.fromkeys(found))


def on_backbone(cfg: Config, name: str) -> tuple[Config, list[str]]:
    """Return a copy of a detector's config with another backbone, and a sentence for each further change.

    Raises:
        UsageError: there is no such backbone, or it lacks a level that the detector uses.
    """
    cfg = copy.deepcopy(cfg)
    try:
        cfg.model, notes = swap_backbone(cfg.model, name)
    except ValueError as error:
        raise UsageError(f'backbone={name}: {error}') from error
    return cfg, notes


def widened(candidate: Candidate, factor: float) -> Candidate:
    """Return the same candidate at another width."""
    return dataclasses.replace(candidate, widen_factor=factor)
