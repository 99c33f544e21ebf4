"""Checks of all boxes of a split."""

from pathlib import Path

import pytest

from mmcnn.datasets.check.boxes import SizedBoxes, check_corners, check_crowding, check_crowds, check_format
from mmcnn.datasets.folders.split import DataSplit


def split_of(boxes, name='train', crowds=0, images=None, converted=False):
    """Return a split with image 1 of 100 x 80 pixels; boxes are of category 1, the first ``crowds`` of them crowds."""
    coco = dict(
        images=[dict(id=1, file_name='a.png', width=100, height=80)],
        annotations=[
            dict(id=i, image_id=(images or {}).get(i, 1), category_id=1, bbox=list(box), iscrowd=int(i < crowds))
            for i, box in enumerate(boxes)
        ],
        categories=[dict(id=1, name='a')],
    )
    file = None if converted else Path(f'/data/{name}.json')
    return DataSplit(name, f'{name}.json', Path('/data'), 'images/', coco, ann_file=file)


def corners_of(*splits):
    return check_corners(splits, [SizedBoxes.of(split) for split in splits])


def format_of(split):
    return check_format(split, SizedBoxes.of(split))


def test_corners_are_refused_with_their_cause():
    corners = [(5, 5, 10, 20), (60, 50, 90, 70), *[(70, 60, 100, 80)] * 3, (1, 1, 30, 30)]
    val = split_of([(60, 50, 90, 70)], 'val')  # both splits together have five that exceed their images
    (finding,) = corners_of(split_of(corners), val)
    assert (finding.kind, finding.severity, finding.file) == ('box format', 'fatal', 'train.json and val.json')
    assert finding.text == (
        'the bbox values seem to be corners: all 7 boxes fit their images as x1, y1, x2, y2, but 5 of them exceed '
        "their images as COCO's x, y, width, height, the first is [60, 50, 90, 70]; use width and height, or clip "
        'boxes that exceed their images'
    )


@pytest.mark.parametrize(
    'boxes',
    [
        [],
        [(60, 50, 40, 30), (5, 5, 10, 20)],
        [(1, 1, 30, 30), (2, 3, 40, 50)],  # fits both formats
        [(60, 50, 90, 70), (60, 50, 20, 20)],  # one is not a valid pair of corners
        [(60, 50, 90, 70), *[(1, 1, 30, 30)] * 4],  # a single outlier
    ],
)
def test_what_may_be_width_and_height_is_left_alone(boxes):
    assert list(corners_of(split_of(boxes))) == []


def test_a_small_split_that_may_be_corners_is_only_warned_of():
    val = split_of([(60, 50, 90, 70), (1, 1, 30, 30)], 'val')
    for train in (split_of([(60, 50, 30, 20)] * 9), split_of([(60, 50, 90, 70)] * 3)):
        findings = list(corners_of(train, val))
        assert {(each.kind, each.severity) for each in findings} == {('corners?', 'warning')}
        assert findings[-1].file == 'val.json'
        assert findings[-1].text.startswith('the bbox values seem to be corners: all 2 boxes fit')
    assert list(corners_of(split_of([(60, 50, 90, 70)] * 9, converted=True))) == []


def test_shares_of_the_sides_are_refused_with_their_cause():
    (finding,) = format_of(split_of([(0.1, 0.2, 0.5, 0.5), (0.5, 0.5, 0.4, 1)]))
    assert finding.text == (
        'all 2 boxes have values between 0 and 1, the first is [0.1, 0.2, 0.5, 0.5]: COCO format needs pixels, not '
        'fractions of the sides'
    )
    assert list(format_of(split_of([(0.1, 0.2, 0.5, 0.5), (0.5, 0.5, 0.4, 2)]))) == []
    assert list(format_of(split_of([(0.1, 0.2, 0.5, 0.5)], converted=True))) == []


def test_crowds_are_counted():
    boxes = [(1, 1, 9, 9)] * 12
    assert list(check_crowds(split_of(boxes))) == []
    for arguments, text in (
        (dict(), '6 of 12 boxes are crowd (iscrowd is 1) and are not trained on'),
        (
            dict(name='val'),
            '6 of 12 boxes are crowd (iscrowd is 1) and are not counted, detected or not',
        ),
        (dict(converted=True), '6 of 12 boxes are difficult (difficult is 1) and are not trained on'),
    ):
        (finding,) = check_crowds(split_of(boxes, crowds=6, **arguments))
        assert (finding.kind, finding.severity, finding.text) == ('crowd boxes', 'warning', text)


def test_more_objects_than_ap_counts():
    boxes = [(1, 1, 9, 9)] * 101
    (finding,) = check_crowding(split_of(boxes, 'val'))
    assert finding.severity == 'note'
    assert finding.text.startswith(
        '1 image with more than 100 objects of a class (1 class; the maximum is 101 of category 1, in image 1): AP '
        'counts 100 detections of a class in an image'
    )
    assert list(check_crowding(split_of(boxes))) == []  # the limit only concerns evaluation
    assert list(check_crowding(split_of(boxes, 'val', crowds=1))) == []
    assert list(check_crowding(split_of(boxes, 'val', images={0: 2}))) == []
