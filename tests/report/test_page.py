"""The page of a report: it shows the findings, escapes names and loads nothing."""

import re

import numpy as np
import pytest
from PIL import Image

from mmcnn.pages.page import render_page
from mmcnn.report.page import sections_of
from mmcnn.report.pictures import COLOURED_KINDS


@pytest.fixture
def page(coco_of, analysed, tmp_path):
    """``page(missing='2.jpg', **facts)``: the page of an example with errors, in which that image file is missing."""

    def make(missing='', name='<script>alert(1)</script>', **facts):
        coco = coco_of([(1, 1, 10, 10, 40, 40), (1, 2, 100, 100, 40, 40), (2, 1, 10, 10, 20, 20)], images=3)
        coco['categories'][0]['name'] = name
        for image in coco['images']:
            if image['file_name'] != missing:
                Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / image['file_name'])
        detections = [(1, 10, 10, 40, 40, 0.9, 1), (1, 100, 100, 40, 40, 0.7, 1), (2, 150, 150, 20, 20, 0.5, 1)]
        return render_page('x', sections_of(analysed(coco, detections, 0.4, **facts), 4))

    return make


def test_the_page(page):
    text = page(anchor_recall=0.6, anchors_command='mmcnn anchors')
    for name in ('findings', 'numbers', 'training', 'errors', 'precision', 'confusion', 'sizes', 'images', 'suspects'):
        assert f'<section id="{name}"' in text
    assert text.count('gallery wide') == 2  # images with errors
    assert text.count('data:image/jpeg') >= 4  # objects and detections for each image
    assert 'The best possible recall of the anchors' in text
    # Names are escaped, and nothing is loaded.
    assert '<script>alert' not in text and '&lt;script&gt;alert(1)' in text
    assert not re.findall(r'(?:src|href)="https?:', text)
    assert 'the image cannot be read' not in text


def test_an_image_that_is_not_there_is_told(page):
    text = page(missing='2.jpg')
    assert '1 missed, 1 background; the image cannot be read.' in text and 'data:image/jpeg' in text


@pytest.mark.slow
def test_in_a_browser(page, driver, tmp_path):
    """No error in the console, and no width beyond the window."""
    (path := tmp_path / 'report.html').write_text(page())
    for width in (1280, 390):
        size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
        driver.get(path.as_uri())
        assert driver.execute_script('return document.documentElement.scrollWidth') <= width
        option = driver.find_element('css selector', '#precision select')
        option.send_keys('0.75')
        shown = 'return [...document.querySelectorAll("#precision [data-option]")].map((each) => each.hidden)'
        assert driver.execute_script(shown) == [True, False]
    assert driver.get_log('browser') == []


def test_kinds_have_a_colour():
    assert {'missed', 'background', 'both', 'confused', 'duplicate', 'wrongly placed'} < set(COLOURED_KINDS)
