"""The page of a report: it holds what was found, escapes names, and loads nothing."""

import re

import numpy as np
import pytest
from PIL import Image

from mmcnn.pages.page import render_page
from mmcnn.report.page import sections_of
from mmcnn.report.pictures import COLOURED_KINDS


@pytest.fixture
def page(coco_of, analysed, tmp_path):
    """``page(images, **facts)``: of an example with an error of each kind."""

    def make(images=4, name='<script>alert(1)</script>', **facts):
        coco = coco_of([(1, 1, 10, 10, 40, 40), (1, 2, 100, 100, 40, 40), (2, 1, 10, 10, 20, 20)], images=3)
        coco['categories'][0]['name'] = name
        for image in coco['images']:
            Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / image['file_name'])
        detections = [(1, 10, 10, 40, 40, 0.9, 1), (1, 100, 100, 40, 40, 0.7, 1), (2, 150, 150, 20, 20, 0.5, 1)]
        return render_page('x', sections_of(analysed(coco, detections, 0.4, **facts), images))

    return make


def test_every_section_is_there(page):
    text = page()
    for name in ('findings', 'numbers', 'training', 'errors', 'precision', 'confusion', 'sizes', 'images', 'suspects'):
        assert f'<section id="{name}"' in text
    assert text.count('data:image/jpeg') >= 4  # two images with errors, objects and detections of each


def test_names_are_escaped_and_nothing_is_loaded(page):
    text = page()
    assert '<script>alert' not in text and '&lt;script&gt;alert(1)' in text
    assert not re.findall(r'(?:src|href)="https?:', text)


def test_an_image_that_is_not_there_is_told(page, tmp_path):
    assert 'the image cannot be read' not in page()
    text = page(images=4)
    (tmp_path / '2.jpg').unlink()
    assert 'data:image/jpeg' in text


def test_anchors_are_a_finding_on_the_page(page):
    assert 'The best possible recall of the anchors' in page(anchor_recall=0.6, anchors_command='mmcnn anchors')


def test_kinds_have_a_colour():
    assert {'missed', 'background', 'both', 'confused', 'duplicate', 'wrongly placed'} < set(COLOURED_KINDS)
