"""The interactive parts of a page, in Chromium: sorting, filtering, marks, keyboard, themes, widths, files."""

import base64
import re

import pytest
from markupsafe import Markup

from mmcnn.pages.figures import choice, colour_of, drawing, marker_of
from mmcnn.pages.images import Panel, gallery
from mmcnn.pages.page import Section, copyable, download, write_page
from mmcnn.pages.tables import Cell, Column, Row, table

pytestmark = pytest.mark.slow
NAMES = ('vgg16', 'resnet50', 'resnet101', 'a-very-long-name-of-a-backbone-with-its-weights-and-its-fraction')
PIXEL = 'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    figures = []
    for cost in ('latency', 'memory'):
        with drawing(cost) as made:
            axes = made.figure.subplots()
            for i, name in enumerate(NAMES):
                point = axes.plot([i], [0.4 + 0.01 * i], marker_of(i), color=colour_of(i))[0]
                made.mark(point, series=i, tip=f'{name} by {cost}', link=f'#row-{i}')
        figures.append((cost, made.html('Four points', legend=NAMES)))
    values = (0.9, 0.45, None, 0.05)
    rows = [
        Row(
            [name, Cell('-' if v is None else f'{v:.2f}', float('nan') if v is None else v, v)],
            f'row-{i}',
            flagged=i > 1,
        )
        for i, (name, v) in enumerate(zip(NAMES, values, strict=True))
    ]
    wide = [Row([f'cell {i} of a wide table' for i in range(30)])]
    panels = [Panel(PIXEL, name, 'text', 'a pixel', i) for i, name in enumerate(NAMES)]
    sections = [
        Section('figures', 'Figures', choice('Cost', figures) + gallery(panels)),
        Section('tables', 'Tables', Markup('\n').join([
            table('t', 'Rows', [Column('name'), Column('AP', True)], rows, filter_label='With', only_flagged='good'),
            table('wide', 'Wide ' * 100, [Column(f'column {i}') for i in range(30)], wide),
            copyable('mmcnn train ' + 'x' * 300), download('a.csv'),
        ])),
    ]  # fmt: skip
    path = tmp_path_factory.mktemp('page') / 'page.html'
    write_page(path, 'A title', sections, {'a.csv': 'a,b\r\nü,"2"\r\n'})
    return path


@pytest.fixture
def page(driver, path):
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size(1280))
    driver.get_log('browser')  # discards messages of earlier pages
    driver.get(path.as_uri())
    yield driver
    assert driver.get_log('browser') == []


def size(width):
    return dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 500)


def press(driver, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def names(page):
    rows = '[...document.getElementById("t").tBodies[0].rows].filter((row) => !row.hidden)'
    return page.execute_script(f'return {rows}.map((row) => row.cells[0].innerText)')


def focused(page, what='getAttribute("aria-label")'):
    return page.execute_script(f'return document.activeElement.{what}')


def test_a_table_is_sorted_by_numbers_and_by_words(page):
    name, score = page.find_elements('css selector', '#t thead button')
    orders = 'return [...document.querySelectorAll("#t thead th")].map((head) => head.getAttribute("aria-sort"))'
    assert page.execute_script(orders) == ['none', 'none']
    score.click()
    assert names(page) == [NAMES[0], NAMES[1], NAMES[3], NAMES[2]]  # cells without a number come last
    assert page.execute_script(orders) == ['none', 'descending']
    score.click()
    assert names(page) == [NAMES[3], NAMES[1], NAMES[0], NAMES[2]]
    assert page.execute_script(orders) == ['none', 'ascending']
    name.click()
    assert names(page) == [NAMES[3], NAMES[1], NAMES[2], NAMES[0]]  # numbers in names are sorted as numbers
    assert page.execute_script(orders) == ['ascending', 'none']


def test_a_table_is_filtered_and_a_link_shows_its_row_all_the_same(page):
    field, box = page.find_elements('css selector', '[data-filter="t"], [data-flagged="t"]')
    count = page.find_element('css selector', '[data-count="t"]')
    field.send_keys('RES net')
    assert (names(page), count.text) == ([NAMES[1], NAMES[2]], '2 of 4 rows')
    box.click()
    assert (names(page), count.text) == ([NAMES[2]], '1 of 4 rows')
    page.execute_script('location.hash = "#row-0"')
    page.execute_async_script('setTimeout(arguments[0], 100)')
    assert names(page) == [*NAMES]
    assert (focused(page, 'id'), field.get_property('value'), count.text) == ('row-0', '', '4 of 4 rows')


def test_marks_tell_and_lead_by_pointer(page):
    from selenium.webdriver.common.action_chains import ActionChains

    mark = page.find_element('css selector', '[aria-label="resnet50 by latency"]')
    ActionChains(page).move_to_element_with_offset(mark, 10, 8).perform()  # next to the mark
    tip = page.find_element('id', 'tip')
    assert (tip.is_displayed(), tip.text) == (True, 'resnet50 by latency')
    ActionChains(page).click().perform()
    page.execute_async_script('setTimeout(arguments[0], 100)')
    assert focused(page, 'id') == 'row-1'
    assert not tip.is_displayed()


def test_everything_is_reached_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    press(page, Keys.TAB)
    assert focused(page, 'textContent') == 'Skip to the content'
    stops = ['#theme', 'nav a', 'nav a', '.choice select', *['.legend button'] * 4, '.scroll', '.mark']
    for stop in stops:
        press(page, Keys.TAB)
        assert page.execute_script(f'return document.activeElement.matches({stop!r})'), (
            stop,
            focused(page, 'outerHTML.slice(0, 200)'),
        )
    assert focused(page) == 'vgg16 by latency'
    press(page, Keys.ARROW_RIGHT)
    assert focused(page) == page.find_element('id', 'tip').text == 'resnet50 by latency'
    press(page, Keys.END)
    assert focused(page) == f'{NAMES[3]} by latency'
    press(page, Keys.ARROW_RIGHT, Keys.ENTER)
    page.execute_async_script('setTimeout(arguments[0], 100)')
    assert focused(page, 'id') == 'row-0'
    page.execute_script('document.querySelector("#t thead button").focus()')
    press(page, Keys.ENTER)
    assert names(page)[0] == NAMES[3]


def test_the_legend_hides_a_series_in_its_section(page):
    button = page.find_elements('css selector', '.legend button')[0]
    button.click()
    assert button.get_attribute('aria-pressed') == 'false'
    parts = '[...document.querySelectorAll("#figures .mark, #figures figcaption")]'
    shown = f'return {parts}.filter((part) => part.checkVisibility()).length'
    assert page.execute_script(shown) == 6
    assert (
        page.execute_script('return document.querySelector("#figures .mark[tabindex=\\"0\\"]").ariaLabel')
        == 'resnet50 by latency'
    )
    button.click()
    assert page.execute_script(shown) == 8


def test_one_figure_is_chosen(page):
    from selenium.webdriver.support.ui import Select

    shown = 'return [...document.querySelectorAll("[data-option]")].map((each) => each.checkVisibility())'
    assert page.execute_script(shown) == [True, False]
    Select(page.find_element('css selector', '.choice select')).select_by_visible_text('memory')
    assert page.execute_script(shown) == [False, True]


def test_themes(page):
    from selenium.webdriver.support.ui import Select

    colour = 'return getComputedStyle(document.body).backgroundColor'
    dark = {'features': [{'name': 'prefers-color-scheme', 'value': 'dark'}]}
    light = page.execute_script(colour)
    page.execute_cdp_cmd('Emulation.setEmulatedMedia', dark)
    try:
        assert (light, page.execute_script(colour)) == ('rgb(255, 255, 255)', 'rgb(20, 24, 27)')
        select = Select(page.find_element('id', 'theme'))
        select.select_by_visible_text('light')
        assert page.execute_script(colour) == light
        page.refresh()
        assert page.execute_script(colour) == light  # the page remembers the theme
        Select(page.find_element('id', 'theme')).select_by_visible_text('system')
        assert page.execute_script(colour) == 'rgb(20, 24, 27)'
    finally:
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_text_on_a_shade_is_read(page, theme):
    page.execute_script('document.documentElement.dataset.theme = arguments[0]', theme)
    script = """
      const cell = getComputedStyle(document.querySelector('#t .heat[style*="0.9"]'));
      const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
      return [cell.color, cell.backgroundColor].map((colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
      });
    """
    high, low = sorted((luminance(each) + 0.05 for each in page.execute_script(script)), reverse=True)
    assert high / low >= 4.5


def luminance(colour):
    parts = [each / 255 for each in colour]
    parts = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize('width', [320, 390, 1280])
def test_only_boxes_of_their_own_scroll_sideways(page, width):
    page.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size(width))
    assert page.execute_script('return document.documentElement.scrollWidth') <= width
    assert page.execute_script('return document.querySelector("#wide").parentElement.scrollWidth') > width


def test_a_file_is_saved_and_a_command_copied(page, tmp_path):
    page.execute_cdp_cmd('Browser.setDownloadBehavior', dict(behavior='allow', downloadPath=str(tmp_path)))
    page.find_element('css selector', '[data-download]').click()
    wait = """
      const done = arguments[0];
      const look = () => document.getElementById('said').textContent ? done() : setTimeout(look, 20);
      look();
    """
    page.execute_async_script(wait)
    for _ in range(100):
        if (tmp_path / 'a.csv').is_file():
            break
        page.execute_async_script('setTimeout(arguments[0], 20)')
    assert (tmp_path / 'a.csv').read_bytes() == 'a,b\r\nü,"2"\r\n'.encode()
    page.execute_script('document.getElementById("said").textContent = ""')
    page.find_element('css selector', '[data-copy]').click()
    page.execute_async_script(wait)
    selected = page.execute_script('return getSelection().toString()')
    assert page.find_element('css selector', '[data-copy]').text == 'Copied' or re.fullmatch(
        'mmcnn train x{300}', selected
    )


def test_it_is_drawn(page, tmp_path):
    """Some pixels of the screen have the colour of the first series."""
    import cv2
    import numpy as np

    shot = base64.b64decode(page.execute_cdp_cmd('Page.captureScreenshot', dict(format='png'))['data'])
    pixels = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    assert (pixels == (0xB2, 0x72, 0x00)).all(-1).sum() > 20
