"""tools/train.py and test.py with a classifier, whose backbone is then used in a detector."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
import torch

import mmcnn
from mmcnn.config.files import config_folder
from mmcnn.datasets.folders.shapes import CLASSES, make_shape_classes
from mmcnn.errors import CheckpointError
from mmcnn.inference.detector import read_image
from mmcnn.weights.checkpoint import read_checkpoint

CONFIG = 'classification/darknet53'


def sentence(result):
    """Return the single error message of a tool."""
    assert result.code == 1
    assert 'Traceback' not in result.err
    (line,) = result.err.splitlines()
    return line


def losses(work_dir):
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return {entry['iter']: entry['loss'] for entry in entries if 'loss' in entry}


def test_training_leaves_checkpoint_curves_and_top1(trained_classifier, log_of):
    content = read_checkpoint(trained_classifier.checkpoint)
    assert (content['meta']['epoch'], content['meta']['iter']) == (2, 12)
    assert content['meta']['dataset_meta']['classes'] == CLASSES
    assert content['state_dict']['top.classes.weight'].shape[0] == 3
    assert read_image(trained_classifier.work_dir / 'curves.png').std() > 5
    assert not (trained_classifier.work_dir / 'predictions.png').exists()
    assert len(list(trained_classifier.work_dir.glob('best_accuracy_top1_epoch_*.pth'))) == 1
    last = trained_classifier.out.strip().splitlines()[-1]
    assert re.fullmatch(r'top-1 = \d+\.\d\d', last)
    assert log_of(trained_classifier.work_dir).count('there are 3 classes: top-5 is reduced to top-3') == 1
    # The recipe has 0.1 for 256 images.
    assert '4 images per step, learning rate 0.00156' in trained_classifier.out


@pytest.mark.parametrize('with_config', [False, True])
def test_testing_gives_the_numbers_of_the_last_validation(
    run_tool, shape_classes, trained_classifier, log_of, tmp_path, with_config
):
    args = [trained_classifier.checkpoint, '--work-dir', tmp_path, '--device', 'cpu']
    if with_config:
        args = [CONFIG, *args, '--data', shape_classes, '--img-size', 64, '--batch-size', 4, '--workers', 0]
        args += ['--cfg-options', 'model.widen_factor=0.0625', 'model.deepen_factor=0.33']
    result = run_tool('test', *args)
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics.pop('checkpoint') == str(trained_classifier.checkpoint)
    assert list(metrics) == ['accuracy/top1', 'accuracy/top3']
    assert trained_classifier.out.strip().splitlines()[-1] == f'top-1 = {metrics["accuracy/top1"]:.2f}'
    assert f'top-1 {metrics["accuracy/top1"]:.2f} %, top-3 100.00 % of 12 images' in log_of(tmp_path)


@pytest.mark.slow
def test_resume_goes_on_where_the_run_stopped(train_classifier, trained_classifier, log_of, tmp_path):
    first = train_classifier(tmp_path, args=['--epochs', 1, '--resume'])
    assert first.code == 0, first.err
    second = train_classifier(tmp_path, args=['--epochs', 2, '--resume'])
    assert second.code == 0, second.err
    assert 'resumed epoch: 1, iter: 6' in log_of(tmp_path)
    assert '1 of 2 epochs in total are done' in second.out
    assert sorted(losses(tmp_path)) == [6, 12]
    assert read_checkpoint(tmp_path / 'epoch_2.pth')['meta']['iter'] == 12


@pytest.mark.slow
def test_weights_of_other_classes_start_a_run(train_classifier, trained_classifier, shape_classes, tmp_path):
    data = tmp_path / 'two'
    for part in ('train', 'val'):
        for name in ('circle', 'square'):
            shutil.copytree(shape_classes / part / name, data / part / name)
    (data / 'train' / 'circle' / 'notes.txt').touch()
    result = train_classifier(
        tmp_path / 'run',
        f'load_from={trained_classifier.checkpoint}',
        args=['--epochs', 1, '--allow-head-mismatch'],
        data=data,
    )
    assert result.code == 0, result.err
    (line,) = [line for line in result.out.splitlines() if 'entries loaded' in line]
    assert '2 of another shape: top.classes.weight (3, 64) for (2, 64), top.classes.bias (3,) for (2,)' in line
    assert '1 files that are not images by their names are skipped' in result.out
    error = sentence(
        train_classifier(
            tmp_path / 'x',
            'model.widen_factor=0.125',
            f'load_from={trained_classifier.checkpoint}',
            args=['--epochs', 1],
        )
    )
    assert re.search(r'does not fit darknet53: .* of another shape: backbone\.\S+ \(8,', error)


@pytest.mark.slow
def test_a_single_image_that_is_left_over_is_left_out(train_classifier, shape_classes, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(shape_classes, data)
    shutil.copy(next((data / 'train' / 'circle').iterdir()), data / 'train' / 'circle' / 'more.jpg')
    result = train_classifier(tmp_path / 'run', args=['--epochs', 1, '--img-size', 32], data=data)
    assert result.code == 0, result.err  # 25 images, 4 per batch; at 32 pixels BatchNorm would get a single value
    assert read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['meta']['iter'] == 6


def test_other_classes_are_refused(run_tool, trained_classifier, shape_classes, tmp_path):
    for name in ('circle', 'square'):
        shutil.copytree(shape_classes / 'val' / name, tmp_path / 'val' / name)
    error = sentence(run_tool('test', trained_classifier.checkpoint, '--data', tmp_path, '--work-dir', tmp_path / 'x'))
    assert "trained on the classes ('circle', 'square', 'triangle')" in error
    assert f"{tmp_path} has ('circle', 'square')" in error


ERRORS = {
    'data': (['--data', 'nowhere'], [], r'nowhere does not exist; the data folder of a classifier has train/CLASS/'),
    'small img-size': (['--img-size', 16], [], r'img_size=16: it must be at least 32'),
    'backbone': ([], ['model.backbone.type=mmcnn.darknet35'], r"'darknet35'; did you mean darknet53"),
    'foreign': ([], ['model.backbone.type=mmdet.Darknet'], r'mmdet\.Darknet is not a backbone of mmcnn'),
    'levels': (
        [],
        ['model.backbone.out_indices=(3,4,5)'],
        r'out_indices=.*: a classifier always uses the last level',
    ),
    'argument': ([], ['model.dropout=0.5'], r"unexpected keyword argument 'dropout'"),
    'amp': (['--amp', 'fp16', '--device', 'cpu'], [], r'amp=fp16 needs a GPU'),
    'load_from': ([], ['load_from=nowhere.pth'], r'nowhere\.pth does not exist'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_are_one_sentence(run_tool, shape_classes, tmp_path, case):
    args, options, pattern = ERRORS[case]
    if '--data' not in args:
        args = ['--data', shape_classes, *args]
    if options:
        args = [*args, '--cfg-options', *options]
    error = sentence(run_tool('train', CONFIG, *args, cwd=tmp_path))
    assert re.fullmatch(rf'error: .*{pattern}.*', error), error
    assert not list(tmp_path.iterdir())


def test_a_classifier_finds_no_boxes(run_tool, trained_classifier, shape_classes, tmp_path):
    pictures = shape_classes / 'val' / 'circle'
    error = sentence(run_tool('infer', trained_classifier.checkpoint, pictures, '--out', tmp_path / 'out'))
    assert f'{trained_classifier.checkpoint} holds a classifier, which does not detect boxes' in error
    assert not (tmp_path / 'out').exists()


# ------------------------------------------------------------------------------------------- the backbone in a detector


@pytest.mark.slow
def test_backbone_of_a_classifier_starts_a_detector(train_tiny, trained_classifier, tmp_path):
    """The backbone is frozen, so the saved weights must equal the loaded ones."""
    options = {
        'type': 'mmcnn.darknet53',
        'frozen_stages': 5,
        'init_cfg': f"dict(type='Pretrained', checkpoint='{trained_classifier.checkpoint}', prefix='backbone.')",
    }
    config = tmp_path / 'detector.py'
    arguments = ', '.join(f'{key}={value if key != "type" else repr(value)}' for key, value in options.items())
    config.write_text(
        f"_base_ = '{config_folder() / 'yolov4_cspdarknet53.py'}'\nmodel = dict(backbone=dict({arguments}))\n"
    )
    result = train_tiny(tmp_path / 'run', config=config, args=['--epochs', 1])
    assert result.code == 0, result.err
    given = read_checkpoint(trained_classifier.checkpoint)['state_dict']
    found = read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['state_dict']
    keys = [key for key in given if key.startswith('backbone.')]
    assert len(keys) > 100
    for key in keys:
        assert torch.equal(found[key], given[key]), key
    # With another width the weights do not fit, which is reported before the first step.
    result = train_tiny(tmp_path / 'wide', 'model.widen_factor=0.125', config=config, args=['--epochs', 1])
    assert 'does not fit ' in sentence(result)
    assert not list((tmp_path / 'wide').glob('*.pth'))


@pytest.mark.slow
def test_pretraining_on_drawn_shapes(run_tool, tmp_path):
    """A narrow Darknet-53 classifies held-out shapes, and a backbone of the same width loads its weights."""
    data = make_shape_classes(tmp_path / 'data')
    narrow = ['model.widen_factor=0.25', 'model.deepen_factor=0.33']
    result = run_tool(
        'train', CONFIG, '--data', data, '--img-size', 64, '--batch-size', 16, '--workers', 0, '--device', 'cpu',
        '--epochs', 12, '--work-dir', tmp_path / 'run', '--cfg-options', *narrow,
    )  # fmt: skip
    assert result.code == 0, result.err
    last = result.out.strip().splitlines()[-1]
    assert float(last.removeprefix('top-1 = ')) > 70  # chance is 33.3

    checkpoint = tmp_path / 'run' / 'epoch_12.pth'
    init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint), prefix='backbone.')
    backbone = mmcnn.build_backbone('darknet53', widen_factor=0.25, deepen_factor=0.33, init_cfg=init_cfg)
    given = {
        key.removeprefix('backbone.'): value
        for key, value in read_checkpoint(checkpoint)['state_dict'].items()
        if key.startswith('backbone.')
    }
    found = backbone.state_dict()
    assert found.keys() == given.keys()
    assert all(torch.equal(found[key], value) for key, value in given.items())
    # The features separate the classes: the classifier's last layer is applied to the last map of the backbone.
    top = read_checkpoint(checkpoint)['state_dict']
    right = []
    for path in sorted((data / 'val').glob('*/*.jpg')):
        image = cv2.resize(cv2.imread(str(path)), (64, 64))[..., ::-1] / np.float32(255)
        with torch.no_grad():
            features = backbone.eval()(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))[-1].mean(dim=(2, 3))
        scores = features @ top['top.classes.weight'].T + top['top.classes.bias']
        right.append(CLASSES[int(scores.argmax())] == path.parent.name)
    assert np.mean(right) > 0.6
    with pytest.raises(CheckpointError, match='does not fit '):
        mmcnn.build_backbone('darknet53', widen_factor=0.5, deepen_factor=0.33, init_cfg=init_cfg)
