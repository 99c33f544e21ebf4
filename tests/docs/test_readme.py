"""The README: its length, its numbers and its example, which runs unchanged; and the numbers of docs/index.md."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

import mmcnn
from mmcnn.compat.requirements import MINIMUM_TORCH
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring import wire
from mmcnn.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
INDEX = (ROOT / 'docs' / 'index.md').read_text(encoding='utf-8')
#: Text that is not prose: code, and targets of links.
CODE = re.compile(r'^```.*?^```|`[^`\n]*`|\]\([^)]*\)', re.MULTILINE | re.DOTALL)
#: Names and levels that contain a number.
NAMES = re.compile(r'YOLOv\d|3\.x|COCO 2017|Apache-2\.0|CSPDarknet53|2<sup>i</sup>|level 2')


def numbers(text):
    """Return the numbers in a page's prose."""
    return set(re.findall(r'\d[\d,.]*\d|\d', NAMES.sub('', CODE.sub('', text))))


@pytest.fixture(scope='module')
def counted():
    families = backbone_families()
    return {str(len(families)), str(len(set(families.values())))}


def test_readme_is_short():
    assert len(README.splitlines()) <= 160
    assert max(map(len, README.splitlines())) <= 127


def test_every_number_of_the_readme_is_right(counted):
    minimum = '.'.join(map(str, MINIMUM_TORCH))
    pythons = re.findall(r'python(3\.\d+)', (ROOT / 'Makefile').read_text(encoding='utf-8'))
    assert numbers(README) == {*counted, minimum, *pythons}


def test_every_number_of_the_first_page_is_right(counted):
    cfg = Config.fromfile(ROOT / 'configs' / 'yolov4_cspdarknet53.py')
    with torch.device('meta'):
        model = MODELS.build({'_scope_': 'mmdet', **wire(cfg.model)})
    assert numbers(INDEX) == {*counted, f'{mmcnn.count_parameters(model)[1]:,}'}


def test_the_picture_is_small_and_its_licence_is_beside_it():
    picture = ROOT / 'docs' / 'detections.jpg'
    assert 'docs/detections.jpg' in README and 'docs/detections.LICENSE.txt' in README
    assert picture.stat().st_size <= 300_000 and cv2.imread(str(picture)).shape[1] >= 1000
    licence = picture.with_suffix('.LICENSE.txt').read_text(encoding='utf-8')
    assert 'github.com/Shenggan/BCCD_Dataset' in licence and 'Permission is hereby granted' in licence


@pytest.mark.slow
def test_the_example_from_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('street.jpg', np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    example = re.search(r'^## From Python$.*?```python\n(.*?)^```', README, flags=re.MULTILINE | re.DOTALL)[1]
    names = {}
    exec(compile(example, 'README.md', 'exec'), names)
    assert len([line for line in example.splitlines() if line]) == 6
    assert 0 < names['result'].metrics['AP50'] <= 1 and names['result'].best.is_file()
    assert str(names['result'].best) in capsys.readouterr().out and Path('drawn.jpg').is_file()
