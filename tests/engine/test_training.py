import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import loops
from torch import nn

from mmcnn.engine import training
from mmcnn.engine.hooks import ScheduleHook, StepEMAHook
from mmcnn.engine.loops import ResumableTrainLoop
from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import read_checkpoint


@pytest.fixture
def config(trained, tmp_path):
    """The config of the finished run, for a run of its own."""
    cfg = Config.fromfile(trained.work_dir / 'yolov4_cspdarknet53.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.val_evaluator.outfile_prefix = str(tmp_path / 'val')
    cfg.experiment_name = tmp_path.name  # MMEngine tells runs apart by it and the second of their start
    return cfg


@pytest.fixture
def started(monkeypatch):
    """Starts a run and stops it before the first step; gives the Runner."""
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
    # Base 0.01, cosine over 2 epochs to a tenth: 0.01, then 0.01 * (1 + 0.1) / 2 in the last epoch.
    files = list(trained.work_dir.glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rates = [entry['base_lr'] for entry in entries if 'base_lr' in entry]
    assert rates[-1] == pytest.approx(0.0055)


def test_resumed_run_has_the_whole_state(trained, config, started):
    config.resume, config.load_from = True, str(trained.checkpoint)
    config.train_cfg.max_epochs = 3
    runner = started(config)
    stored = read_checkpoint(trained.checkpoint)
    assert (runner.epoch, runner.iter) == (2, 4)
    # The checkpoint's state_dict is the average, ema_state_dict the raw weights.
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


def test_initial_weights_are_taken_without_the_rest(trained, config, started):
    config.load_from = str(trained.checkpoint)
    runner = started(config)
    assert (runner.epoch, runner.iter) == (0, 0)
    assert not runner.optim_wrapper.optimizer.state
    for key, value in read_checkpoint(trained.checkpoint)['state_dict'].items():
        assert torch.equal(runner.model.state_dict()[key], value), key


def test_initial_weights_of_other_classes(trained, config, started):
    config.load_from = str(trained.checkpoint)
    config.model.bbox_head.num_classes = 5
    with pytest.raises(CheckpointError, match='kept as it is with --allow-head-mismatch'):
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


def test_training_gives_the_last_validation(trained, config, capsys):
    config.train_cfg.max_epochs = 1
    metrics = training.train(config, summary='a line of mine')
    out = capsys.readouterr().out
    assert 'trainable; a line of mine' in out
    assert set(metrics) >= {'coco/bbox_mAP', 'coco/bbox_AR@1', 'coco/bbox_AP/circle'}
    stored = read_checkpoint(f'{config.work_dir}/epoch_1.pth')['message_hub']['log_scalars']
    assert len(stored['train/loss'].data[0]) == 2
    # A finished run that is resumed trains nothing, and draws its pictures anew.
    config.resume, config.load_from = True, f'{config.work_dir}/epoch_1.pth'
    config.experiment_name += '_again'
    again = training.train(config)
    assert again == metrics
    assert 'AP50 = ' in capsys.readouterr().out


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


def test_testing_resumes_nothing(trained, config):
    config.resume, config.load_from = True, 'gone.pth'
    assert training.test(config, str(trained.checkpoint))['coco/bbox_mAP'] >= 0
    config.model.bbox_head.num_classes = 5
    with pytest.raises(CheckpointError, match=r'\.pth does not fit SingleStageDetector: 6 of another shape'):
        training.test(config, str(trained.checkpoint))


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
    assert folded == pytest.approx(plain, abs=1e-4, nan_ok=True)


def test_a_wrapped_model_is_folded_inside_its_wrapper():
    runner = SimpleNamespace(model=nn.DataParallel(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))))
    training._fuse(runner)
    assert isinstance(runner.model, nn.DataParallel) and isinstance(runner.model.module[1], nn.Identity)


def test_grid_shows_no_crowds(shapes, trained, monkeypatch, tmp_path):
    drawn, grids = [], []
    monkeypatch.setattr(training, 'draw_boxes', lambda image, boxes, *args, **kwargs: drawn.append(len(boxes)) or image)
    monkeypatch.setattr(training, 'prediction_grid', lambda pairs, path: grids.append((len(pairs), path)))
    monkeypatch.setattr(training, 'plot_curves', lambda source, path: None)
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
        )
    )
    assert grids == [(8, trained.work_dir / 'predictions.png')]
    assert drawn[::2] == [1] * 8  # ground truth and predictions take turns
