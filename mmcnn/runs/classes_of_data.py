"""``classes``: the classes of a data folder that a run uses, and whether they match its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmcnn.datasets.check.report import DetectorData
from mmcnn.datasets.folders.chosen_classes import Choice, names_of
from mmcnn.datasets.folders.classes import ClassData
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest
from mmcnn.weights.checkpoint import classes_in

_SHOWN = 20


def trained_classes(checkpoint: dict | None) -> tuple[str, ...]:
    """Return the classes that a checkpoint, opened or None, was trained on; empty if unknown."""
    return classes_in((checkpoint or {}).get('meta', {}))


def refuse_other_classes(checkpoint: dict, folder: DetectorData | ClassData) -> None:
    """Refuse to resume a run on data with other classes.

    Raises:
        UsageError: names both.
    """
    trained = trained_classes(checkpoint)
    if trained and trained != folder.classes:
        raise other_classes(trained, str(folder.root), folder.classes)


def other_classes(trained: Sequence[str], where: str, classes: Sequence[str]) -> UsageError:
    """Return the error that a checkpoint and the data have different classes."""
    return UsageError(
        f'the checkpoint was trained on the classes {shown_classes(tuple(trained))}, but {where} has '
        f'{shown_classes(tuple(classes))}'
    )


def choice_of(root: Path, classes: Sequence[str] | None, trained: Sequence[str]) -> Choice | None:
    """Return the classes of a folder to use: all, the requested ones, or those of a checkpoint by their names.

    Requested classes keep the order of the first split, also if another split orders them differently.
    """
    if classes is None and not trained:
        return None

    first: list[str] = []

    def choose(known: Sequence[str], title: str) -> Sequence[str]:
        if not trained:
            chosen = names_of(classes, known, f'{root / title}')
            first.extend([] if first else chosen)
            return sorted(chosen, key=first.index) if set(chosen) == set(first) else chosen
        wanted = trained if classes is None else names_of(classes, trained, 'the checkpoint')
        missing = [name for name in wanted if name not in known]
        if missing and classes is None:
            both = ', '.join(name for name in trained if name in known)
            hint = f'; to evaluate classes that both have, use classes=... with some of {both}' if both else ''
            raise UsageError(f'{other_classes(trained, str(root), known)}{hint}')
        if missing:
            raise UsageError(f'classes={missing[0]!r}: {root / title} has no such class; {nearest(missing[0], known)}')
        return trained

    return choose


def shown_classes(classes: tuple[str, ...]) -> str:
    """Return the names for a message; only the first if there are many."""
    if len(classes) <= _SHOWN:
        return str(classes)
    return f'({", ".join(map(repr, classes[:_SHOWN]))} and {len(classes) - _SHOWN} more)'
