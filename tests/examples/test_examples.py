"""The examples, run as programs up to their first result."""

import csv
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / 'examples'
SCRIPTS = sorted(path.name for path in EXAMPLES.glob('*.py'))
NOTEBOOK = json.loads((EXAMPLES / 'mmcnn.ipynb').read_text(encoding='utf-8'))


@pytest.fixture
def run(tmp_path):
    """``run('train_from_python.py', '--epochs', '1')``: what it prints; it has to succeed."""

    def program(script, *args):
        result = subprocess.run(
            [sys.executable, EXAMPLES / script, *map(str, args)], cwd=tmp_path, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
        return result.stdout

    return program


@pytest.mark.parametrize('script', SCRIPTS)
def test_scripts_say_how_they_are_run(script):
    text = (EXAMPLES / script).read_text(encoding='utf-8')
    assert f'python examples/{script}' in text
    assert len(text.splitlines()) <= 90
    assert f'| `examples/{script}` |' in (ROOT / 'docs' / 'examples.md').read_text(encoding='utf-8')
    # Only public names: mmcnn itself and the runtime without PyTorch.
    assert set(re.findall(r'(?:from|import) (mmcnn[.\w]*)', text)) <= {'mmcnn', 'mmcnn.runtime'}


def test_there_are_six():
    assert len(SCRIPTS) == 6


@pytest.mark.slow
def test_train_from_python(run, tmp_path, shapes):
    image = next((shapes / 'images').glob('val*'))
    out = run('train_from_python.py', '--data', shapes, '--epochs', 2, '--img-size', 64, '--work-dir', tmp_path / 'run',
              '--image', image)  # fmt: skip
    assert len(re.findall(r'^epoch [12]: loss \d+\.\d\d, AP50 [01]\.\d{3}$', out, re.MULTILINE)) == 2
    assert (tmp_path / 'run' / 'best.pth').is_file() and (tmp_path / 'drawn.jpg').is_file()
    stored = json.loads((tmp_path / 'run' / 'evaluation' / 'metrics.json').read_text())
    assert f'best.pth: AP {stored["AP"]:.3f}, AP50 {stored["AP50"]:.3f}' in out


@pytest.mark.slow
def test_own_dataset_converts_a_table(run, tmp_path):
    images = tmp_path / 'mine'
    images.mkdir()
    rng, rows = np.random.default_rng(0), []
    for i in range(10):
        cv2.imwrite(str(images / f'{i}.png'), rng.integers(0, 255, (64, 96, 3), np.uint8))
        rows.append([f'{i}.png', 10, 12, 40 + i, 50, 'nut' if i % 2 else 'bolt'])
    with (tmp_path / 'boxes.csv').open('w', newline='') as file:
        csv.writer(file).writerows([['image', 'x1', 'y1', 'x2', 'y2', 'class'], *rows, ['0.png', 50, 0, 60, 9, 'nut']])
    out = run('own_dataset.py', '--csv', tmp_path / 'boxes.csv', '--images', images, '--out', tmp_path / 'own',
              '--epochs', 1)  # fmt: skip
    coco = json.loads((tmp_path / 'own' / 'train.json').read_text())
    assert [each['name'] for each in coco['categories']] == ['bolt', 'nut']
    assert len(coco['images']) == 10 and len(coco['annotations']) == 11
    names = {each['id']: each['file_name'] for each in coco['images']}
    boxes = {(names[each['image_id']], *each['bbox'], each['category_id']) for each in coco['annotations']}
    assert {('3.png', 10, 12, 33, 38, 2), ('0.png', 10, 12, 30, 38, 1), ('0.png', 50, 0, 10, 9, 2)} <= boxes
    assert re.search(r'best\.pth: AP50 \d\.\d{3}$', out.strip())


@pytest.mark.slow
def test_own_backbone(run, tmp_path, shapes):
    out = run('own_backbone.py', '--data', shapes, '--epochs', 1, '--work-dir', tmp_path / 'run')
    channels = (3, 16, 32, 64, 96, 128)
    weights = sum(9 * i * o + 2 * o for i, o in pairwise(channels))
    assert f'PlainNet has {weights:,} parameters' in out
    assert (tmp_path / 'run' / 'best.pth').is_file()


@pytest.mark.slow
def test_swap_in_mmdetection(run, tmp_path, shapes):
    out = run('swap_in_mmdetection.py', '--ann', shapes / 'train.json', '--images', shapes / 'images', '--scale', 96,
              '--work-dir', tmp_path / 'run')  # fmt: skip
    assert 'mobilenetv2: channels (24, 32, 96, 320), strides (4, 8, 16, 32), 2 steps trained' in out
    assert (tmp_path / 'run' / 'last_checkpoint').is_file()


@pytest.mark.slow
def test_export_and_run(run, tmp_path, trained, shapes):
    pytest.importorskip('onnxscript')
    image = next((shapes / 'images').glob('val*'))
    out = run('export_and_run.py', '--checkpoint', trained.work_dir / 'best.pth', '--data', shapes, '--image', image)
    assert (tmp_path / 'detector.onnx').is_file()
    assert re.search(r'detector\.onnx: .* detections from 0\.25 on', out)
    assert f'{image.name} [' in out and 'PyTorch is not loaded' in out


@pytest.mark.slow
def test_compare_backbones(run, tmp_path, shapes):
    out = run('compare_backbones.py', '--data', shapes, '--backbones', 'cspdarknet-n,mobilenetv2', '--img-size', 64,
              '--epochs', 1, '--seeds', 2, '--work-dir', tmp_path / 'compared')  # fmt: skip
    assert len(re.findall(r'^(?:cspdarknet-n|mobilenetv2): AP 0\.\d{3}, 0\.\d{3}$', out, re.MULTILINE)) == 2
    stored = json.loads((tmp_path / 'compared' / 'comparison.json').read_text())
    assert stored['pairs'][0]['verdict'] in out
    assert (tmp_path / 'compared' / 'comparison.html').is_file()


def sources(kind):
    return [''.join(cell['source']) for cell in NOTEBOOK['cells'] if cell['cell_type'] == kind]


def test_notebook_holds_no_outputs():
    assert NOTEBOOK['nbformat'] == 4
    assert len({cell['id'] for cell in NOTEBOOK['cells']}) == len(NOTEBOOK['cells'])
    assert not any(cell.get('outputs') or cell.get('execution_count') for cell in NOTEBOOK['cells'])


@pytest.mark.slow
def test_notebook_runs(tmp_path):
    """Its cells in order, in a process; shell lines are run by a shell, and the installation is left out."""
    pytest.importorskip('onnxscript')
    lines = [
        'import subprocess, sys, types',
        'shown = []',
        "display = types.ModuleType('IPython.display')",
        "display.Image, display.display = str, lambda path: shown.append(open(path, 'rb').read(4))",
        "sys.modules |= {'IPython': types.ModuleType('IPython'), 'IPython.display': display}",
    ]
    for cell in sources('code'):
        for line in cell.splitlines():
            if line.startswith('%pip'):
                continue
            if line.startswith('!'):
                command = [sys.executable, '-m', *line[1:].split()]
                lines.append(f'subprocess.run({command!r}, check=True)')
            else:
                lines.append(
                    line.replace('EPOCHS, IMG_SIZE = 20', 'EPOCHS, IMG_SIZE = 8').replace('workers=2', 'workers=0')
                )
    lines.append('assert len(shown) == 3, shown')
    result = subprocess.run([sys.executable, '-c', '\n'.join(lines)], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    assert (tmp_path / 'detector.onnx').is_file() and (tmp_path / 'work_dirs' / 'notebook' / 'report.html').is_file()
