"""comparison.html in Chromium: no errors, widths, links from marks to rows."""

import json
from pathlib import Path

import pytest

from mmcnn.compare.page.writing import write_comparison_page

pytestmark = pytest.mark.slow
BCCD = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'bccd'


@pytest.fixture(scope='module')
def path(made_up, kept_detections, tmp_path_factory):
    folder = tmp_path_factory.mktemp('comparison')
    comparison = made_up()
    if not BCCD.is_dir():
        return write_comparison_page(comparison, folder)
    annotations = json.loads((BCCD / 'val.json').read_text())
    kept_detections(comparison, folder, annotations)
    return write_comparison_page(comparison, folder, annotations, BCCD / 'images', num_images=2)


@pytest.mark.parametrize('width', [390, 1280])
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_it_opens(driver, path, width, theme):
    size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
    features = [dict(name='prefers-color-scheme', value=theme)]
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(features=features))
    driver.get_log('browser')
    driver.get(path.as_uri())
    assert driver.get_log('browser') == []
    assert driver.execute_script('return document.documentElement.scrollWidth') <= width
    shown = 'return [...document.images].every((image) => image.complete && image.naturalWidth > 0)'
    assert driver.execute_script(shown)
    assert driver.execute_script('return document.querySelectorAll(".plot svg .mark").length') > 400


def test_a_dot_leads_to_its_run_though_the_table_is_filtered(driver, path):
    driver.get(path.as_uri())
    field = driver.find_element('css selector', '[data-filter="table-runs"]')
    field.send_keys('no such run')
    assert driver.find_element('css selector', '[data-count="table-runs"]').text == '0 of 36 rows'
    mark = driver.find_element('css selector', '#costs [href="#run-3-1"]')
    driver.execute_script(
        'arguments[0].dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))', mark
    )
    driver.execute_async_script('setTimeout(arguments[0], 200)')
    row = driver.find_element('id', 'run-3-1')
    assert row.is_displayed()
    assert driver.switch_to.active_element == row
    assert row.text.startswith('vgg16 1 ')


def test_only_distinguishable_pairs_are_kept(driver, path):
    driver.get(path.as_uri())
    driver.find_element('css selector', '[data-flagged="table-pairs"]').click()
    rows = '[...document.querySelectorAll("#table-pairs tbody tr")].filter((row) => !row.hidden)'
    kept = driver.execute_script(f'return {rows}.map((row) => row.cells[5].textContent)')
    assert 0 < len(kept) < 66
    assert {*kept} == {'distinguishable'}
