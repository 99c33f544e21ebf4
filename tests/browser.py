"""Headless Chromium, for the tests of pages; they skip where it is not installed."""

import shutil

import pytest


@pytest.fixture(scope='module')
def driver():
    """Headless Chromium."""
    webdriver = pytest.importorskip('selenium.webdriver')
    chromium, chromedriver = shutil.which('chromium'), shutil.which('chromedriver')
    if chromium is None or chromedriver is None:
        pytest.skip('needs Chromium and its driver: apt-get install chromium chromium-driver')
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # Root cannot use the sandbox, /dev/shm is small in containers, and reduced motion makes scrolling instant.
    for each in (
        '--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--window-size=1000,1300',
        '--force-prefers-reduced-motion',
    ):  # fmt: skip
        options.add_argument(each)
    options.set_capability('goog:loggingPrefs', dict(browser='ALL'))
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver)) as driver:
        driver.set_script_timeout(60)
        yield driver
