"""Each finding appears for numbers that support it, and only for those."""

from dataclasses import replace
from pathlib import Path

import pytest

from mmcnn.report.findings import RULES, THRESHOLDS, Facts, findings

KINDS = ('missed', 'wrongly placed', 'confused', 'duplicate', 'background', 'both')
#: A run without findings.
GOOD = Facts(
    metrics=dict(AP=0.6, AP50=0.85, AP75=0.65),
    classes=[('cat', 400, 0.62, 0.9, 0.7), ('dog', 545, 0.58, 0.8, 0.6)],
    cost=dict.fromkeys(KINDS, 0.01), counts=dict.fromkeys(KINDS, 10), score=0.35, images=72, unlabelled=0,
    objects=945, missed=40, small=200, missed_small=20, found_below=5, img_size=320, anchor_recall=1.0,
    train_boxes=dict(cat=800, dog=900), losses=[5, 4, 3.5, 3.2, 3.1, 3.05, 3.04, 3.03, 3.02, 3.01],
    aps=[(1, 0.3), (4, 0.5), (7, 0.594), (10, 0.6)],
)  # fmt: skip
LOOSE = dict(metrics=dict(AP=0.3, AP50=0.71, AP75=0.2), classes=[])
#: Changed facts, and the resulting finding.
CASES = {
    'missed, small': (
        dict(missed=210, missed_small=160),
        "Of 945 objects, 210 are missed at the score 0.35, 160 of them smaller than 32 x 32 px at the network's input: "
        'train with a larger --img-size (now 320).',
    ),
    'missed': (
        dict(missed=210, missed_small=20, cost=GOOD.cost | dict(missed=0.18)),
        'Of 945 objects, 210 are missed at the score 0.35. Those that are missed at any score cost 0.18 AP50.',
    ),
    'low scores': (
        dict(missed=90, found_below=60),
        '60 of the 90 missed objects are found with a score below 0.35: the detector sees them but is not confident.',
    ),
    'loose': (LOOSE, 'AP50 is 0.71 but AP75 only 0.20: boxes are placed inaccurately.'),
    'duplicates': (
        dict(cost=GOOD.cost | dict(duplicate=0.07), counts=GOOD.counts | dict(duplicate=33)),
        'Without second boxes on an object that has already been found, AP50 would be 0.07 higher (there are 33 at '
        'the score 0.35).',
    ),
    'background': (
        dict(counts=GOOD.counts | dict(background=500)),
        '500 detections are on background, compared with 945 objects: check for objects without a box among them.',
    ),
    'confused': (dict(confused=[('cat', 'dog', 90)]), '90 of 400 objects of cat are detected as dog.'),
    'weak class': (
        dict(classes=[('cat', 400, 0.9, 1, 1), ('dog', 545, 0.2, 0.4, 0.1)], train_boxes=dict(cat=800, dog=21)),
        'The AP of dog is 0.20, the mean 0.60; it has 21 training boxes, which is few.',
    ),
    'more epochs': (
        dict(losses=[10 - 0.6 * i for i in range(10)], aps=[(1, 0.1), (4, 0.2), (7, 0.3), (10, 0.4)]),
        'The training loss still falls at the end (by 12 % over the last tenth of the epochs), and AP rose from 0.300 '
        'to 0.400 in the last quarter: train for more epochs.',
    ),
    'past the best': (
        dict(aps=[(1, 0.3), (4, 0.66), (7, 0.61), (10, 0.6)]),
        'AP was 0.660 after epoch 4 and is 0.600 after epoch 10: the training overfits; train for fewer '
        'epochs, or with more images or augmentation.',
    ),
    'unlabelled': (
        dict(unlabelled=5),
        '5 of 72 images of val have no annotations: every detection on them counts as wrong.',
    ),
    'suspects': (
        dict(suspects={'no box': 3, 'nothing there': 0, 'other class': 1}),
        '4 annotations of val should be checked (no box: 3, other class: 1): the list of suspects has their places.',
    ),
    'few objects': (
        dict(objects=60, images=9, missed=2),
        'Val has 60 objects in 9 images: another choice of so few would give another AP.',
    ),
    'nothing learnt': (
        dict(metrics=dict(AP=0.0, AP50=0.001, AP75=0.0), classes=[]),
        'Nothing has been learned yet: AP50 is 0.001; the training loss falls. Check in the images below that the '
        'boxes are where the objects are.',
    ),
    'no objects': (dict(objects=0, missed=0, small=0), 'Val has no objects: there is nothing to measure.'),
}  # fmt: skip
#: Changes of the same facts that give no finding.
QUIET = {
    'few are missed': dict(missed=90, missed_small=80),
    'of too few objects nothing is reported': dict(confused=[('cat', 'dog', 5)], classes=[('cat', 8, 0.6, 1, 1)]),
    'AP75 is as AP50 lets expect': dict(metrics=dict(AP=0.4, AP50=0.71, AP75=0.4)),
    'a loss that falls while AP stays': dict(losses=[10 - 0.6 * i for i in range(10)]),
    'AP that rises while the loss stays': dict(aps=[(1, 0.1), (4, 0.2), (7, 0.3), (10, 0.4)], losses=[3.0] * 10),
    'an AP that wavers': dict(aps=[(1, 0.3), (4, 0.62), (7, 0.61), (10, 0.6)]),
    'one image of many without annotations': dict(unlabelled=3),
    'kinds that cost little': dict(cost=dict.fromkeys(KINDS, 0.049)),
    'anchors that fit': dict(anchor_recall=0.98),
    'a class that is a little worse': dict(classes=[('cat', 400, 0.8, 1, 1), ('dog', 545, 0.35, 0.5, 0.4)]),
}  # fmt: skip


def test_where_nothing_is_learnt_detections_say_nothing():
    poor = replace(
        GOOD, metrics=dict(AP=0.0, AP50=0.001, AP75=0.0), missed=500, missed_small=180, suspects={'nothing there': 14},
        counts=GOOD.counts | dict(background=2000), confused=[('cat', 'dog', 200)], aps=[(1, 0.2), (4, 0.0)],
    )  # fmt: skip
    first, second = findings(poor)
    assert first.startswith('Nothing has been learned yet: AP50 is 0.001') and second.startswith(
        'AP was 0.200 after epoch 1'
    )


def test_nothing_is_said_of_a_good_run():
    assert findings(GOOD) == []


@pytest.mark.parametrize('name', CASES)
def test_what_the_numbers_carry(name):
    changes, sentence = CASES[name]
    assert findings(replace(GOOD, **changes)) == [sentence]


@pytest.mark.parametrize('name', QUIET)
def test_what_they_do_not_carry(name):
    assert findings(replace(GOOD, **QUIET[name])) == []


def test_anchors_are_named_with_the_loose_boxes():
    facts = replace(GOOD, **LOOSE, anchor_recall=0.6, anchors_command='mmcnn anchors --data x')
    assert findings(facts) == [
        'AP50 is 0.71 but AP75 only 0.20: boxes are placed inaccurately; '
        'the best possible recall of the anchors is 0.60.',
        'The best possible recall of the anchors on the training boxes is only 0.6000: find better ones with mmcnn '
        'anchors --data x.',
    ]


def test_small_objects_are_no_cause_if_others_are_missed_as_often():
    (sentence,) = findings(replace(GOOD, objects=300, small=200, missed=150, missed_small=100))
    assert '--img-size' not in sentence


def test_every_rule_has_a_case():
    said = [{rule for rule in RULES if rule(replace(GOOD, **changes))} for changes, _ in CASES.values()]
    anchors = {rule for rule in RULES if rule(replace(GOOD, anchor_recall=0.6))}
    assert set().union(*said, anchors) == set(RULES)


def test_the_thresholds_are_documented():
    text = (Path(__file__).resolve().parents[2] / 'docs' / 'report.md').read_text()
    for name, (value, meaning) in THRESHOLDS.items():
        assert f'| {name} | {value:g} | {meaning} |' in text
