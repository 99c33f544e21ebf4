"""Thumbnails with boxes: their size, drawing, escaping."""

import base64

import cv2
import numpy as np
import pytest

from mmcnn.pages.images import LONGEST, Panel, class_colours, gallery, thumbnail
from mmcnn.plots.palette import PALETTE

HOSTILE = '<script>alert("1")</script>'


def decoded(address):
    assert address.startswith('data:image/jpeg;base64,')
    data = base64.b64decode(address.partition(',')[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize('size, expected', [((480, 640), (240, 320)), ((1000, 10), (320, 3)), ((90, 120), (90, 120))])
def test_an_image_is_made_smaller_and_never_larger(size, expected):
    image = decoded(thumbnail(np.full((*size, 3), 200, np.uint8)))
    assert image.shape[:2] == expected
    assert max(image.shape) <= LONGEST


def test_boxes_are_where_they_were_in_the_colours_of_their_classes():
    image = np.full((480, 640, 3), 255, np.uint8)
    small = decoded(thumbnail(image, np.array([[100, 200, 300, 400]]), [1])).astype(int)
    changed = np.argwhere((small < 200).any(-1))
    assert changed.min(0) == pytest.approx((100, 50), abs=2)
    assert changed.max(0) == pytest.approx((200, 150), abs=2)
    assert small[150, 50:52, ::-1].mean(0) == pytest.approx(PALETTE[1], abs=50)  # JPEG smears colours
    assert small[150, 100].min() > 240  # no tag, and no fill


def test_what_is_written_is_escaped():
    panel = Panel(thumbnail(np.zeros((4, 4, 3), np.uint8)), HOSTILE, HOSTILE, HOSTILE, 3)
    text = f'{gallery([panel])}{class_colours([HOSTILE])}'
    assert '<script' not in text
    assert 'data-series="3"' in text
    assert text.count('&lt;script&gt;') == 4
