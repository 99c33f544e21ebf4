"""tools/compare_backbones.py on the command line."""

import json
import math
import re

import pytest
from PIL import Image

from mmcnn.compare import trainings

CONFIG = 'yolov4_cspdarknet53'
OPTIONS = ['model.widen_factor=0.0625', 'model.deepen_factor=0.33', 'model.test_cfg.score_thr=0.0']


@pytest.fixture
def compare(run_tool, shapes, tmp_path):
    def run(*args, config=CONFIG, data=shapes, options=OPTIONS):
        return run_tool(
            'compare_backbones', config, '--data', data, '--img-size', 64, '--batch-size', 4, '--workers', 0,
            '--device', 'cpu', '--epochs', 1, '--latency-runs', 2, '--work-dir', tmp_path / 'runs', *args,
            '--cfg-options', *options, cwd=tmp_path,
        )  # fmt: skip

    return run


@pytest.mark.slow
def test_comparison_and_its_second_call(compare, tmp_path, monkeypatch):
    work_dir = tmp_path / 'runs'
    result = compare('--backbone', 'mobilenetv2', '--backbone', 'mmcnn.darknet53', '--backbone', 'mobilenetv2')
    assert result.code == 0, result.err + result.out
    rows = json.loads((work_dir / 'comparison.json').read_text())['rows']
    assert [row['backbone'] for row in rows] == ['mobilenetv2', 'darknet53']
    for row in rows:
        assert row['failures'] == {}
        numbers = [row['parameters'], row['latency_ms'], *row['AP'], *row['AP50'], *row['seconds']]
        assert len(numbers) == 5
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert row['latency_ms'] > 0
        # Three classes as in the data, not 80 as in the config.
        content = (work_dir / row['backbone'] / 'seed_0' / f'{CONFIG}.py').read_text()
        assert f"type='mmcnn.{row['backbone']}'" in content
        assert 'num_classes=3' in content
    assert rows[0]['parameters'] != rows[1]['parameters']
    table = (work_dir / 'comparison.md').read_text()
    assert table in result.out
    assert table.count('\n| `') == 2
    assert Image.open(work_dir / 'comparison.png').size == (800, 550)

    # A second call trains nothing; a third backbone is trained alone.
    monkeypatch.setattr(trainings.Run, 'train', lambda run, *args: pytest.fail(f'{run.title} was trained again'))
    (work_dir / 'comparison.png').unlink()
    result = compare('--backbone', 'darknet53', '--backbone', 'mobilenetv2')
    assert result.code == 0, result.err
    assert result.out.count('already trained') == 2
    again = json.loads((work_dir / 'comparison.json').read_text())['rows'][::-1]
    keys = ('backbone', 'parameters', 'AP', 'AP50', 'seconds')
    assert [[row[key] for key in keys] for row in again] == [[row[key] for key in keys] for row in rows]
    assert (work_dir / 'comparison.png').is_file()

    trained = []
    monkeypatch.setattr(
        trainings.Run, 'train', lambda run, *args: trained.append(run.candidate.backbone) or 'no memory'
    )
    result = compare('--backbone', 'darknet53', '--backbone', 'vgg16')
    assert trained == ['vgg16']
    assert result.code == 1  # but the table was printed
    assert '[2/2] vgg16, seed 0: failed: no memory' in result.out
    assert '| `vgg16` | failed |' in result.out
    assert '| `darknet53` | ' in (work_dir / 'comparison.md').read_text()

    result = compare('--backbone', 'darknet53', options=[*OPTIONS, 'model.bbox_head.loss.cls_gain=1'])
    assert result.code == 1
    assert "'model.bbox_head.loss.cls_gain': 1}" in result.err
    result = compare('--backbone', 'darknet53', '--fresh')
    assert trained == ['vgg16', 'darknet53']
    assert not (work_dir / 'darknet53' / 'seed_0').exists()
    assert (work_dir / 'mobilenetv2' / 'seed_0').exists()


@pytest.mark.parametrize(
    ('args', 'error'),
    [
        (
            ['--backbone', 'darknet53', '--backbone', 'vgg61'],
            "backbone=vgg61: unknown backbone 'vgg61'; did you",
        ),
        (['--backbone', 'resnet-fpn-tv', '--backbone', 'inceptionv9'], 'backbone=inceptionv9: unknown backbone'),
        (['--backbone', 'darknet53', '--seeds', '0'], 'seeds=0: the value must be at least 1'),
        (['--backbone', 'darknet53', '--amp', 'fp16'], 'amp=fp16 needs a GPU'),
        (['--backbone', 'darknet53', '--img-size', '65'], 'img_size=65: it must be a multiple of 32'),
        (['--backbone', 'darknet53', '--data', 'nowhere'], 'nowhere does not exist'),
    ],
)
def test_refusals_come_before_any_training(compare, monkeypatch, tmp_path, args, error):
    monkeypatch.setattr(trainings.Run, 'train', lambda run, *args: pytest.fail('trained'))
    result = compare(*args)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith('error: ')
    assert error in line
    assert not (tmp_path / 'runs').exists()


def test_one_that_cannot_be_built_is_named_before_any_training(compare, monkeypatch):
    monkeypatch.setattr(trainings.Run, 'train', lambda run, *args: pytest.fail('trained'))
    result = compare('--backbone', 'darknet53', options=['model.backbone.frozen_stages=9'])
    assert result.err.startswith('error: backbone=darknet53: frozen_stages=9 of darknet53 is not a level')
    result = compare('--backbone', 'darknet53', config='classification/darknet53')
    assert result.err.startswith('error: classification/darknet53 is a classifier; ')


@pytest.mark.slow
def test_one_that_dies_in_training_is_in_the_table(compare):
    diverging = ['custom_hooks.0.warmup_max_fraction=0', 'optim_wrapper.optimizer.lr=1e30']
    result = compare('--backbone', 'darknet53', options=[*OPTIONS, *diverging])
    assert result.code == 1
    assert '| `darknet53` | failed |' in result.out
    assert re.search('seed 0: failed: .*is not finite', result.out)
