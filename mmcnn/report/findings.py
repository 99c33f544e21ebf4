"""Explanations of the AP in sentences: each finding has a rule, and only what the numbers support is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mmcnn.console.layout import number

#: Limits of the rules: name -> value and its meaning. docs/report.md has the same table.
THRESHOLDS: dict[str, tuple[float, str]] = {
    'least objects': (20, 'minimum number of objects for which a fraction is reported'),
    'missed': (0.1, 'fraction of missed objects from which it is reported'),
    'small': (0.5, 'fraction of missed objects below 32 x 32 px at the input, from which size is a cause'),
    'small apart': (0.2, 'minimum difference of the miss rates of small objects and others for size to be a cause'),
    'low scores': (0.3, 'fraction of missed objects that a detection with a lower score finds'),
    'loose': (0.5, 'AP75 / AP50 below which boxes are placed loosely'),
    'AP50 to place': (0.2, 'AP50 from which the placement of boxes is examined'),
    'cost': (0.05, 'gain of AP50 without a kind of error, from which the kind is reported'),
    'recall of anchors': (0.98, 'best possible recall below which anchors do not fit'),
    'falling loss': (0.02, 'relative fall of the mean training loss over the last tenth of the epochs'),
    'rising AP': (0.01, 'rise of the best AP over the last quarter of the validations'),
    'past the best': (0.03, 'difference between the best and the last AP'),
    'confused': (0.1, 'fraction of the objects of a class that are detected as another class'),
    'weak class': (0.5, 'AP of a class relative to the mean AP, below which it is reported'),
    'rare class': (50, 'training boxes below which a class is rare'),
    'few objects': (100, 'validation objects below which AP is uncertain'),
    'background': (0.5, 'errors on background per object'),
    'nothing': (0.01, 'AP50 below which nothing has been learned'),
    'unlabelled': (0.05, 'fraction of images without annotations from which it is reported'),
    'suspects': (0.5, 'doubt from which a suspect is counted'),
}


def threshold(name: str) -> float:
    """Return the value of a row of :data:`THRESHOLDS`."""
    return THRESHOLDS[name][0]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The numbers that findings are based on.

    Attributes:
        metrics: AP, AP50, AP75 ...
        classes: class, objects, AP, AP50, AP75 for each class.
        cost: kind of error -> gain of AP50 without it.
        counts: kind of error -> number of errors at the score ``score``.
        score: lowest score of the detections whose errors are counted.
        images: number of validation images.
        unlabelled: number of these without annotations.
        objects: number of validation objects.
        missed: number of objects that no detection finds or nearly finds.
        small, missed_small: objects below 32 x 32 px at the network's input, and the missed ones among them.
        found_below: missed objects that a detection with a lower score finds.
        img_size: longer side of the network's input, pixels; None: unknown.
        anchor_recall: best possible recall of the anchors on the training boxes; None: there are no such anchors.
        anchors_command: command that proposes other anchors.
        confused: (class, detected class, number of its objects detected as that).
        train_boxes: class -> number of training boxes; empty: unknown.
        losses: mean training loss of each epoch.
        aps: epoch and AP of each validation.
        suspects: kind -> number of suspects with at least the doubt of the rule.
    """

    metrics: Mapping[str, float]
    classes: Sequence[tuple[str, int, float, float, float]]
    cost: Mapping[str, float]
    counts: Mapping[str, int]
    score: float
    images: int
    unlabelled: int
    objects: int
    missed: int
    small: int
    missed_small: int
    found_below: int
    img_size: int | None = None
    anchor_recall: float | None = None
    anchors_command: str = ''
    confused: Sequence[tuple[str, str, int]] = ()
    train_boxes: Mapping[str, int] = field(default_factory=dict)
    losses: Sequence[float] = ()
    aps: Sequence[tuple[int, float]] = ()
    suspects: Mapping[str, int] = field(default_factory=dict)


def findings(facts: Facts) -> list[str]:
    """Return what the numbers show, the most important first."""
    learnt = facts.metrics['AP50'] >= threshold('nothing')
    return [sentence for rule in RULES if learnt or rule not in _OF_DETECTIONS for sentence in rule(facts)]


def _nothing(facts: Facts) -> list[str]:
    if facts.objects == 0:
        return ['Val has no objects: there is nothing to measure.']
    if facts.metrics['AP50'] >= threshold('nothing'):
        return []
    trend = _fall(facts.losses)
    story = f'; the training loss {"falls" if trend > 0 else "does not fall"}' if facts.losses else ''
    return [f'Nothing has been learned yet: AP50 is {facts.metrics["AP50"]:.3f}{story}. Check in the images below '
            'that the boxes are where the objects are.']  # fmt: skip


def _missed(facts: Facts) -> list[str]:
    if facts.objects < threshold('least objects') or facts.missed < threshold('missed') * facts.objects:
        return []
    sentence = f'Of {number(facts.objects, "object")}, {facts.missed:,} are missed at the score {facts.score:.2f}'
    large, missed_large = facts.objects - facts.small, facts.missed - facts.missed_small
    apart = _share(facts.missed_small, facts.small) - _share(missed_large, large)
    is_size = facts.missed_small >= threshold('small') * facts.missed
    if is_size and (large == 0 or apart >= threshold('small apart')):
        sentence += f", {facts.missed_small:,} of them smaller than 32 x 32 px at the network's input"
        now = f' (now {facts.img_size})' if facts.img_size else ''
        return [f'{sentence}: train with a larger --img-size{now}.']
    return [f'{sentence}. Those that are missed at any score cost {facts.cost["missed"]:.2f} AP50.']


def _low_scores(facts: Facts) -> list[str]:
    if facts.missed < threshold('least objects') or facts.found_below < threshold('low scores') * facts.missed:
        return []
    return [f'{facts.found_below:,} of the {facts.missed:,} missed objects are found with a score below '
            f'{facts.score:.2f}: the detector sees them but is not confident.']  # fmt: skip


def _loose(facts: Facts) -> list[str]:
    high, low = facts.metrics['AP50'], facts.metrics['AP75']
    if high < threshold('AP50 to place') or low >= threshold('loose') * high:
        return []
    sentence = f'AP50 is {high:.2f} but AP75 only {low:.2f}: boxes are placed inaccurately'
    if facts.anchor_recall is not None and facts.anchor_recall < threshold('recall of anchors'):
        sentence += f'; the best possible recall of the anchors is {facts.anchor_recall:.2f}'
    return [f'{sentence}.']


def _anchors(facts: Facts) -> list[str]:
    if facts.anchor_recall is None or facts.anchor_recall >= threshold('recall of anchors'):
        return []
    return [f'The best possible recall of the anchors on the training boxes is only {facts.anchor_recall:.4f}: find '
            f'better ones with {facts.anchors_command}.']  # fmt: skip


def _kinds(facts: Facts) -> list[str]:
    texts = {
        'wrongly placed': 'boxes that overlap their object by less than 0.5',
        'confused': 'boxes that give an object another class',
        'duplicate': 'second boxes on an object that has already been found',
        'background': 'boxes where there is no object',
        'both': 'boxes that are wrong in both place and class',
    }
    order = sorted(texts, key=lambda kind: -facts.cost[kind])
    return [
        f'Without {texts[kind]}, AP50 would be {facts.cost[kind]:.2f} higher (there are {facts.counts[kind]:,} at the '
        f'score {facts.score:.2f}).'
        for kind in order
        if facts.cost[kind] >= threshold('cost')
    ]


def _background(facts: Facts) -> list[str]:
    wrong = facts.counts['background']
    if facts.objects < threshold('least objects') or wrong < threshold('background') * facts.objects:
        return []
    return [f'{wrong:,} detections are on background, compared with {number(facts.objects, "object")}: check for '
            'objects without a box among them.']  # fmt: skip


def _confused(facts: Facts) -> list[str]:
    objects = {name: count for name, count, *_ in facts.classes}
    return [
        f'{count:,} of {objects[name]:,} objects of {name} are detected as {said}.'
        for name, said, count in sorted(facts.confused, key=lambda each: -each[2])
        if objects[name] >= threshold('least objects') and count >= threshold('confused') * objects[name]
    ]


def _weak_classes(facts: Facts) -> list[str]:
    mean, found = facts.metrics['AP'], []
    for name, objects, ap, *_ in facts.classes:
        if len(facts.classes) < 2 or objects < threshold('least objects') or ap >= threshold('weak class') * mean:
            continue
        boxes = facts.train_boxes.get(name)
        why = f'; it has {number(boxes, "training box")}' if boxes is not None else ''
        if boxes is not None and boxes < threshold('rare class'):
            why += ', which is few'
        found.append(f'The AP of {name} is {ap:.2f}, the mean {mean:.2f}{why}.')
    return found


def _more_epochs(facts: Facts) -> list[str]:
    if len(facts.losses) < 3 or len(facts.aps) < 4:
        return []
    fall, quarter = _fall(facts.losses), max(1, len(facts.aps) // 4)
    before, after = (max(ap for _, ap in part) for part in (facts.aps[:-quarter], facts.aps[-quarter:]))
    if fall < threshold('falling loss') or after - before < threshold('rising AP'):
        return []
    return [f'The training loss still falls at the end (by {100 * fall:.0f} % over the last tenth of the epochs), and '
            f'AP rose from {before:.3f} to {after:.3f} in the last quarter: train for more epochs.']  # fmt: skip


def _past_the_best(facts: Facts) -> list[str]:
    if not facts.aps:
        return []
    (epoch, best), (last, end) = max(facts.aps, key=lambda each: each[1]), facts.aps[-1]
    if best - end < threshold('past the best'):
        return []
    return [f'AP was {best:.3f} after epoch {epoch} and is {end:.3f} after epoch {last}: the training overfits; '
            'train for fewer epochs, or with more images or augmentation.']  # fmt: skip


def _unlabelled(facts: Facts) -> list[str]:
    if not facts.unlabelled or facts.unlabelled < threshold('unlabelled') * facts.images:
        return []
    verb = 'has' if facts.unlabelled == 1 else 'have'
    return [f'{facts.unlabelled:,} of {number(facts.images, "image")} of val {verb} no annotations: every detection '
            'on them counts as wrong.']  # fmt: skip


def _few(facts: Facts) -> list[str]:
    if not 0 < facts.objects < threshold('few objects'):
        return []
    return [f'Val has {number(facts.objects, "object")} in {number(facts.images, "image")}: another choice of so few '
            'would give another AP.']  # fmt: skip


def _suspects(facts: Facts) -> list[str]:
    total = sum(facts.suspects.values())
    if not total:
        return []
    kinds = ', '.join(f'{kind}: {count:,}' for kind, count in facts.suspects.items() if count)
    return [f'{number(total, "annotation")} of val should be checked ({kinds}): the list of suspects has their '
            'places.']  # fmt: skip


#: In the order of the page.
RULES: tuple[Callable[[Facts], list[str]], ...] = (
    _nothing, _missed, _low_scores, _loose, _anchors, _kinds, _background, _confused, _weak_classes, _more_epochs,
    _past_the_best, _unlabelled, _suspects, _few,
)  # fmt: skip


#: Rules about detections: they say nothing about the data if nothing has been learned.
_OF_DETECTIONS = (_missed, _low_scores, _loose, _kinds, _background, _confused, _weak_classes, _suspects)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _fall(losses: Sequence[float]) -> float:
    """Return the relative fall of the mean loss from the second-to-last tenth of the epochs to the last."""
    part = max(1, len(losses) // 10)
    if len(losses) < 2 * part:
        return 0.0
    before, after = (sum(each) / part for each in (losses[-2 * part : -part], losses[-part:]))
    return (before - after) / before if before > 0 else 0.0
