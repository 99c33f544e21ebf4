"""Targets on an H100 or H200, and the measured values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mmcnn.benchmarks.gpu.recipes import RECIPES

#: Fractions of the time that a training may wait for its loader, and that determinism may cost.
WAITING, DETERMINISM = 0.02, 0.15


class Aim(NamedTuple):
    """A target.

    Attributes:
        what: what it is about.
        wanted: the bound, in words.
        measured: the measured value, in words.
        reached: whether it was reached.
    """

    what: str
    wanted: str
    measured: str
    reached: bool


def aims(stages: dict[str, Any]) -> Iterator[Aim]:
    """Yield the targets for which there are measurements.

    Args:
        stages: stages in a file of results (:class:`~.results.Results`).
    """
    trainings = {**stages.get('speed', {}), **stages.get('compiled', {})}
    loaded = {name: each for name, each in trainings.items() if 'waiting_share' in each}
    for key, recipe in RECIPES.items():
        rates = {name: each['images_per_second'] for name, each in loaded.items() if name.split()[0] == key}
        if recipe.aim and rates:
            best = max(rates, key=rates.get)
            yield Aim(
                f'{key} with the loader', f'at least {recipe.aim:.0f} images/s', f'{rates[best]} images/s ({best})',
                rates[best] >= recipe.aim,
            )  # fmt: skip
    if loaded:
        worst = max(loaded, key=lambda name: loaded[name]['waiting_share'])
        share = loaded[worst]['waiting_share']
        yield Aim('waiting for the loader', f'less than {WAITING:.0%}', f'{share:.1%} ({worst})', share < WAITING)
    costs = {recipe: cost for recipe in RECIPES if (cost := cost_of_determinism(stages, recipe)) is not None}
    if costs:
        worst = max(costs, key=costs.get)
        yield Aim(
            'cost of determinism', f'at most {DETERMINISM:.0%}', f'{costs[worst]:.1%} ({worst})',
            costs[worst] <= DETERMINISM,
        )  # fmt: skip


def cost_of_determinism(stages: dict[str, Any], recipe: str) -> float | None:
    """Return by what fraction a deterministic step takes longer; None: not measured."""
    found = stages.get('determinism', {})
    free, held = (found.get(f'{recipe} {how}', {}).get('step_ms') for how in ('as it is', 'deterministic'))
    return held / free - 1 if free and held else None
