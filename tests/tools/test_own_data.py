"""tools/train.py and test.py on users' data: errors are listed, or skipped on request."""

import hashlib
import json
import re
import shutil

import hotcoco
import pytest

from mmcnn.datasets import check_data


@pytest.fixture
def broken(shapes, tmp_path):
    """A copy of the shapes with a truncated image, an empty box, an unknown class and a training image in val."""
    root = tmp_path / 'data'
    shutil.copytree(shapes, root)
    train, val = (json.loads((root / f'{name}.json').read_text()) for name in ('train', 'val'))
    train['annotations'][0]['bbox'][2] = 0
    train['annotations'][1]['category_id'] = 99
    for annotation in train['annotations']:
        del annotation['area']
    val['annotations'][0]['bbox'] = [float('nan')] * 4
    images = [root / 'images' / image['file_name'] for image in train['images']]
    images[6].write_bytes(images[6].read_bytes()[:-200])
    shutil.copy(root / 'images' / val['images'][0]['file_name'], images[7])
    for name, coco in (('train', train), ('val', val)):
        (root / f'{name}.json').write_text(json.dumps(coco))
    return root


def files(root):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob('*') if path.is_file()}


def test_what_is_at_fault_is_refused_before_anything_is_written(train_tiny, broken, tmp_path):
    result = train_tiny(tmp_path / 'run', args=['--epochs', 1], data=broken)
    assert result.code == 1
    lines = result.err.splitlines()
    assert lines[0].startswith(f'error: {broken}: train.json: 8 images, ')
    assert lines[0].endswith('; cannot be used for training (skip_bad=True skips entries with errors):')
    assert [line for line in lines if line.startswith('error: ')][1:] == [
        'error: truncated image (1)', 'error: train image in val (1)', 'error: unknown category (1)',
        'error: bad box (1)', 'error: box of zero area (1)',
    ]  # fmt: skip
    assert lines[-2] == 'error: box of zero area (1)'  # causes are at the end
    assert lines[-1].endswith('without area; width and height must be positive')
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_it_is_trained_and_tested_without_what_is_bad(train_tiny, run_tool, log_of, broken, tmp_path):
    before = files(broken)
    trained = train_tiny(tmp_path / 'run', args=['--epochs', 1, '--skip-bad'], data=broken)
    assert trained.code == 0, trained.err
    assert (
        'left out: truncated image 1, train image in val 1, unknown category 1, bad box 1, box of zero area 1; '
        'in total 2 images and '
    ) in trained.out
    assert check_data(broken).usable(skip_bad=True).num_train == 6
    assert re.search(r'Epoch\(train\) *\[1\]\[2/2\]', log_of(tmp_path / 'run'))  # six images, batches of four
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    command = ['test', checkpoint, '--data', broken, '--batch-size', 4, '--workers', 0, '--device', 'cpu']
    refused = run_tool(*command, cwd=tmp_path)
    assert refused.code == 1
    assert 'error: bad box (1)' in refused.err
    assert 'truncated' not in refused.err  # errors in training images do not matter
    tested = run_tool(*command, '--skip-bad', cwd=tmp_path)
    assert tested.code == 0, tested.err
    assert 'left out: bad box 1; in total 0 images and 1 box of val.json' in tested.out
    again = run_tool('test', checkpoint, '--workers', 0, '--device', 'cpu', cwd=tmp_path)  # uses the recorded data
    assert again.code == 0, again.err
    assert files(broken) == before


@pytest.mark.slow
def test_another_layout_is_trained_on(train_tiny, shapes, tmp_path):
    root = tmp_path / 'data'
    for name in ('train', 'val'):
        coco = hotcoco.COCO(str(shapes / f'{name}.json'))
        coco.to_yolo(str(root / 'labels' / name))
        (root / 'images' / name).mkdir(parents=True)
        for image in coco.dataset['images']:
            shutil.copy(shapes / 'images' / image['file_name'], root / 'images' / name)
    (root / 'data.yaml').write_text('names: [circle, square, triangle]\ntrain: images/train\nval: images/val\n')
    result = train_tiny(tmp_path / 'run', args=['--epochs', 1], data=root)
    assert result.code == 0, result.err
    assert result.out.strip().splitlines()[-1].startswith('AP50 = ')


def test_skip_bad_goes_with_own_data(run_tool, tmp_path):
    for data in ([], ['--data', 'demo']):
        result = run_tool('train', 'yolov4_cspdarknet53', *data, '--skip-bad', cwd=tmp_path)
        assert (result.code, result.err) == (
            1, 'error: skip_bad=True needs data=PATH: only such data is checked image by image\n',
        )  # fmt: skip


@pytest.mark.slow
def test_a_broken_picture_of_a_classifier(train_classifier, shape_classes, tmp_path):
    root = tmp_path / 'data'
    shutil.copytree(shape_classes, root)
    bad = sorted((root / 'train' / 'square').iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:-100])
    refused = train_classifier(tmp_path / 'run', args=['--epochs', 1], data=root)
    assert refused.code == 1
    assert f'  train/square/{bad.name}: cannot be decoded: image file is truncated\n' in refused.err
    assert not (tmp_path / 'run').exists()
    trained = train_classifier(tmp_path / 'run', args=['--epochs', 1, '--skip-bad'], data=root)
    assert trained.code == 0, trained.err
    assert 'left out: truncated image 1\n' in trained.out
    (config,) = (tmp_path / 'run').glob('*.py')
    assert f"left_out=[\n            'train/square/{bad.name}',\n        ]" in config.read_text()
