"""The wheel and the source distribution: reproducible bytes, and only the files that belong there."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import mmcnn

ROOT = Path(__file__).resolve().parents[1]
NAME = f'mmcnn-{mmcnn.__version__}'
#: Files that an earlier build, also of another release, may have left in a clone.
STALE = ('build/lib/mmcnn/stale.py', 'build/lib/tests/test_stale.py', 'build/bdist.linux-x86_64/wheel/mmcnn/stale.py')
LISTED = ('mmcnn.egg-info/SOURCES.txt', 'setup.py\ntests/test_distribution.py\ndist/stale.bin\n')


def build(kind, source, out):
    """Call the PEP 517 hook that pip and build call, with a fixed date."""
    code = f'import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))'
    env = {**os.environ, 'SOURCE_DATE_EPOCH': '1700000000'}
    done = subprocess.run(
        [sys.executable, '-c', code, str(out)], cwd=source, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def clone(folder):
    folder.mkdir()
    for name in ('mmcnn', 'configs', 'tools', 'tests/docs'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'tests/test_distribution.py'):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """Source distribution and wheel from a clone with stale files, and both from that source distribution."""
    folder = tmp_path_factory.mktemp('built')
    source = clone(folder / 'clone')
    for name in (*STALE, 'dist/stale.bin'):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text('STALE = True\n')
    (source / LISTED[0]).parent.mkdir()
    (source / LISTED[0]).write_text(LISTED[1])
    archive, wheel = build('sdist', source, folder), build('wheel', source, folder)
    with tarfile.open(archive) as file:
        file.extractall(folder / 'unpacked', filter='data')
    again = folder / 'again'
    unpacked = folder / 'unpacked' / NAME
    return archive, wheel, build('sdist', unpacked, again), build('wheel', unpacked, again)


def test_the_same_sources_give_the_same_bytes(built):
    archive, wheel, archive_again, wheel_again = built
    assert archive.name == f'{NAME}.tar.gz' and wheel.name == f'{NAME}-py3-none-any.whl'
    assert archive.read_bytes() == archive_again.read_bytes()
    assert wheel.read_bytes() == wheel_again.read_bytes()


def test_a_source_distribution_tells_nothing_of_who_packed_it(built):
    with tarfile.open(built[0]) as file:
        members = file.getmembers()
    assert {(each.uid, each.gid, each.uname, each.gname) for each in members} == {(0, 0, '', '')}
    assert {each.mtime for each in members} == {1700000000}
    assert {oct(each.mode) for each in members if each.isfile()} == {'0o644', '0o755'}


def test_a_source_distribution_holds_what_a_build_needs_and_no_tests(built):
    with tarfile.open(built[0]) as file:
        names = {each.name.partition('/')[2] for each in file.getmembers() if each.isfile()}
    top = {name for name in names if '/' not in name}
    assert top == {'LICENSE', 'PKG-INFO', 'README.md', 'pyproject.toml', 'setup.cfg', 'setup.py'}
    assert {name.split('/')[0] for name in names - top} == {'mmcnn', 'configs', 'tools', 'mmcnn.egg-info'}
    for folder in ('mmcnn', 'configs', 'tools'):
        files = (path for path in (ROOT / folder).rglob('*') if path.is_file() and path.suffix != '.pyc')
        expected = {path.relative_to(ROOT).as_posix() for path in files}
        assert {name for name in names if name.startswith(f'{folder}/')} == expected


def test_a_wheel_holds_configs_and_tools_and_nothing_of_an_earlier_build_or_of_tests(built):
    with zipfile.ZipFile(built[1]) as file:
        names = set(file.namelist())
    assert {name.split('/')[0] for name in names} == {'mmcnn', f'{NAME}.dist-info'}
    assert not [name for name in names if 'stale' in name or 'test_' in name.rpartition('/')[2]]
    assert 'mmcnn/.mim/configs/yolov4_cspdarknet53.py' in names and 'mmcnn/.mim/tools/train.py' in names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'mmcnn').rglob('*.py')}
    assert {name for name in names if name.endswith('.py') and '.mim' not in name} == modules


def test_a_build_leaves_no_folders_behind(built):
    unpacked = built[2].parents[1] / 'unpacked' / NAME
    assert not (unpacked / 'build').exists() and not (unpacked / 'dist').exists()
