"""What is compared: a backbone with its weights, on its share of the training images, at its width."""

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

#: Weights of a candidate that starts from random numbers.
SCRATCH = 'scratch'
#: What stands for the name of the backbone in ``--weights``.
PLACE = '{backbone}'


@dataclass(frozen=True)
class Candidate:
    """One of those that are compared.

    Attributes:
        backbone: short name.
        weights: 'scratch', or what ``mmcnn train --weights`` takes.
        fraction: share of the training images, above 0 and at most 1.
        widen_factor: of the backbone; None: as its variant is.
        epochs: length of its trainings; None: as the budget says.
    """

    backbone: str
    weights: str = SCRATCH
    fraction: float = 1.0
    widen_factor: float | None = None
    epochs: int | None = None

    @property
    def name(self) -> str:
        """As a table shows it: the backbone, and where they are not the usual ones weights and share."""
        weights = [] if self.weights == SCRATCH else [self.weights]
        share = [] if self.fraction == 1 else [f'{100 * self.fraction:g} % of the data']
        return ', '.join([self.backbone, *weights, *share])

    @property
    def folder(self) -> Path:
        """Its folder below that of the comparison; the backbone's own where weights and share are the usual ones."""
        parts = [self.backbone]
        if self.weights != SCRATCH:
            digest = hashlib.sha256(self.weights.encode()).hexdigest()[:6]
            parts.append(f'{re.sub(r"[^A-Za-z0-9.-]+", "_", self.weights).strip("_")[-40:]}_{digest}')
        if self.fraction != 1:
            parts.append(f'fraction_{self.fraction:g}')
        return Path(*parts)

    def options(self) -> dict[str, Any]:
        """Options of ``mmcnn train`` in which it differs from others; None: not given.

        The path of a file of weights is absolute: a worker may have another current folder.
        """
        weights = str(Path(self.weights).resolve()) if Path(self.weights).is_file() else self.weights
        return dict(
            weights=None if self.weights == SCRATCH else weights,
            fraction=None if self.fraction == 1 else self.fraction,
        )

    def config(self, cfg: Config) -> Config:
        """A detector's config on its backbone, a copy.

        Raises:
            UsageError: no backbone has this name, or it lacks a level that the detector uses.
        """
        cfg, _ = on_backbone(cfg, self.backbone)
        if self.widen_factor is not None:
            set_width(cfg, self.widen_factor)
        return cfg


def candidates(names: Sequence[str], weights: Sequence[str] = (), fractions: Sequence[float] = ()) -> list[Candidate]:
    """Every backbone with all weights on all shares, in the order in which they are named, each once.

    Args:
        names: short names of backbones.
        weights: 'scratch', paths and addresses, in which ``{backbone}`` stands for the name; empty: scratch.
        fractions: shares of the training images; empty: all of them.
    """
    found = [
        Candidate(name, each.replace(PLACE, name), fraction)
        for name in names
        for each in weights or (SCRATCH,)
        for fraction in fractions or (1.0,)
    ]
    return list(dict.fromkeys(found))


def on_backbone(cfg: Config, name: str) -> tuple[Config, list[str]]:
    """A detector's config on another backbone, a copy, and what else was changed for it, a sentence each.

    Raises:
        UsageError: no backbone has this name, or it lacks a level that the detector uses.
    """
    cfg = copy.deepcopy(cfg)
    try:
        cfg.model, notes = swap_backbone(cfg.model, name)
    except ValueError as error:
        raise UsageError(f'backbone={name}: {error}') from error
    return cfg, notes


def widened(candidate: Candidate, factor: float) -> Candidate:
    """The same at another width."""
    return dataclasses.replace(candidate, widen_factor=factor)
