"""The examples, run as programs until their first result."""

import csv
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmcnn

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / 'examples'
SCRIPTS = sorted(path.name for path in EXAMPLES.glob('*.py'))
NOTEBOOK = EXAMPLES / 'mmcnn.ipynb'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Change to an empty folder; started programs find this mmcnn and its command first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('PATH', str(Path(sys.executable).parent), prepend=os.pathsep)
    return tmp_path


@pytest.fixture
def run(here):
    """``run('train_from_python.py', '--epochs', '1')`` returns the output; the program must succeed."""

    def program(script, *args):
        result = subprocess.run([sys.executable, EXAMPLES / script, *map(str, args)], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
        return result.stdout

    return program


def image_of(folder):
    return sorted((folder / 'images').glob('val*'))[0]


# -------------------------------------------------------------------------------------------------------- the scripts


def test_there_are_six():
    assert len(SCRIPTS) == 6


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_script_is_short_and_says_how_it_is_run(script):
    text = (EXAMPLES / script).read_text(encoding='utf-8')
    assert f'\n    python examples/{script}\n' in text
    assert 20 <= len(text.splitlines()) <= 50
    assert f'| `examples/{script}` |' in (ROOT / 'docs' / 'examples.md').read_text(encoding='utf-8')
    # The examples only use public names: mmcnn itself, and the runtime without PyTorch.
    assert set(re.findall(r'(?:from|import) (mmcnn[.\w]*)', text)) <= {'mmcnn', 'mmcnn.runtime'}
    assert set(re.findall(r'\bmmcnn\.(\w+)\(', text)) <= set(mmcnn.__all__)


@pytest.mark.slow
def test_train_from_python(run, here, shapes):
    out = run('train_from_python.py', '--data', shapes, '--epochs', 2, '--img-size', 64, '--work-dir', 'run',
              '--image', image_of(shapes))  # fmt: skip
    assert len(re.findall(r'^epoch [12]: loss \d+\.\d\d, AP50 [01]\.\d{3}$', out, re.MULTILINE)) == 2
    assert (here / 'run' / 'best.pth').is_file() and (here / 'drawn.jpg').is_file()
    stored = json.loads((here / 'run' / 'evaluation' / 'metrics.json').read_text())
    assert f'best.pth: AP {stored["coco/bbox_mAP"]:.3f}, AP50 {stored["coco/bbox_mAP_50"]:.3f}' in out
    for name in ('circle', 'square', 'triangle'):
        assert f'  {name}: AP {stored[f"coco/bbox_AP/{name}"]:.3f}' in out


@pytest.mark.slow
def test_the_table_has_the_boxes_of_the_drawn_data_set():
    root = mmcnn.check_data('demo').root
    coco = json.loads((root / 'train.json').read_text())
    files = {image['id']: image['file_name'] for image in coco['images']}
    names = {category['id']: category['name'] for category in coco['categories']}
    drawn = {(files[each['image_id']], names[each['category_id']], *each['bbox']) for each in coco['annotations']}
    with (EXAMPLES / 'boxes.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    boxes = {(row['image'], row['class'], *(float(row[key]) for key in ('x1', 'y1', 'x2', 'y2'))) for row in rows}
    known = {image for image, *_ in boxes}
    expected = {(image, name, x, y, x + w, y + h) for image, name, x, y, w, h in drawn if image in known}
    assert boxes == expected and len(known) > 50


@pytest.mark.slow
def test_own_dataset(run, here):
    images = here / 'mine'
    images.mkdir()
    rng, rows = np.random.default_rng(0), []
    for i in range(10):
        cv2.imwrite(str(images / f'{i}.png'), rng.integers(0, 255, (64, 96, 3), np.uint8))
        rows.append([f'{i}.png', 10, 12, 40 + i, 50, 'nut' if i % 2 else 'bolt'])
    with (here / 'boxes.csv').open('w', newline='') as file:
        csv.writer(file).writerows([['image', 'x1', 'y1', 'x2', 'y2', 'class'], *rows, ['0.png', 50, 0, 60, 9, 'nut']])
    out = run('own_dataset.py', '--csv', 'boxes.csv', '--images', 'mine', '--out', 'own', '--epochs', 1,
              '--img-size', 64)  # fmt: skip
    coco = json.loads((here / 'own' / 'train.json').read_text())
    assert len(coco['images']) == 10
    assert sorted(each['id'] for each in coco['annotations']) == list(range(1, 12))
    files = {each['id']: Path(each['file_name']).name for each in coco['images']}
    names = {each['id']: each['name'] for each in coco['categories']}
    boxes = {(files[each['image_id']], *each['bbox'], names[each['category_id']]) for each in coco['annotations']}
    assert {('3.png', 10, 12, 33, 38, 'nut'), ('0.png', 10, 12, 30, 38, 'bolt'), ('0.png', 50, 0, 10, 9, 'nut')} < boxes
    assert 'train.json (train): 8 images' in out and 'train.json (val): 2 images' in out
    assert re.search(r'best\.pth: AP50 \d\.\d{3}$', out.strip())


@pytest.mark.slow
def test_own_backbone(run, here, shapes):
    out = run('own_backbone.py', '--data', shapes, '--epochs', 1, '--img-size', 64, '--work-dir', 'run')
    channels = (3, 16, 32, 64, 96, 128)
    weights = sum(9 * i * o + o for i, o in pairwise(channels))  # each BatchNorm is replaced by a bias
    assert f'PlainNet has {weights:,} parameters' in out
    assert (here / 'run' / 'best.pth').is_file()


@pytest.mark.slow
def test_swap_in_mmdetection(run, here, shapes):
    out = run('swap_in_mmdetection.py', '--ann', shapes / 'train.json', '--images', shapes / 'images', '--scale', 64,
              '--work-dir', 'run')  # fmt: skip
    # These are the published widths of MobileNetV2's stages with strides 4 to 32.
    assert 'mobilenetv2: channels (24, 32, 96, 320), strides (4, 8, 16, 32), 2 steps trained' in out
    assert (here / 'run' / 'last_checkpoint').is_file()


@pytest.mark.slow
def test_export_and_run(run, here):
    pytest.importorskip('onnxscript')
    threshold = 0.1
    out = run('export_and_run.py', '--epochs', 12, '--score-thr', threshold)
    (checkpoint,) = here.glob('work_dirs/*/best.pth')
    assert re.search(r'best\.onnx: .* detections from \S+ on', out) and checkpoint.with_suffix('.onnx').is_file()
    detector, images = mmcnn.Detector(checkpoint, score_thr=threshold), mmcnn.check_data('demo').root / 'images'
    lines = re.findall(r'^(\S+\.jpg) \[(.*)\]$', out, re.MULTILINE)
    assert len(lines) == 3
    for name, found in lines:
        expected = detector(images / name)
        scores = [float(score) for score in re.findall(r'\d\.\d+', found)]
        assert len(scores) > 0 and scores == pytest.approx(expected.scores.tolist(), abs=0.006)  # two decimals
        assert re.findall(r"'(\w+)'", found) == list(expected.names)


@pytest.mark.slow
def test_compare_backbones(run, here, shapes):
    out = run('compare_backbones.py', '--data', shapes, '--backbones', 'cspdarknet-n,mobilenetv2', '--img-size', 64,
              '--epochs', 1, '--seeds', 2, '--work-dir', 'compared')  # fmt: skip
    assert len(re.findall(r'^(?:cspdarknet-n|mobilenetv2): AP 0\.\d{3}, 0\.\d{3}$', out, re.MULTILINE)) == 2
    stored = json.loads((here / 'compared' / 'comparison.json').read_text())
    assert stored['pairs'][0]['verdict'] in out
    assert (here / 'compared' / 'comparison.html').is_file()


# ------------------------------------------------------------------------------------------------------- the notebook


def test_notebook_is_valid_and_holds_no_outputs():
    nbformat = pytest.importorskip('nbformat')
    notebook = nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert 'https://colab.research.google.com/' in notebook.cells[0].source
    assert not any(cell.get('outputs') or cell.get('execution_count') for cell in notebook.cells)


@pytest.mark.slow
def test_notebook_runs(here):
    """Run all cells but the installation, with smaller parameters after the tagged cell, as papermill inserts them."""
    nbclient, nbformat = pytest.importorskip('nbclient'), pytest.importorskip('nbformat')
    pytest.importorskip('onnxscript')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    tags = [cell.metadata.get('tags', []) for cell in notebook.cells]
    assert tags.count(['install']) == tags.count(['parameters']) == 1
    notebook.cells.insert(tags.index(['parameters']) + 1, nbformat.v4.new_code_cell('EPOCHS, IMG_SIZE = 12, 160'))
    notebook.cells.pop(tags.index(['install']))
    nbclient.NotebookClient(notebook, timeout=600, resources=dict(metadata=dict(path=str(here)))).execute()
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
    printed = ''.join(output.get('text', '') for output in outputs)
    assert 'command not found' not in printed
    assert sum('image/png' in output.get('data', {}) for output in outputs) == 2
    assert sum('image/jpeg' in output.get('data', {}) for output in outputs) == 1
    by_pytorch, by_runtime = re.findall(r'^Detections\((.*)\)$', printed, re.MULTILINE)
    assert by_pytorch == by_runtime != 'nothing found'
    run = here / 'work_dirs' / 'notebook'
    assert (run / 'best.pth').is_file() and (run / 'report.html').is_file() and (here / 'detector.onnx').is_file()
