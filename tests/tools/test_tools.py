"""tools/train.py, test.py and infer.py on the command line, with a network that trains in seconds."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmcnn.inference.detector import Detector, read_image

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'yolov4_cspdarknet53'
TINY = ['model.widen_factor=0.0625', 'model.deepen_factor=0.33', 'model.test_cfg.score_thr=0.0']
NUMBERS = [
    'bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', 'bbox_mAP_m', 'bbox_mAP_l',
    'bbox_AR@1', 'bbox_AR@10', 'bbox_AR@100', 'bbox_AR_s@100', 'bbox_AR_m@100', 'bbox_AR_l@100',
]  # fmt: skip


class Call:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def load(path):
    return torch.load(path, weights_only=True)


def changed(checkpoint, path, meta=None, **entries):
    """Write a copy of a checkpoint with other entries."""
    content = load(checkpoint)
    content['meta'] = content['meta'] | (meta or {})
    torch.save(content | entries, path)
    return path


def sentence(result):
    """Return the single error message on stderr of a tool."""
    assert result.code != 0
    assert 'Traceback' not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith('error: ')]
    assert result.err.rstrip().endswith(line)
    return line


def scalars(work_dir, key):
    """Return all logged entries with the key, of all runs in the work dir."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [entry for entry in entries if key in entry]


# ----------------------------------------------------------------------------------------------------------- train.py


def test_training_leaves_checkpoint_pictures_and_events(trained):
    content = load(trained.checkpoint)
    assert (content['meta']['epoch'], content['meta']['iter']) == (2, 4)
    assert content['meta']['dataset_meta']['classes'] == ('circle', 'square', 'triangle')
    assert {'optimizer', 'ema_state_dict', 'message_hub'} <= content.keys()
    assert read_image(trained.work_dir / 'curves.png').std() > 5
    assert read_image(trained.work_dir / 'predictions.png').std() > 5
    (events,) = trained.work_dir.glob('*/vis_data/events.out.tfevents*')
    assert b'loss_bbox' in events.read_bytes()
    assert (trained.work_dir / 'last_checkpoint').read_text() == str(trained.checkpoint)


def test_training_prints_progress_and_ends_with_ap50(trained, log_of):
    assert re.fullmatch(r'AP50 = \d\.\d\d', trained.out.strip().splitlines()[-1])
    assert len(re.findall(r'^epoch [12]/2  step 2/2  .* images/s  ETA .*loss .*bbox ', trained.out, re.MULTILINE)) == 2
    assert len(re.findall(r'Epoch\(train\) *\[[12]\]\[2/2\].*eta: .*loss_bbox: ', log_of(trained.work_dir))) == 2
    assert '4 images per step' in trained.out
    recorded = scalars(trained.work_dir, 'coco/bbox_mAP_50')[-1]['coco/bbox_mAP_50']
    assert trained.out.strip().splitlines()[-1] == f'AP50 = {recorded:.2f}'


@pytest.mark.slow
def test_resume_goes_on_where_the_run_stopped(train_tiny, log_of, tmp_path, monkeypatch):
    real, calls = torch.load, []
    monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: calls.append(kwargs) or real(*args, **kwargs))
    first = train_tiny(tmp_path, args=['--epochs', 1, '--resume'])
    assert first.code == 0
    assert f'there is no checkpoint in {tmp_path} yet: the run starts from the beginning' in first.out
    second = train_tiny(tmp_path, args=['--epochs', 2, '--resume'])
    assert second.code == 0
    assert 'resumed epoch: 1, iter: 2' in log_of(tmp_path)
    assert 'warning' not in second.out
    assert re.findall(r'^epoch (\d)/2  step', second.out, re.MULTILINE) == ['2']
    content = load(tmp_path / 'epoch_2.pth')
    assert (content['meta']['epoch'], content['meta']['iter']) == (2, 4)
    assert content['ema_state_dict']['steps'] == 4
    assert [entry['iter'] for entry in scalars(tmp_path, 'loss')] == [2, 4]
    assert calls
    assert all(kwargs.get('weights_only', True) for kwargs in calls)


def test_resume_needs_the_state_of_a_run(train_tiny, trained, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': load(trained.checkpoint)['state_dict']}, path)
    error = sentence(train_tiny(tmp_path / 'run', args=['--resume', path]))
    assert 'holds only weights' in error
    assert f'use load_from={path}' in error
    assert 'does not exist' in sentence(train_tiny(tmp_path / 'run', args=['--resume', tmp_path / 'nowhere.pth']))


@pytest.mark.parametrize('way', ['resume', 'load_from'])
def test_checkpoint_of_another_width_is_refused_before_the_first_step(train_tiny, trained, tmp_path, way):
    wide = ['model.widen_factor=0.125']
    if way == 'resume':
        result = train_tiny(tmp_path, *wide, args=['--epochs', 3, '--resume', trained.checkpoint])
    else:
        result = train_tiny(tmp_path, *wide, f'load_from={trained.checkpoint}', args=['--epochs', 1])
    error = sentence(result)
    assert str(trained.checkpoint) in error
    assert re.search(r'of another shape: backbone\.\S+ \(8, 8, 3, 3\) for \(16, 8, 3, 3\)', error)
    assert 'epoch 1/' not in result.out
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.slow
def test_a_diverging_run_stops_with_the_images_and_the_last_checkpoint(train_tiny, tmp_path):
    # Two batches per epoch; the learning rate is far too high.
    options = ['custom_hooks.0.warmup_max_fraction=0', 'optim_wrapper.optimizer.lr=1e30']
    result = train_tiny(tmp_path / 'stop', *options, args=['--epochs', 3])
    assert re.match(
        r'error: the loss \(.*loss_obj.*\) is not finite in iteration 2 \(epoch 1\); no checkpoint is affected; use '
        r'on_nan=skip to drop such batches\n  the images of the batch:(\n    \S+/images/\S+\.\w+)+\n$',
        result.err[result.err.index('error: ') :],
    )
    result = train_tiny(tmp_path / 'skip', *options, args=['--epochs', 12, '--on-nan', 'skip'])
    assert '; 11 batches were skipped, 11 of them in a row, which is too many\n  the images of' in result.err


def test_a_work_dir_that_cannot_be_written_is_one_sentence(train_tiny, tmp_path):
    (tmp_path / 'file').touch()
    error = sentence(train_tiny(tmp_path / 'file' / 'run', args=['--epochs', 1]))
    assert error == f'error: cannot write to {tmp_path}/file/run: Not a directory'


@pytest.fixture(scope='module')
def one_class(shapes, tmp_path_factory):
    """A folder with circles only: some images have no objects, one box is a crowd, and the category id is 7."""
    root = tmp_path_factory.mktemp('one_class')
    shutil.copytree(shapes / 'images', root / 'images')
    for name in ('train.json', 'val.json'):
        coco = json.loads((shapes / name).read_text())
        coco['categories'] = [{'id': 7, 'name': 'circle'}]
        coco['annotations'] = [a | {'category_id': 7} for a in coco['annotations'] if a['category_id'] == 1]
        coco['annotations'][0]['iscrowd'] = 1
        with_objects = {annotation['image_id'] for annotation in coco['annotations']}
        assert len(with_objects) < len(coco['images'])
        (root / name).write_text(json.dumps(coco))
    return root


@pytest.mark.slow
def test_one_class_from_weights_of_three(train_tiny, run_tool, trained, one_class, tmp_path):
    run = tmp_path / 'run'
    options = [f'load_from={trained.checkpoint}', 'default_hooks.logger.interval=1']
    result = train_tiny(run, *options, args=['--epochs', 1], data=one_class)
    assert result.code == 1
    assert result.err.endswith('with allow_head_mismatch=True, the head may have another number of classes\n')
    result = train_tiny(run, *options, args=['--epochs', 1, '--allow-head-mismatch'], data=one_class)
    assert result.code == 0, result.err
    # The layers that are newly initialised are listed: only the predictions.
    (line,) = [line for line in result.out.splitlines() if 'entries loaded' in line]
    assert '6 of another shape' in line
    assert (
        re.findall(r'(\S+) \([\d, ]+\) for', line)
        == [f'bbox_head.predictions.{level}.{part}' for level in range(3) for part in ('weight', 'bias')][:5]
    )
    steps = scalars(run, 'loss_cls')
    assert len(steps) == 2
    assert all(step['loss_cls'] == 0 for step in steps)
    assert all(np.isfinite(step['loss']) and step['loss_obj'] > 0 for step in steps)
    assert load(run / 'epoch_1.pth')['state_dict']['bbox_head.predictions.0.bias'].shape == (3 * (5 + 1),)
    # A single class is recorded as text.
    result = run_tool('test', run / 'epoch_1.pth', '--work-dir', tmp_path / 'test')
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / 'test' / 'metrics.json').read_text())
    assert [key for key in metrics if 'bbox_AP/' in key] == ['coco/bbox_AP/circle']
    last = scalars(run, 'coco/bbox_mAP')[-1]
    assert metrics['coco/bbox_AR@100'] == last['coco/bbox_AR@100']


# ------------------------------------------------------------------------------------------------- hostile checkpoints


@pytest.fixture
def hostile(trained, tmp_path):
    """A checkpoint that would create a file ``ran`` beside it when it is loaded."""
    return changed(trained.checkpoint, tmp_path / 'hostile.pth', payload=Call(os.system, f'touch {tmp_path / "ran"}'))


def tool_calls(checkpoint, data, tmp_path):
    """Return every way to pass a checkpoint to a tool: tool, arguments, options."""
    train = [CONFIG, '--data', data, '--img-size', 64, '--work-dir', tmp_path / 'run']
    return {
        'resume': ('train', [*train, '--resume', checkpoint], []),
        'resume option': ('train', train, ['resume=True', f'load_from={checkpoint}']),
        'load_from': ('train', train, [f'load_from={checkpoint}']),
        'test': ('test', [checkpoint, '--data', data, '--work-dir', tmp_path / 'run'], []),
        'test CONFIG': ('test', [CONFIG, checkpoint, '--data', data, '--work-dir', tmp_path / 'run'], []),
        'infer': ('infer', [checkpoint, data / 'images', '--out', tmp_path / 'out'], []),
        'infer CONFIG': ('infer', [CONFIG, checkpoint, data / 'images', '--out', tmp_path / 'out'], []),
    }


@pytest.mark.parametrize('way', tool_calls(Path(), Path(), Path()))
def test_hostile_checkpoint_is_refused_and_not_run(run_tool, shapes, hostile, tmp_path, way):
    tool, args, options = tool_calls(hostile, shapes, tmp_path)[way]
    result = run_tool(tool, *args, '--cfg-options', *TINY, *options)
    name = f'{os.system.__module__}.system'
    assert sentence(result) == (
        f'error: {hostile} was rejected: it asks for `{name}`, which is not plain '
        'data and could run code; nothing was run'
    )
    assert not (tmp_path / 'ran').exists()
    assert not (tmp_path / 'out').exists()
    assert not list(tmp_path.glob('run/*.pth'))


def test_latest_checkpoint_of_the_work_dir_is_refused_too(train_tiny, hostile, tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    hostile.rename(run / 'epoch_1.pth')
    (run / 'last_checkpoint').write_text(str(run / 'epoch_1.pth'))
    for options, args in (([], ['--resume']), (['resume=True'], [])):
        assert 'was rejected: it asks for' in sentence(train_tiny(run, *options, args=['--epochs', 2, *args]))
    assert not (tmp_path / 'ran').exists()


def code_that_leaves(marker):
    return f'__import__("pathlib").Path({str(marker)!r}).touch()'


@pytest.mark.parametrize('way', ['test', 'infer'])
def test_code_in_the_recorded_config_is_refused(run_tool, shapes, trained, tmp_path, way):
    text = load(trained.checkpoint)['meta']['cfg']
    code = f'{text}x = {code_that_leaves(tmp_path / "ran")}\n'
    path = changed(trained.checkpoint, tmp_path / 'x.pth', {'cfg': code})
    tool, args, _ = tool_calls(path, shapes, tmp_path)[way]
    error = sentence(run_tool(tool, *args))
    assert f'the config inside {path} was rejected, line {len(text.splitlines()) + 1}: `__import__' in error
    assert 'Give the config file instead' in error
    assert not (tmp_path / 'ran').exists()


def test_code_that_resuming_would_run_is_refused(train_tiny, trained, tmp_path):
    code = f'gpu_ids = [{code_that_leaves(tmp_path / "ran")}]'
    path = changed(trained.checkpoint, tmp_path / 'x.pth', {'config': code})
    for options, args in (([], ['--resume', path]), (['resume=True', f'load_from={path}'], [])):
        result = train_tiny(tmp_path / 'run', *options, args=['--epochs', 3, *args])
        assert f'the config inside {path} was rejected, line 1' in sentence(result)
    assert not (tmp_path / 'ran').exists()


# ------------------------------------------------------------------------------------------------------------ test.py


@pytest.mark.parametrize('with_config', [False, True])
def test_testing_gives_the_numbers_of_the_last_validation(run_tool, shapes, trained, log_of, tmp_path, with_config):
    args = [trained.checkpoint, '--work-dir', tmp_path, '--device', 'cpu']
    options = [f'test_evaluator.outfile_prefix={tmp_path / "test"}']
    if with_config:
        args = [CONFIG, *args, '--data', shapes, '--img-size', 64, '--batch-size', 4, '--workers', 0]
        options += TINY
    result = run_tool('test', *args, '--cfg-options', *options)
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics.pop('checkpoint') == str(trained.checkpoint)
    names = [*NUMBERS, *(f'bbox_AP/{name}' for name in ('circle', 'square', 'triangle'))]
    assert list(metrics) == [f'coco/{name}' for name in names]
    last = scalars(trained.work_dir, 'coco/bbox_mAP')[-1]
    # Testing folds the norms into the convolutions, validation does not: only rounding differs.
    assert metrics == pytest.approx({key: last[key] for key in metrics}, abs=1e-4)
    boxes = json.loads((tmp_path / 'test.bbox.json').read_text())
    assert len(boxes) > 100
    expected = json.loads((trained.work_dir / 'val.bbox.json').read_text())
    assert len(boxes) == len(expected)
    rows, last_rows = (
        np.array([[box['image_id'], box['category_id'], *box['bbox'], box['score']] for box in each])
        for each in (boxes, expected)
    )
    np.testing.assert_allclose(rows[:, -1], last_rows[:, -1], rtol=1e-4, atol=1e-6)
    # Two boxes with nearly equal scores may be swapped.
    same = np.isclose(rows, last_rows, rtol=1e-4, atol=1e-3).all(axis=1)
    assert same.mean() > 0.99
    header = next(line for line in result.out.splitlines() if line.split()[:2] == ['AP', 'AP50'])
    assert header.split() == ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl']
    assert 'Average Recall' in log_of(tmp_path)


def test_other_classes_are_refused(run_tool, trained, one_class, tmp_path):
    error = sentence(run_tool('test', trained.checkpoint, '--data', one_class, '--work-dir', tmp_path))
    assert "trained on the classes ('circle', 'square', 'triangle')" in error
    assert f"{one_class} has ('circle',)" in error


def test_checkpoint_that_does_not_fit_is_refused(run_tool, shapes, trained, tmp_path):
    options = ['--cfg-options', 'model.widen_factor=0.125', 'model.deepen_factor=0.33']
    error = sentence(
        run_tool('test', CONFIG, trained.checkpoint, '--data', shapes, '--work-dir', tmp_path, '--workers', 0, *options)
    )
    assert f'{trained.checkpoint} does not fit SingleStageDetector' in error
    assert re.search(r'of another shape: backbone\.\S+ \(8, 8, 3, 3\) for \(16, 8, 3, 3\)', error)
    assert not (tmp_path / 'metrics.json').exists()


def test_missing_data_of_a_checkpoint_is_named(run_tool, trained, tmp_path):
    options = ['--cfg-options', 'test_dataloader.dataset.data_root=gone']
    error = sentence(run_tool('test', trained.checkpoint, '--work-dir', tmp_path, *options))
    assert 'the data of the config in the checkpoint is missing: gone/val.json' in error


# ----------------------------------------------------------------------------------------------------------- infer.py


@pytest.fixture
def album(shapes, tmp_path):
    """Five images, two of them in nested folders with non-ASCII names, a broken image, and other files."""
    root = tmp_path / 'album'
    sources = sorted((shapes / 'images').iterdir())
    for source, name in zip(sources, ('a.jpg', 'a.png', 'Straße/日本.jpg', 'Straße/x/y.JPG', 'b.webp'), strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imencode((root / name).suffix.lower(), read_image(source))[1].tofile(root / name)
    (root / 'broken.jpg').write_bytes(b'no picture')
    (root / 'notes.txt').write_text('no picture either')
    (root / 'folder.png').mkdir()
    (root / 'dangling.jpg').symlink_to(root / 'gone.jpg')
    return root


def test_folder_of_pictures(run_tool, trained, album, tmp_path):
    result = run_tool('infer', trained.checkpoint, 'album', '--out', 'found', '--score-thr', 0.001, cwd=tmp_path)
    assert result.code == 0, result.err
    found = tmp_path / 'found'
    records = json.loads((found / 'detections.json').read_text(encoding='utf-8'))
    assert list(records) == ['Straße/x/y.JPG', 'Straße/日本.jpg', 'a.jpg', 'a.png', 'b.webp']
    assert [line for line in result.out.splitlines() if line.startswith('left out')] == [
        'left out: album/dangling.jpg is not read: it is a link to a file that does not exist',
        'left out: 1 file in album is neither an image nor a video: 1 .txt',
        'left out: album/broken.jpg is not an image that OpenCV can read',
    ]
    assert f'{sum(map(len, records.values()))} objects in 5 images' in result.out
    detector = Detector(trained.checkpoint, device='cpu', score_thr=0.001)
    for name, record in records.items():
        image = read_image(album / name)
        picture = read_image(found / name)
        assert picture.shape == image.shape
        expected = detector(image)
        assert len(record) == len(expected.boxes) > 0
        np.testing.assert_allclose([entry['bbox'] for entry in record], expected.boxes, atol=0.006)
        np.testing.assert_allclose([entry['score'] for entry in record], expected.scores, atol=6e-5)
        assert [entry['label'] for entry in record] == expected.labels.tolist()
        assert [entry['name'] for entry in record] == expected.names
    assert np.abs(read_image(found / 'a.png').astype(int) - read_image(album / 'a.png')).max() > 50  # boxes were drawn


def test_one_picture(run_tool, trained, album, tmp_path):
    result = run_tool('infer', trained.checkpoint, album / 'a.jpg', '--out', tmp_path / 'out', '--score-thr', 1)
    assert result.code == 0, result.err
    assert json.loads((tmp_path / 'out' / 'detections.json').read_text()) == {'a.jpg': []}
    assert (tmp_path / 'out' / 'a.jpg').is_file()
    assert '0 objects in 1 image;' in result.out


def test_a_named_config_takes_the_classes_of_the_checkpoint(run_tool, trained, album, tmp_path):
    options = ['--score-thr', 0.001, '--cfg-options', *TINY, 'test_dataloader.dataset.pipeline.1.img_scale=(64,64)']
    result = run_tool(
        'infer', 'yolov4_cspdarknet53', trained.checkpoint, album / 'a.jpg', '--out', tmp_path / 'out', *options
    )
    assert result.code == 0, result.err
    (record,) = json.loads((tmp_path / 'out' / 'detections.json').read_text()).values()
    found = Detector(trained.checkpoint, device='cpu', score_thr=0.001)(album / 'a.jpg')
    assert len(record) == len(found.boxes) > 0
    assert [entry['name'] for entry in record] == found.names


def test_pictures_are_never_overwritten(run_tool, trained, album):
    before = (album / 'a.png').read_bytes()
    error = sentence(run_tool('infer', trained.checkpoint, album, '--out', album))
    assert f'{album / "Straße" / "x" / "y.JPG"} exists and would be overwritten' in error
    assert 'would be overwritten' in sentence(run_tool('infer', trained.checkpoint, album / 'a.png', '--out', album))
    assert (album / 'a.png').read_bytes() == before


def test_no_pictures(run_tool, trained, tmp_path):
    path = tmp_path / 'empty'
    path.mkdir()
    assert f'{path} contains no images or videos' in sentence(run_tool('infer', trained.checkpoint, path))
    path = tmp_path / 'nowhere'
    assert f'there is no image, video or folder {path}' in sentence(run_tool('infer', trained.checkpoint, path))
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'')
    out = tmp_path / 'out'
    error = sentence(run_tool('infer', trained.checkpoint, broken, '--out', out))
    assert f'error: {broken} is not an image that OpenCV can read: it is empty' in error
    assert not out.exists()


def test_model_errors_of_infer_are_sentences(run_tool, trained, album):
    call = ['infer', CONFIG, trained.checkpoint, album, '--cfg-options']
    assert 'did you mean cspdarknet53' in sentence(run_tool(*call, 'model.backbone.type=mmcnn.cspdarknet35'))
    assert 'score_thr=2.0: ' in sentence(run_tool('infer', trained.checkpoint, album, '--score-thr', 2))


# --------------------------------------------------------------------------------------------------- separate processes


def process(*args, cwd, **env):
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd, env={**os.environ, 'OMP_NUM_THREADS': '1', **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_refusal_of_a_true_process_is_one_line(hostile, tmp_path):
    call = [ROOT / 'tools' / 'test.py', 'hostile.pth']
    result = process(*call, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith('error: hostile.pth was rejected: it asks for `')
    assert len(result.stderr.splitlines()) == 1
    result = process(*call, cwd=tmp_path, MMCNN_TRACEBACK='1')
    assert result.returncode == 1
    assert 'Traceback' in result.stderr
    assert 'CheckpointError: hostile.pth was rejected' in result.stderr
    assert not (tmp_path / 'ran').exists()


RANK = """
import os, runpy, sys
import torch
import mmcnn.runs.execution as training

torch.distributed.init_process_group('gloo')  # MMEngine does so, and wraps the model, for GPUs only
rank = os.environ['RANK']
train, leave = training.Runner.train, training._leave_pictures

def spied_train(runner):
    train(runner)
    state = dict(parameters=dict(runner.model.named_parameters()), name=type(runner.model).__name__)
    torch.save(state, f'rank_{rank}.pth')

def spied_leave(runner, checkpoint):
    open(f'pictures_{rank}', 'w').close()
    leave(runner, checkpoint)

training.Runner.train, training._leave_pictures = spied_train, spied_leave
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.mark.slow
def test_two_processes_train_one_model(shapes, tmp_path):
    (tmp_path / 'rank.py').write_text(RANK)
    result = process(
        '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29617', 'rank.py',
        ROOT / 'tools' / 'train.py', CONFIG, '--launcher', 'pytorch', '--data', shapes, '--img-size', 64,
        '--batch-size', 2, '--workers', 0, '--device', 'cpu', '--epochs', 1, '--work-dir', 'run',
        '--cfg-options', *TINY, 'model_wrapper_cfg.type=MMDistributedDataParallel',
        'model_wrapper_cfg.broadcast_buffers=False', 'model_wrapper_cfg.device_ids=None', cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert '4 images per step' in result.stdout
    ranks = [load(tmp_path / f'rank_{rank}.pth') for rank in range(2)]
    assert [rank['name'] for rank in ranks] == ['MMDistributedDataParallel'] * 2
    assert ranks[0]['parameters'].keys() == ranks[1]['parameters'].keys()
    for name, value in ranks[0]['parameters'].items():
        assert torch.equal(value, ranks[1]['parameters'][name]), name
    assert [path.name for path in tmp_path.glob('pictures_*')] == ['pictures_0']
    assert (tmp_path / 'run' / 'predictions.png').is_file()
    assert load(tmp_path / 'run' / 'epoch_1.pth')['meta']['iter'] == 2
    assert re.fullmatch(r'AP50 = \d\.\d\d', result.stdout.strip().splitlines()[-1])
    assert result.stdout.count('AP50 = ') == 1


@pytest.mark.slow
def test_a_swapped_detector_needs_its_flag_once(run_tool, train_tiny, shapes, tmp_path):
    result = train_tiny(tmp_path / 'run', args=['--epochs', 1, '--backbone', 'mobilenetv2'])
    assert result.code == 0, result.err
    assert 'backbone: mobilenetv2 in place of mmcnn.cspdarknet53' in result.out
    assert 'images are normalised as mobilenetv2 expects' in result.out
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    trained = scalars(tmp_path / 'run', 'coco/bbox_mAP')[-1]

    result = run_tool('test', checkpoint, '--work-dir', tmp_path / 'test', '--device', 'cpu')
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / 'test' / 'metrics.json').read_text())
    assert metrics['coco/bbox_mAP'] == pytest.approx(trained['coco/bbox_mAP'], abs=1e-4)

    result = run_tool('infer', checkpoint, shapes / 'images', '--out', tmp_path / 'found', '--score-thr', 0)
    assert result.code == 0, result.err
    assert json.loads((tmp_path / 'found' / 'detections.json').read_text())

    # The checkpoint does not fit another backbone.
    result = run_tool(
        'test', CONFIG, checkpoint, '--backbone', 'vgg11', '--data', shapes, '--work-dir', tmp_path / 'no'
    )
    assert result.code == 1 and 'does not fit ' in result.err
