"""The report of the environment, including a broken one."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mmcnn import environment
from mmcnn.environment import installation, package
from mmcnn.version import __version__

ROOT = Path(__file__).resolve().parents[1]


def report():
    return dict(re.split(r'  +', line, maxsplit=1) for line in environment.lines())


def write_package(site, module, code='', **versions):
    """Write a package on the path, and distributions by name (with _ for -)."""
    (site / module).mkdir(parents=True)
    (site / module / '__init__.py').write_text(code)
    for name, version in versions.items():
        write_distribution(site, name, version)


def write_distribution(site, name, version, **files):
    folder = site / f'{name}-{version}.dist-info'
    folder.mkdir(parents=True)
    for file, text in {'METADATA': f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n', **files}.items():
        (folder / file.replace('__', '.')).write_text(text)
    return folder


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / 'site'
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def program(tmp_path, monkeypatch, name, code):
    folder = tmp_path / 'bin'
    folder.mkdir()
    (folder / name).write_text(f'#!/bin/sh\n{code}\n')
    (folder / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}:/usr/bin:/bin')


# ---------------------------------------------------------------------------------------------------- the whole report


def test_report_of_this_environment():
    import cv2
    import mmdet
    import mmengine
    import torch

    found = report()
    assert found['mmcnn'].startswith(f'{__version__}, ')
    assert found['Python'].startswith(sys.version.split()[0])
    assert found['torch'].startswith(torch.__version__) and torch.backends.cpu.get_cpu_capability() in found['torch']
    assert found['OpenCV'].startswith(cv2.__version__)
    assert (found['mmengine'], found['mmdet']) == (mmengine.__version__, mmdet.__version__)
    for name in ('numpy', 'hotcoco'):
        assert found[name] == metadata.version(name)
    assert f'pillow {metadata.version("pillow")}' in found['others']
    assert re.search(r'\d of \d+ cores usable', found['CPU'])
    assert re.match(r'\d+\.\d GiB, \d+\.\d GiB available', found['memory'])
    assert not [text for text in found.values() if text.startswith('unknown')]


def test_a_line_that_fails_says_so_and_the_others_are_there(monkeypatch):
    def gone(path):
        raise FileNotFoundError(2, 'No such file or directory', path)

    monkeypatch.setattr('shutil.disk_usage', gone)
    found = report()
    assert found['/dev/shm'] == "unknown (FileNotFoundError: [Errno 2] No such file or directory: '/dev/shm')"
    assert found['numpy'] == metadata.version('numpy')


def test_no_personal_names(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(ROOT.parent))
    assert f'in ~/{ROOT.name}/mmcnn' in report()['mmcnn']
    monkeypatch.setenv('HOME', '/home/jo')
    monkeypatch.setenv('LOGNAME', 'jo')
    monkeypatch.setattr('platform.node', lambda: 'box7')
    for line, expected in (
        ('/home/jo/x, /home/jo: /home/joanna', '~/x, ~: /home/joanna'),
        ("'/data/jo/mmcnn' and /net/box7/jo, joy", "'/data/USER/mmcnn' and /net/HOST/USER, joy"),
    ):
        assert environment._without_names(line) == expected
    monkeypatch.setenv('HOME', '/')  # as in containers
    assert environment._without_names('/opt/mmcnn') == '/opt/mmcnn'


def test_a_user_without_an_entry(monkeypatch):
    def nobody(*args):
        raise KeyError('getpwuid(): uid not found: 1234')

    for variable in ('HOME', 'LOGNAME', 'USER', 'LNAME', 'USERNAME'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr('pwd.getpwuid', nobody)
    assert environment._without_names('/opt/mmcnn') == '/opt/mmcnn'


# ------------------------------------------------------------------------------------------------------------ packages


def test_missing_and_broken_packages(site):
    write_package(site, 'broken_one', 'raise RuntimeError("operator x::nms does not exist\\nmore")', broken_one='1.2')
    write_package(site, 'rude_one', 'raise SystemExit(3)', rude_one='1.3')
    write_package(site, 'bare_one', 'import broken_part_of_it')
    write_package(site, 'fine_one', '__version__ = "1.4+cpu"')
    assert package('absent_one') == 'not installed'
    assert package('broken_one') == '1.2, but it cannot be imported: RuntimeError: operator x::nms does not exist'
    assert package('rude_one') == '1.3, but it cannot be imported: SystemExit: 3'
    assert package('bare_one') == "cannot be imported: ModuleNotFoundError: No module named 'broken_part_of_it'"
    assert package('fine_one') == '1.4+cpu'


def test_two_distributions_of_one_package(site):
    write_package(site, 'vision', '__version__ = "5.1"', vision_headless='5.1.0.9')
    assert package('vision', 'vision', 'vision-headless') == '5.1 (vision-headless 5.1.0.9)'
    write_distribution(site, 'vision', '4.9.0.1')
    assert package('vision', 'vision', 'vision-headless') == (
        '5.1 (vision 4.9.0.1, vision-headless 5.1.0.9); they overwrite each other in one folder: uninstall all of '
        'them, then install one'
    )


@pytest.mark.parametrize(
    ('extension', 'expected'),
    [
        (None, "2.1.0 (mmcv-lite 2.1.0), without compiled operators; mmcnn's replace them"),
        ('', '2.1.0 (mmcv-lite 2.1.0), with compiled operators'),
        (
            'raise ImportError("_ext.so: undefined symbol: _ZN3c10")',
            '2.1.0 (mmcv-lite 2.1.0), with compiled operators, which cannot be loaded: ImportError: _ext.so: undefined '
            'symbol: _ZN3c10',
        ),
    ],
    ids=['lite', 'compiled', 'compiled for another torch'],
)
def test_kinds_of_mmcv(site, monkeypatch, extension, expected):
    for module in ('mmcv', 'mmcv._ext'):  # the real one and the stand-in
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(environment.metadata, 'version', lambda name: {'mmcv-lite': '2.1.0'}[name])
    monkeypatch.setattr(environment.metadata, 'PackageNotFoundError', KeyError)
    write_package(site, 'mmcv', '__version__ = "2.1.0"')
    if extension is not None:
        (site / 'mmcv' / '_ext.py').write_text(extension)
    assert environment._mmcv() == expected


# -------------------------------------------------------------------------------------------------------- installation


@pytest.fixture
def checkout(tmp_path):
    """The package's folder in a repository with one commit, and the commit's hash."""
    root = tmp_path / 'my checkout'
    (root / 'mmcnn').mkdir(parents=True)
    (root / 'mmcnn' / '__init__.py').write_text('')

    def git(*args):
        identity = ['-c', 'user.name=x', '-c', 'user.email=x@example.org']
        return subprocess.run(['git', *identity, *args], cwd=root, check=True, capture_output=True, text=True).stdout

    git('init')
    git('add', '.')
    git('commit', '-m', 'first')
    return root / 'mmcnn', git('rev-parse', 'HEAD').strip()


def test_checkout(checkout, site):
    folder, commit = checkout
    assert installation(folder) == f'not installed, found on the path, in {folder}, commit {commit[:12]}'
    (folder / '__init__.py').write_text('x = 1')
    assert installation(folder).endswith(f', commit {commit[:12]} with local changes')
    direct = f'{{"dir_info": {{"editable": true}}, "url": "{folder.parent.as_uri()}"}}'
    write_distribution(site, 'mmcnn', '0.1.0', WHEEL='', direct_url__json=direct)
    assert installation(folder).startswith(f'installed as editable, in {folder}, commit {commit[:12]}')


def test_wheel_in_the_environment_of_another_project(site):
    (site.parent / '.git').mkdir()
    write_distribution(site, 'mmcnn', '0.1.0', WHEEL='')
    assert installation(site / 'mmcnn') == f'installed as a wheel, in {site}/mmcnn'


def test_commit_that_git_does_not_tell(checkout, tmp_path, monkeypatch):
    folder, _ = checkout
    program(tmp_path, monkeypatch, 'git', 'echo "fatal: detected dubious ownership in repository" >&2; exit 128')
    assert installation(folder).endswith(
        ', commit unknown (exit code 128: fatal: detected dubious ownership in repository)'
    )
    monkeypatch.setenv('PATH', str(tmp_path))
    assert installation(folder).endswith(
        ", commit unknown (FileNotFoundError: [Errno 2] No such file or directory: 'git')"
    )


# ---------------------------------------------------------------------------------------------------------------- GPUs


@pytest.mark.parametrize(
    ('code', 'expected'),
    [
        (
            "echo 'NVIDIA L4, 23034 MiB, 550.54.15'; echo 'NVIDIA T4, 15360 MiB, 550.54.15'",
            'NVIDIA L4, 23034 MiB; NVIDIA T4, 15360 MiB; driver 550.54.15',
        ),
        ('exit 0', 'none found'),
        (
            'echo "NVIDIA-SMI has failed because it could not talk to the driver."; exit 9',
            'unknown, because nvidia-smi fails: exit code 9: NVIDIA-SMI has failed because it could not talk to '
            'the driver.',
        ),
    ],
    ids=['two', 'none', 'no driver'],
)  # fmt: skip
def test_gpus(tmp_path, monkeypatch, code, expected):
    program(tmp_path, monkeypatch, 'nvidia-smi', code)
    assert report()['GPUs'] == expected


def test_no_driver_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert environment._gpus() == 'none found (there is no nvidia-smi)'


def test_gpus_that_torch_sees():
    from types import SimpleNamespace as Fake

    cuda = Fake(device_count=lambda: 1, get_device_name=lambda i: 'NVIDIA L4', get_device_capability=lambda i: (8, 9))
    assert environment._usable_gpus(Fake(cuda=cuda)) == 'sees NVIDIA L4 (compute capability 8.9)'
    cuda.device_count = lambda: 0
    assert environment._usable_gpus(Fake(cuda=cuda)) == 'sees no GPU'
