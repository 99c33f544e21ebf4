"""The analysis behind a report, on hand-worked examples."""

import json

import pytest

from mmcnn.report.report import plain


@pytest.fixture
def example(coco_of):
    coco = coco_of([(1, 1, 10, 10, 40, 40), (1, 2, 100, 100, 80, 80), (2, 1, 10, 10, 20, 20), (2, 1, 100, 100, 20, 20)],
                   images=3)  # fmt: skip
    return coco, [
        (1, 10, 10, 40, 40, 0.9, 1), (1, 12, 10, 40, 40, 0.8, 1), (1, 100, 100, 80, 80, 0.7, 1),
        (2, 150, 150, 20, 20, 0.5, 1), (2, 100, 100, 20, 20, 0.3, 1),
    ]  # fmt: skip


def test_images_with_most_errors_come_first(example, analysed):
    analysis = analysed(*example, score=0.4)
    assert [(each.image['id'], each.total) for each in analysis.images] == [(2, 3), (1, 2), (3, 0)]
    assert {kind: count for kind, count in analysis.images[0].counts.items() if count} == dict(missed=2, background=1)
    assert {kind: count for kind, count in analysis.images[1].counts.items() if count} == dict(duplicate=1, confused=1)


def test_sizes_are_those_at_the_input(example, analysed):
    """Images of 200 px are resized to 100 px, so the sides of the objects are halved."""
    rows = {name: (count, kinds) for name, count, kinds in analysed(*example, score=0.4).of_sizes if count}
    assert rows == {'8 to 16 px': (2, [0, 0, 0, 2]), '16 to 32 px': (1, [1, 0, 0, 0]), '32 to 64 px': (1, [0, 0, 1, 0])}


def test_facts(example, analysed):
    facts = analysed(*example, score=0.4).facts
    assert (facts.objects, facts.missed, facts.small, facts.missed_small, facts.found_below) == (4, 2, 3, 2, 1)
    assert (facts.images, facts.unlabelled) == (3, 1)
    assert facts.confused == [('class 2', 'class 1', 1)]
    assert facts.aps == [(1, 0.2)]


def test_the_score_is_where_f1_of_all_classes_is_best(example, analysed):
    """F1 is 2 x 2 / (5 + 4) = 0.44 with all detections, 2 x 1 / (1 + 4) = 0.40 from 0.9, and lower in between."""
    assert analysed(*example).score == 0.3


def test_json_holds_everything(example, analysed):
    content = json.loads(json.dumps(plain(analysed(*example, score=0.4).as_json())))
    assert content['metrics']['AP50'] == pytest.approx(analysed(*example).scores.metrics['AP50'])
    assert [each['file_name'] for each in content['images']] == ['2.jpg', '1.jpg', '3.jpg']
    assert content['errors']['missed']['count'] == 2
    assert content['confusion']['classes'] == ['class 1', 'class 2', 'background']
