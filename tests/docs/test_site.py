"""The documentation site, built like ``make docs``."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_build_is_strict():
    recipe = re.search(r'^docs: setup\n\t(.+)$', (ROOT / 'Makefile').read_text(encoding='utf-8'), flags=re.MULTILINE)
    assert recipe[1].endswith('zensical build --clean --strict')


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The folder of the built site, and the output of the build."""
    pytest.importorskip('zensical')
    pytest.importorskip('mkdocstrings_handlers')
    folder = tmp_path_factory.mktemp('site')
    for name in ('docs', 'tools', 'mmcnn'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(ROOT / 'mkdocs.yml', folder)
    done = subprocess.run(
        [sys.executable, '-m', 'zensical', 'build', '--clean', '--strict'],
        cwd=folder, env={**os.environ, 'PYTHONPATH': str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / 'site'


def text_of(page):
    """Return a page's text without tags."""
    return re.sub(r'\s+', ' ', re.sub(r'<[^>]+>', '', page.read_text(encoding='utf-8')))


@pytest.mark.slow
def test_every_page_is_built_and_found_by_the_search(site):
    pages = [page.relative_to(ROOT / 'docs').with_suffix('').as_posix() for page in (ROOT / 'docs').rglob('*.md')]
    assert all((site / ('' if page == 'index' else page) / 'index.html').is_file() for page in pages)
    search = (site / 'search.json').read_text(encoding='utf-8')
    assert 'count_parameters' in search and 'Migrating from MMDetection' in search


@pytest.mark.slow
def test_api_pages_have_options_and_no_marks_of_sphinx(site):
    training = text_of(site / 'api' / 'training' / 'index.html')
    assert 'side of the network input, in pixels' in training and 'amp: bool | str | None = None' in training
    for page in (site / 'api').rglob('index.html'):
        assert not re.search(r':(class|func|mod|meth|data|attr):', text_of(page)), page


@pytest.mark.slow
def test_nothing_is_loaded_from_other_servers(site):
    for page in site.rglob('*.html'):
        loads = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text(encoding='utf-8'))
        assert not loads, (page, loads)
