"""The runner in an environment with only NumPy, ONNX Runtime and OpenCV."""

import ast
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('numpy', 'onnxruntime', 'opencv-python-headless')
CODE = """
import sys
from mmcnn.runtime import Detector
found = Detector(sys.argv[1])(sys.argv[2])
print(found.names, found.boxes.tolist())
"""


def run(*args, **options):
    # Hide this environment, and folders that a developer has put on the path.
    env = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV')}
    return subprocess.run(list(map(str, args)), env=env, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope='module')
def python(tmp_path_factory):
    """Python of a virtual environment with mmcnn from a wheel, without its dependencies, and three other packages."""
    folder = tmp_path_factory.mktemp('empty')
    source = folder / 'source'
    for name in ('mmcnn', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    pip = '-m', 'pip', '--disable-pip-version-check'
    built = run(sys.executable, *pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', folder, source, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob('mmcnn-*.whl')
    assert run(sys.executable, '-m', 'venv', folder / 'venv').returncode == 0
    python = folder / 'venv' / 'bin' / 'python'
    pins = dict(line.split('==') for line in (ROOT / 'constraints.txt').read_text().splitlines() if '==' in line)
    packages = run(python, *pip, '--retries', '1', 'install', *(f'{name}=={pins[name]}' for name in PACKAGES))
    if packages.returncode and 'connection' in packages.stderr.lower():
        pytest.skip('there is no network')
    assert packages.returncode == 0, packages.stderr
    installed = run(python, *pip, 'install', '--no-deps', wheel)
    assert installed.returncode == 0, installed.stderr
    return python


@pytest.mark.slow
def test_three_packages_are_enough(python, exported, tmp_path):
    for name in ('torch', 'mmcv', 'mmengine', 'mmdet', 'PIL', 'matplotlib', 'yaml', 'onnx'):
        assert run(python, '-c', f'import {name}').returncode, name
    cv2.imwrite(str(tmp_path / 'a.png'), exported.cells((0, 1, (0, 0, 255))))
    result = run(python, '-c', CODE, exported(), tmp_path / 'a.png', cwd=tmp_path)
    assert (result.stderr, result.stdout) == ('', "['red'] [[16.0, 0.0, 64.0, 32.0]]\n")


@pytest.mark.slow
def test_it_starts_within_a_second(python, exported, tmp_path):
    path = exported()

    def cpu_seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = 'import sys; from mmcnn.runtime import Detector; Detector(sys.argv[1])'
        assert run(python, '-c', code, path, cwd=tmp_path).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # The bound is for an idle machine; the minimum of several processes is the least disturbed.
    assert min(cpu_seconds() for _ in range(5)) < 1


@pytest.mark.slow
def test_the_command_says_what_is_missing(python, exported, tmp_path):
    command = python.with_name('mmcnn')
    result = run(command, 'infer', exported(), tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith('error: mmcnn infer draws boxes with matplotlib, which is not installed: pip ')
    assert result.stderr.endswith(': pip install matplotlib pillow pyyaml\n')
    (tmp_path / 'best.pth').write_bytes(b'PK')
    result = run(command, 'test', tmp_path / 'best.pth')
    assert result.returncode == 1
    assert result.stderr.startswith('error: mmcnn needs mmcv, which is not installed')
    assert len(result.stderr.splitlines()) == 1


def test_the_runner_is_small():
    """It has at most 250 lines of code without the metadata, not counting docstrings, comments and blank lines."""
    count = 0
    for name in ('__init__', 'detector', 'sessions'):
        tree = ast.parse((ROOT / 'mmcnn' / 'runtime' / f'{name}.py').read_text())
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        documented = {line for text in texts if isinstance(text, ast.Constant)
                      for line in range(text.lineno, text.end_lineno + 1)}  # fmt: skip
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.expr | ast.arg)]
        count += len({line for node in nodes for line in (node.lineno, node.end_lineno)} - documented)
    assert 100 < count <= 250
