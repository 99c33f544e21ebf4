"""Why AP is what it is, in sentences: each finding has a rule, and only what the numbers carry is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mmcnn.console.layout import number

#: What the rules compare with: name -> value and what it bounds. docs/report.md has the same table.
THRESHOLDS: dict[str, tuple[float, str]] = {
    'least objects': (20, 'objects that a share is said of, at the least'),
    'missed': (0.1, 'share of the objects that are missed, from which on it is said'),
    'small': (0.5, 'share of the missed objects that are below 32 x 32 px at the input, from which on size is a cause'),
    'small apart': (0.2, 'how much more often small objects are missed than the others, in shares, at the least'),
    'low scores': (0.3, 'share of the missed objects that a detection with a lower score finds'),
    'loose': (0.5, 'AP75 / AP50, below which boxes are placed loosely'),
    'AP50 to place': (0.2, 'AP50 from which on it is asked how boxes are placed'),
    'cost': (0.05, 'how much AP50 rises without a kind of error, from which on the kind is said'),
    'recall of anchors': (0.98, 'best possible recall below which anchors do not fit'),
    'falling loss': (0.02, 'fall of the mean training loss over the last tenth of the epochs, as a share'),
    'rising AP': (0.01, 'rise of the best AP over the last quarter of the validations'),
    'past the best': (0.03, 'how far the last AP is below the best one'),
    'confused': (0.1, 'share of the objects of a class that are called another one'),
    'weak class': (0.5, 'AP of a class as a share of the mean AP, below which it is said'),
    'rare class': (50, 'boxes to train on, below which a class is called rare'),
    'few objects': (100, 'objects to validate on, below which AP is uncertain'),
    'background': (0.5, 'errors on background for each object'),
    'nothing': (0.01, 'AP50 below which nothing is learnt'),
    'unlabelled': (0.05, 'share of the images without annotations, from which on it is said'),
    'suspects': (0.5, 'doubt from which on a suspect is counted'),
}


def threshold(name: str) -> float:
    """The value of a row of :data:`THRESHOLDS`."""
    return THRESHOLDS[name][0]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The numbers that findings are made of.

    Attributes:
        metrics: AP, AP50, AP75 ...
        classes: class, objects, AP, AP50, AP75 of each.
        cost: kind of error -> how much AP50 rises without it.
        counts: kind of error -> number of errors at the score ``score``.
        score: lowest score of the detections that errors are counted of.
        images: to validate on.
        unlabelled: of these, without annotations.
        objects: to validate on.
        missed: objects that no detection finds or nearly finds.
        small, missed_small: objects below 32 x 32 px at the network's input, and those of them that are missed.
        found_below: missed objects that a detection with a lower score finds.
        img_size: longer side of the network's input, pixels; None: nothing says it.
        anchor_recall: best possible recall of the anchors on the boxes to train on; None: there are no such anchors.
        anchors_command: what proposes other ones.
        confused: (class, said class, objects of it that are called so).
        train_boxes: class -> boxes to train on; empty: they are not known.
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
    """What the numbers say, the weightiest first."""
    learnt = facts.metrics['AP50'] >= threshold('nothing')
    return [sentence for rule in RULES if learnt or rule not in _OF_DETECTIONS for sentence in rule(facts)]


def _nothing(facts: Facts) -> list[str]:
    if facts.objects == 0:
        return ['Val has no object: there is nothing to measure.']
    if facts.metrics['AP50'] >= threshold('nothing'):
        return []
    trend = _fall(facts.losses)
    story = f'; the training loss {"falls" if trend > 0 else "does not fall"}' if facts.losses else ''
    return [f'Nothing is learnt yet: AP50 is {facts.metrics["AP50"]:.3f}{story}. Look at the images below: are the '
            'boxes where the objects are?']  # fmt: skip


def _missed(facts: Facts) -> list[str]:
    if facts.objects < threshold('least objects') or facts.missed < threshold('missed') * facts.objects:
        return []
    sentence = f'Of {number(facts.objects, "object")} {facts.missed:,} are missed at the score {facts.score:.2f}'
    large, missed_large = facts.objects - facts.small, facts.missed - facts.missed_small
    apart = _share(facts.missed_small, facts.small) - _share(missed_large, large)
    is_size = facts.missed_small >= threshold('small') * facts.missed
    if is_size and (large == 0 or apart >= threshold('small apart')):
        sentence += f", {facts.missed_small:,} of them smaller than 32 x 32 px at the network's input"
        now = f' (it is {facts.img_size} now)' if facts.img_size else ''
        return [f'{sentence}: train with a larger --img-size{now}.']
    return [f'{sentence}. Those that no score finds cost {facts.cost["missed"]:.2f} of AP50.']


def _low_scores(facts: Facts) -> list[str]:
    if facts.missed < threshold('least objects') or facts.found_below < threshold('low scores') * facts.missed:
        return []
    return [f'{facts.found_below:,} of the {facts.missed:,} missed objects are found with a score below '
            f'{facts.score:.2f}: the detector sees them, but is not sure.']  # fmt: skip


def _loose(facts: Facts) -> list[str]:
    high, low = facts.metrics['AP50'], facts.metrics['AP75']
    if high < threshold('AP50 to place') or low >= threshold('loose') * high:
        return []
    sentence = f'AP50 is {high:.2f} but AP75 {low:.2f}: boxes are wrongly placed'
    if facts.anchor_recall is not None and facts.anchor_recall < threshold('recall of anchors'):
        sentence += f'; anchors fit at recall {facts.anchor_recall:.2f}'
    return [f'{sentence}.']


def _anchors(facts: Facts) -> list[str]:
    if facts.anchor_recall is None or facts.anchor_recall >= threshold('recall of anchors'):
        return []
    return [f'The best possible recall of the anchors on the boxes to train on is {facts.anchor_recall:.4f}: other '
            f'anchors fit better, {facts.anchors_command}.']  # fmt: skip


def _kinds(facts: Facts) -> list[str]:
    texts = {
        'wrongly placed': 'boxes that overlap their object by less than 0.5',
        'confused': 'boxes that call an object by another class',
        'duplicate': 'second boxes on an object that is found already',
        'background': 'boxes where there is no object',
        'both': 'boxes that are wrong in place and class',
    }
    order = sorted(texts, key=lambda kind: -facts.cost[kind])
    return [
        f'Without {texts[kind]} AP50 would be {facts.cost[kind]:.2f} higher (there are {facts.counts[kind]:,} at the '
        f'score {facts.score:.2f}).'
        for kind in order
        if facts.cost[kind] >= threshold('cost')
    ]


def _background(facts: Facts) -> list[str]:
    wrong = facts.counts['background']
    if facts.objects < threshold('least objects') or wrong < threshold('background') * facts.objects:
        return []
    return [f'{wrong:,} detections are on background, for {number(facts.objects, "object")}: look whether objects '
            'without a box are among them.']  # fmt: skip


def _confused(facts: Facts) -> list[str]:
    objects = {name: count for name, count, *_ in facts.classes}
    return [
        f'{count:,} of {objects[name]:,} objects of {name} are called {said}.'
        for name, said, count in sorted(facts.confused, key=lambda each: -each[2])
        if objects[name] >= threshold('least objects') and count >= threshold('confused') * objects[name]
    ]


def _weak_classes(facts: Facts) -> list[str]:
    mean, found = facts.metrics['AP'], []
    for name, objects, ap, *_ in facts.classes:
        if len(facts.classes) < 2 or objects < threshold('least objects') or ap >= threshold('weak class') * mean:
            continue
        boxes = facts.train_boxes.get(name)
        why = f'; there are {number(boxes, "box")} of it to train on' if boxes is not None else ''
        if boxes is not None and boxes < threshold('rare class'):
            why += ', which is few'
        found.append(f'AP of {name} is {ap:.2f}, the mean is {mean:.2f}{why}.')
    return found


def _more_epochs(facts: Facts) -> list[str]:
    if len(facts.losses) < 3 or len(facts.aps) < 4:
        return []
    fall, quarter = _fall(facts.losses), max(1, len(facts.aps) // 4)
    before, after = (max(ap for _, ap in part) for part in (facts.aps[:-quarter], facts.aps[-quarter:]))
    if fall < threshold('falling loss') or after - before < threshold('rising AP'):
        return []
    return [f'The training loss still falls at the end (by {100 * fall:.0f} % over the last tenth of the epochs), and '
            f'AP rose from {before:.3f} to {after:.3f} in the last quarter: train more epochs.']  # fmt: skip


def _past_the_best(facts: Facts) -> list[str]:
    if not facts.aps:
        return []
    (epoch, best), (last, end) = max(facts.aps, key=lambda each: each[1]), facts.aps[-1]
    if best - end < threshold('past the best'):
        return []
    return [f'AP was {best:.3f} after epoch {epoch} and is {end:.3f} after epoch {last}: the training goes on past '
            'its best; train fewer epochs, or with more images or augmentation.']  # fmt: skip


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
    return [f'{number(total, "annotation")} of val should be looked at ({kinds}): the list of suspects has their '
            'places.']  # fmt: skip


#: In the order of the page.
RULES: tuple[Callable[[Facts], list[str]], ...] = (
    _nothing, _missed, _low_scores, _loose, _anchors, _kinds, _background, _confused, _weak_classes, _more_epochs,
    _past_the_best, _unlabelled, _suspects, _few,
)  # fmt: skip


#: Rules that look at detections: they say nothing of the data where nothing is learnt.
_OF_DETECTIONS = (_missed, _low_scores, _loose, _kinds, _background, _confused, _weak_classes, _suspects)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _fall(losses: Sequence[float]) -> float:
    """How much the mean loss of the last tenth of the epochs is below that of the tenth before, as a share of it."""
    part = max(1, len(losses) // 10)
    if len(losses) < 2 * part:
        return 0.0
    before, after = (sum(each) / part for each in (losses[-2 * part : -part], losses[-part:]))
    return (before - after) / before if before > 0 else 0.0
