import copy
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import loops
from torch import nn

from mmcnn.console import Console
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop
from mmcnn.errors import CheckpointError, StoppedError
from mmcnn.evaluation import CocoMetric
from mmcnn.recipes.schedule_hook import ScheduleHook
from mmcnn.recipes.step_ema_hook import StepEMAHook
from mmcnn.runs import execution as training
from mmcnn.runs.causes import known_causes
from mmcnn.runs.history_hook import HistoryHook
from mmcnn.weights.checkpoint import read_checkpoint


@pytest.fixture
def config(trained, tmp_path):
    """A copy of the finished run's config for another run."""
    cfg = Config.fromfile(trained.work_dir / 'yolov4_cspdarknet53.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.val_evaluator.outfile_prefix = str(tmp_path / 'val')
    cfg.experiment_name = tmp_path.name  # otherwise MMEngine only distinguishes runs by the second of their start
    return cfg


def scalars(work_dir, key):
    """Return the logged entries with this key."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [entry for entry in entries if key in entry]


@pytest.fixture
def started(monkeypatch):
    """Start a run, stop it before the first step and return the Runner."""
    runners = []

    class StartedError(Exception):
        pass

    def run(loop):
        loop.runner.call_hook('before_train')
        runners.append(loop.runner)
        raise StartedError

    monkeypatch.setattr(ResumableTrainLoop, 'run', run)

    def start(cfg, **settings):
        with pytest.raises(StartedError):
            training.train(cfg, **settings)
        return runners[0]

    return start


def test_parameter_groups_and_hooks_of_a_run(config, started):
    runner = started(config)
    optimizer = runner.optim_wrapper.optimizer
    assert type(optimizer) is torch.optim.SGD
    groups = {group['name']: group for group in optimizer.param_groups}
    assert {name: group['weight_decay'] for name, group in groups.items()} == {'weight': 5e-4, 'norm': 0.0, 'bias': 0.0}
    assert all(group['nesterov'] for group in groups.values())
    modules = list(runner.model.modules())
    convs = {m.weight for m in modules if isinstance(m, nn.Conv2d)}
    norms = {m.weight for m in modules if isinstance(m, nn.BatchNorm2d)}
    biases = {m.bias for m in modules if getattr(m, 'bias', None) is not None}
    assert set(groups['weight']['params']) == convs
    assert set(groups['norm']['params']) == norms
    assert set(groups['bias']['params']) == biases
    assert convs | norms | biases == set(runner.model.parameters())
    for kind in (StepEMAHook, ScheduleHook):
        assert sum(isinstance(hook, kind) for hook in runner.hooks) == 1


def test_schedule_drives_the_learning_rate(trained):
    # Cosine from 0.01 to a tenth over 2 epochs: 0.01, then 0.01 * (1 + 0.1) / 2 in the last epoch.
    files = list(trained.work_dir.glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rates = [entry['base_lr'] for entry in entries if 'base_lr' in entry]
    assert rates[-1] == pytest.approx(0.0055)


@pytest.mark.slow
def test_resumed_run_has_the_whole_state(trained, config, started):
    config.resume, config.load_from = True, str(trained.checkpoint)
    config.train_cfg.max_epochs = 3
    runner = started(config)
    stored = read_checkpoint(trained.checkpoint)
    assert (runner.epoch, runner.iter) == (2, 4)
    # The checkpoint's state_dict is the average; ema_state_dict has the raw weights.
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, StepEMAHook)]
    average, raw = stored['state_dict'], stored['ema_state_dict']
    assert any(not torch.equal(average[key], raw[f'module.{key}']) for key in average)
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, raw[f'module.{key}']), key
    for key, value in hook.ema_model.module.state_dict().items():
        assert torch.equal(value, average[key]), key
    assert hook.ema_model.steps == 4
    momenta = runner.optim_wrapper.optimizer.state_dict()['state']
    assert len(momenta) == len(list(runner.model.parameters()))
    for index, state in stored['optimizer']['state'].items():
        assert torch.equal(momenta[index]['momentum_buffer'], state['momentum_buffer'])
        assert state['momentum_buffer'].abs().sum() > 0
    assert runner.message_hub.get_scalar('train/loss').data[0].size == 4


@pytest.mark.slow
def test_initial_weights_are_taken_without_the_rest(trained, config, started):
    config.load_from = str(trained.checkpoint)
    runner = started(config)
    assert (runner.epoch, runner.iter) == (0, 0)
    assert not runner.optim_wrapper.optimizer.state
    for key, value in read_checkpoint(trained.checkpoint)['state_dict'].items():
        assert torch.equal(runner.model.state_dict()[key], value), key


@pytest.mark.slow
def test_initial_weights_of_other_classes(trained, config, started):
    config.load_from = str(trained.checkpoint)
    config.model.bbox_head.num_classes = 5
    with pytest.raises(CheckpointError, match='with allow_head_mismatch=True'):
        started(config)
    config.load_from = str(trained.checkpoint)
    config.experiment_name += '_allowed'
    state = started(config, allow_head_mismatch=True).model.state_dict()
    for key, value in read_checkpoint(trained.checkpoint)['state_dict'].items():
        if key.startswith('bbox_head.predictions.'):
            assert state[key].shape[0] == 3 * (5 + 5)
        else:
            assert torch.equal(state[key], value), key


def test_other_classes_cannot_be_resumed(trained, config):
    config.resume, config.load_from = True, str(trained.checkpoint)
    config.model.bbox_head.num_classes = 5
    with pytest.raises(CheckpointError, match=r'6 of another shape: bbox_head\.predictions\.0\.weight'):
        training.train(config)


@pytest.mark.slow
def test_training_gives_what_came_of_it(trained, config, capsys):
    config.train_cfg.max_epochs = 1
    result = training.train(config, summary='a line of mine')
    out = capsys.readouterr().out
    assert re.search(r'^steps    1 epoch x 2 iterations; a line of mine$', out, re.MULTILINE)
    assert list(result.metrics) == [
        'AP',
        'AP50',
        'AP75',
        'APs',
        'APm',
        'APl',
        'AR1',
        'AR10',
        'AR100',
        'ARs',
        'ARm',
        'ARl',
    ]
    assert set(result.class_ap) == {'circle', 'square', 'triangle'}
    work_dir = Path(config.work_dir)
    assert (result.work_dir, result.best, result.last) == (work_dir, work_dir / 'best.pth', work_dir / 'last.pth')
    assert all(read_checkpoint(path)['meta']['epoch'] == 1 for path in (result.best, result.last))
    stored = read_checkpoint(f'{config.work_dir}/epoch_1.pth')['message_hub']['log_scalars']
    assert len(stored['train/loss'].data[0]) == 2
    logged = scalars(config.work_dir, 'coco/bbox_mAP')[-1]
    assert (
        result.metrics['AP50'] == logged['coco/bbox_mAP_50'] and result.metrics['ARl'] == logged['coco/bbox_AR_l@100']
    )
    assert result.class_ap['circle'] == logged['coco/bbox_AP/circle']
    (entry,) = result.history
    assert entry == dict(epoch=1, **{name: entry[name] for name in entry if 'loss' in name}, **result.metrics)
    assert entry['loss'] == pytest.approx(np.mean(stored['train/loss'].data[0]))
    # Resuming a finished run trains nothing, but draws its figures again.
    config.resume, config.load_from = True, f'{config.work_dir}/epoch_1.pth'
    config.experiment_name += '_again'
    again = training.train(config)
    assert (again.metrics, again.class_ap, again.history) == (result.metrics, result.class_ap, result.history)
    assert 'AP50 = ' in capsys.readouterr().out


@pytest.fixture
def quiet(config, capsys):
    """Train one epoch with a quiet console; return the result and the output: ``quiet(notes=[...])``."""

    def run(**settings):
        config.train_cfg.max_epochs = 1
        capsys.readouterr()
        return training.train(config, console=Console(), **settings), capsys.readouterr()

    return run


def test_what_a_quiet_run_prints(quiet, config, shapes, monkeypatch):
    monkeypatch.chdir(Path(config.work_dir).parent)
    config.max_epochs, config.img_scale, config.data_root = 300, (640, 640), 'data/coco/'
    config.my_own = 'kept'
    config.work_dir = 'run'
    result, printed = quiet(notes=['warning: 3 images without boxes'])
    assert printed.err == ''
    lines = printed.out.splitlines()
    (log,) = Path('run').glob('*/*.log')
    weights = read_checkpoint(result.last)['state_dict'].values()
    parameters = sum(each.numel() for each in weights if each.is_floating_point())
    assert re.fullmatch(
        rf'model    yolov4_cspdarknet53, backbone cspdarknet53, {parameters:,} parameters, [\d,]+ of them trainable',
        lines[0],
    )
    assert lines[1:6] == [
        f'data     {shapes}: 8 training images, 4 validation images; 3 classes (circle, square, triangle)',
        'device   cpu',
        'steps    1 epoch x 2 iterations',
        f'log      {log}',
        'warning: 3 images without boxes',
    ]
    assert lines[6].startswith('epoch 1/1  step 2/2  ')
    assert lines[7].split() == ['epoch', '1', 'AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR100']
    assert lines[8].split()[:3] == ['all', f'{result.metrics["AP"]:.3f}', f'{result.metrics["AP50"]:.3f}']
    for line, (name, ap) in zip(lines[9:12], result.class_ap.items(), strict=True):
        assert line.split() == [name, f'{ap:.3f}']
    assert lines[12].startswith('note: these are the results after 2 steps from random weights')
    assert lines[13:] == [
        'files    run: best.pth, last.pth, curves.png, predictions.png',
        'next     mmcnn test run/best.pth',
        f'         mmcnn infer run/best.pth {shapes}/images/val_00000.jpg',
        f'AP = {result.metrics["AP"]:.2f}',
        f'AP50 = {result.metrics["AP50"]:.2f}',
    ]
    # The log has everything, and settings of the config are in effect.
    text = log.read_text()
    for words in (
        'System environment:', 'Hooks will be executed', 'Checkpoints will be saved', 'creating index...',
        'Epoch(train) [1][2/2]', 'Average Precision', 'FileClient', *lines[:6], *lines[7:12], *lines[-4:],
    ):  # fmt: skip
        assert words in text, words
    for dumped in (text, Path('run/yolov4_cspdarknet53.py').read_text()):
        assert "my_own = 'kept'" in dumped and '_dim' not in dumped
        assert not re.search(r'^(max_epochs|img_scale|data_root|train_pipeline|test_pipeline) =', dumped, re.MULTILINE)


@pytest.mark.slow
def test_warnings_of_the_log_are_printed(config, shapes, tmp_path, capfd):
    data = tmp_path / 'data'
    shutil.copytree(shapes, data)
    (data / 'images' / 'train_00003.jpg').write_bytes(b'broken')
    config.train_dataloader.dataset.dataset.data_root = str(data)
    config.train_dataloader.update(num_workers=1, persistent_workers=True)  # data-loading processes print directly
    config.train_cfg.max_epochs = 1
    training.train(config, console=Console())
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith('warning: ')]
    assert 'cannot use ' in line and 'train_00003.jpg' in line and 'replaced by another sample' in line


def test_a_run_that_is_stopped_says_where_its_checkpoint_is(config, log_of, monkeypatch):
    monkeypatch.setattr(HistoryHook, 'before_train_iter', lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM))
    checkpoint = f'{config.work_dir}/stopped_at_iter_1.pth'
    said = f'stopped by SIGTERM; the last checkpoint, {checkpoint}, is complete; to continue, resume the run'
    with pytest.raises(StoppedError) as error, known_causes():
        training.train(config, console=Console())
    assert str(error.value) == said
    assert said in log_of(config.work_dir)
    assert os.readlink(f'{config.work_dir}/last.pth') == 'stopped_at_iter_1.pth'


def test_test_says_what_it_found(trained, config, capsys, monkeypatch):
    monkeypatch.chdir(Path(config.work_dir).parent)
    result = training.test(config, str(trained.checkpoint), console=Console(), notes=['warning: a note'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ['model', 'weights', 'data', 'device', 'log']
    weights = read_checkpoint(trained.checkpoint)['state_dict'].values()
    parameters = sum(each.numel() for each in weights if each.is_floating_point())
    assert lines[0] == f'model    yolov4_cspdarknet53, backbone cspdarknet53, {parameters:,} parameters'
    assert lines[1] == f'weights  {trained.checkpoint}'
    assert lines[2].endswith(': 4 test images; 3 classes (circle, square, triangle)')
    assert lines[5] == 'warning: a note'
    assert lines[7].split()[:2] == ['all', f'{result.metrics["AP"]:.3f}']
    assert lines[-3:] == [
        'numbers  run/metrics.json',
        f'AP = {result.metrics["AP"]:.2f}',
        f'AP50 = {result.metrics["AP50"]:.2f}',
    ]
    assert (result.work_dir, result.checkpoint) == (Path(config.work_dir), trained.checkpoint)
    stored = json.loads((result.work_dir / 'metrics.json').read_text())
    assert stored['coco/bbox_mAP_50'] == result.metrics['AP50']
    assert stored['coco/bbox_AP/circle'] == result.class_ap['circle']


@pytest.mark.slow
def test_a_run_after_one_that_failed_is_like_the_first(config, capsys):
    out, found, name = sys.stdout, [], config.experiment_name
    for number, load_from in enumerate((None, 'gone.pth', None)):
        run = copy.deepcopy(config)
        run.work_dir = f'{config.work_dir}_{number}'
        run.experiment_name = f'{name}_{number}'
        run.train_cfg.max_epochs = 1
        run.load_from = load_from
        capsys.readouterr()
        try:
            result = training.train(run, console=Console())
        except CheckpointError:
            assert load_from
            continue
        lines = capsys.readouterr().out.replace(run.work_dir, 'RUN').splitlines()
        found.append(
            (result.metrics, result.history, [line for line in lines if 'images/s' not in line and '.log' not in line])
        )
        (log,) = Path(run.work_dir).glob('*/*.log')
        assert log.read_text().count('Exp name') == 1
    assert len(found) == 2 and found[0] == found[1]
    assert sys.stdout is out


def test_a_class_without_objects_is_null(shapes, trained, config, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(shapes, data)
    coco = json.loads((data / 'val.json').read_text())
    coco['annotations'] = [a for a in coco['annotations'] if a['category_id'] != 2]
    (data / 'val.json').write_text(json.dumps(coco))
    config.test_dataloader.dataset.data_root = str(data)
    config.test_evaluator.ann_file = str(data / 'val.json')
    training.test(config, str(trained.checkpoint))
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert metrics['checkpoint'] == str(trained.checkpoint)
    assert metrics['coco/bbox_AP/square'] is None
    assert metrics['coco/bbox_AP/circle'] is not None


def test_metrics_are_utf_8_everywhere(trained, config, tmp_path, monkeypatch):
    """The encoding of the system does not matter."""
    real = Path.write_text

    def write(path, text, encoding='ascii', **kwargs):
        return real(path, text, encoding, **kwargs)

    checkpoint = shutil.copy(trained.checkpoint, tmp_path / 'größte.pth')
    monkeypatch.setattr(Path, 'write_text', write)
    training.test(config, str(checkpoint))
    text = (tmp_path / 'run' / 'metrics.json').read_text(encoding='utf-8')
    assert f'"checkpoint": "{checkpoint}"' in text


def test_a_run_without_checkpoints_has_its_result(config):
    config.default_hooks.checkpoint = None
    config.train_cfg.max_epochs = 1
    result = training.train(config)
    assert (result.best, result.last) == (None, None)
    assert len(result.metrics) == 12
    work_dir = Path(config.work_dir)
    assert (work_dir / 'curves.png').is_file() and not (work_dir / 'predictions.png').exists()


@pytest.mark.slow
def test_testing_resumes_nothing(trained, config):
    config.resume, config.load_from = True, 'gone.pth'
    (last,) = [entry for entry in scalars(trained.work_dir, 'coco/bbox_mAP') if entry['step'] == 2]
    metrics = training.test(config, str(trained.checkpoint)).metrics
    assert metrics['AP'] == pytest.approx(last['coco/bbox_mAP'], abs=1e-4)  # BatchNorm is fused
    assert metrics['AR100'] == pytest.approx(last['coco/bbox_AR@100'], abs=1e-4) and metrics['AR100'] > 0
    config.model.bbox_head.num_classes = 5
    with pytest.raises(CheckpointError, match=r'\.pth does not fit SingleStageDetector: 6 of another shape'):
        training.test(config, str(trained.checkpoint))


@pytest.mark.slow
def test_testing_runs_on_folded_norms_with_the_same_numbers(trained, config, monkeypatch):
    seen = []

    def run(loop):
        seen.append([m for m in loop.runner.model.modules() if isinstance(m, nn.BatchNorm2d)])
        return whole(loop)

    whole = loops.TestLoop.run
    monkeypatch.setattr(loops.TestLoop, 'run', run)
    folded = training.test(config, str(trained.checkpoint))
    monkeypatch.setattr(training, 'fuse', lambda model: model)
    config.experiment_name += '_plain'
    plain = training.test(config, str(trained.checkpoint))
    assert not seen[0] and seen[1]
    assert len(folded.metrics) == 12 and len(folded.class_ap) == 3
    assert folded.metrics == pytest.approx(plain.metrics, abs=1e-4, nan_ok=True)
    assert folded.class_ap == pytest.approx(plain.class_ap, abs=1e-4, nan_ok=True)


def test_a_wrapped_model_is_folded_inside_its_wrapper():
    runner = SimpleNamespace(model=nn.DataParallel(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))))
    training._fuse(runner)
    assert isinstance(runner.model, nn.DataParallel) and isinstance(runner.model.module[1], nn.Identity)


@pytest.fixture
def leave_pictures(shapes, trained, monkeypatch):
    """Draw the predictions of a run with only a work dir and a metric; return what was drawn."""

    def leave(metric):
        drawn, grids = [], []

        def draw(image, boxes, labels, scores=None, *args, **kwargs):
            drawn.append(len(boxes) if scores is None else scores)
            return image

        monkeypatch.setattr(training, 'draw_boxes', draw)
        monkeypatch.setattr(
            training, 'prediction_grid', lambda pairs, path, caption: grids.append((len(pairs), path, caption))
        )
        box = dict(bbox=[0, 0, 9, 9], bbox_label=0)
        path = str(next((shapes / 'images').iterdir()))
        sample = dict(img_path=path, instances=[box | dict(ignore_flag=0), box | dict(ignore_flag=1)])

        class Dataset(list):
            def get_data_info(self, i):
                return self[i]

        training._leave_pictures(
            SimpleNamespace(
                work_dir=str(trained.work_dir),
                cfg=Config.fromfile(trained.work_dir / 'yolov4_cspdarknet53.py'),
                val_dataloader=SimpleNamespace(dataset=Dataset([sample] * 11)),
                val_evaluator=SimpleNamespace(metrics=[metric]),
            ),
            trained.checkpoint,
        )
        return drawn, grids

    return leave


def test_grid_shows_no_crowds(leave_pictures, trained, shapes):
    drawn, ((count, path, _),) = leave_pictures(CocoMetric(str(shapes / 'val.json')))
    assert (count, path) == (8, trained.work_dir / 'predictions.png')
    assert drawn[::2] == [1] * 8  # ground truth and predictions alternate


def test_predictions_are_drawn_at_the_score_of_the_best_f1(leave_pictures, shapes):
    metric = CocoMetric(str(shapes / 'val.json'))
    every = np.concatenate(leave_pictures_at(leave_pictures, metric, 1e-6)[0])
    score = float(np.median(every))
    shown, caption = leave_pictures_at(leave_pictures, metric, score)
    assert all((each >= score).all() for each in shown)
    assert sum(map(len, shown)) == (every >= score).sum() < len(every)
    assert caption == f'Predictions with a score of at least {score:.2f}, where F1 is best on the validation images.'
    shown, caption = leave_pictures_at(leave_pictures, metric, None)
    assert all((each >= 0.25).all() for each in shown)
    assert caption == 'Predictions with a score of at least 0.25: no validation of this session has found a better one.'


def leave_pictures_at(leave_pictures, metric, score):
    metric.best_f1_score = score
    drawn, ((_, _, caption),) = leave_pictures(metric)
    return drawn[1::2], caption


@pytest.mark.slow
def test_several_data_sets_without_validation_resume_bit_for_bit(run_tool, shapes, tmp_path):
    from mmcnn.config.files import own_configs

    one = f"dict(type='CocoDataset', data_root='{shapes}', ann_file='train.json', data_prefix=dict(img='images/'), **m)"
    path = tmp_path / 'two.py'
    path.write_text(
        f"_base_ = ['{own_configs()['yolov4_cspdarknet53_narrow']}']\n"
        "m = dict(metainfo=dict(classes=('circle', 'square', 'triangle')))\n"
        'model = dict(widen_factor=0.125, deepen_factor=0.1, bbox_head=dict(num_classes=3))\n'
        "train_dataloader = dict(dataset=dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=["
        f'{one}, {one}])))\n'
        'val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None\n'
    )
    options = ['--img-size', '64', '--batch-size', '8', '--workers', '0', '--device', 'cpu']

    def train(name, epochs, *more):
        result = run_tool('train', path, *options, '--work-dir', tmp_path / name, '--epochs', epochs, *more)
        assert result.code == 0, result.err
        return result.out

    out = train('whole', 2)
    assert '16 training images, no validation' in out
    assert 'note     without validation there are no metrics, best.pth or predictions.png' in out
    assert sorted(each.name for each in (tmp_path / 'whole').glob('*.p*')) == [
        'curves.png', 'epoch_1.pth', 'epoch_2.pth', 'last.pth', 'two.py'
    ]  # fmt: skip
    train('parts', 2, '--resume', tmp_path / 'whole' / 'epoch_1.pth')
    whole, parts = (read_checkpoint(tmp_path / name / 'epoch_2.pth')['state_dict'] for name in ('whole', 'parts'))
    first = read_checkpoint(tmp_path / 'whole' / 'epoch_1.pth')['state_dict']
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not all(torch.equal(whole[name], first[name]) for name in whole)
