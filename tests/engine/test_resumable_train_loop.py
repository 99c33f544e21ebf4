import contextlib
import os
import signal

import pytest
import torch
from mmengine.hooks import Hook

from mmcnn.engine import resumable_train_loop
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop
from mmcnn.errors import DataError, TrainingError
from mmcnn.runs.checkpoints import last_checkpoint


class At(Hook):
    """Act at a hook point of an iteration or epoch."""

    priority = 'LOWEST'

    def __init__(self, point, number, action):
        self.point, self.number, self.action = point, number, action

    def before_train_iter(self, runner, *args, **kwargs):
        self._act('before_train_iter', runner.iter, runner)

    def after_train_iter(self, runner, *args, **kwargs):
        self._act('after_train_iter', runner.iter, runner)

    def after_train_epoch(self, runner):
        self._act('after_train_epoch', runner.epoch, runner)

    def after_val_iter(self, runner, *args, **kwargs):
        self._act('after_val_iter', runner.epoch, runner)

    def after_val_epoch(self, runner, metrics=None):
        self._act('after_val_epoch', runner.epoch, runner)

    def _act(self, point, number, runner):
        if (point, number) == (self.point, self.number):
            self.action(runner)


class KilledError(Exception):
    pass


def kill(runner):
    raise KilledError


def terminate(runner):
    os.kill(os.getpid(), signal.SIGTERM)


def tensors(node):
    if isinstance(node, dict):
        return {f'{key}.{name}': value for key, item in node.items() for name, value in tensors(item).items()}
    return {'': node} if isinstance(node, torch.Tensor) else {}


def assert_same_end(work_dir, whole, name='epoch_3.pth'):
    found, expected = (torch.load(folder / name, weights_only=True) for folder in (work_dir, whole))
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert tensors(expected[part])
        assert tensors(found[part]).keys() == tensors(expected[part]).keys()
        for key, value in tensors(expected[part]).items():
            assert torch.equal(tensors(found[part])[key], value), (part, key)
    hubs = [content['message_hub'] for content in (found, expected)]
    for key in ('train/loss', 'train/loss_a', 'val/x/score'):
        one, two = (hub['log_scalars'][key].data[0].tolist() for hub in hubs)
        assert one == two, key
    infos = [hub['runtime_info'] for hub in hubs]
    for key in ('best_score', 'epoch_validated', 'keep_ckpt_ids', 'stale_ckpts', 'position_in_epoch'):
        assert infos[0][key] == infos[1][key], key
    names = [sorted(path.name for path in folder.glob('*.pth')) for folder in (work_dir, whole)]
    assert names[0] == names[1]


def resume(make_runner, work_dir, **kwargs):
    path, _, _ = last_checkpoint(work_dir)
    runner = make_runner(work_dir, resume=path, **kwargs)
    runner.train()
    return runner, path.name


@pytest.fixture
def whole(make_runner, tmp_path):
    make_runner(tmp_path / 'whole').train()
    return tmp_path / 'whole'


@pytest.mark.parametrize(
    ('point', 'number', 'name'),
    [
        ('after_train_iter', 2, None),
        ('before_train_iter', 6, 'epoch_1.pth'),  # 5 batches per epoch, 2 per step: epoch_1.pth has pending gradients
        ('after_train_epoch', 0, 'epoch_1.pth'),
        ('after_train_epoch', 1, 'epoch_2.pth'),  # after the checkpoint, before the validation
        ('after_val_iter', 1, 'epoch_1.pth'),
        ('after_val_epoch', 2, 'epoch_2.pth'),
        ('after_val_epoch', 3, 'epoch_3.pth'),
    ],
)
def test_a_killed_run_ends_in_the_same_bits(make_runner, whole, tmp_path, point, number, name):
    work_dir = tmp_path / 'killed'
    with pytest.raises(KilledError):
        make_runner(work_dir, hooks=[At(point, number, kill)]).train()
    if name is None:
        assert last_checkpoint(work_dir) is None
        make_runner(work_dir).train()
    else:
        _, resumed = resume(make_runner, work_dir)
        assert resumed == name
    assert_same_end(work_dir, whole)


@pytest.mark.parametrize(
    ('point', 'number', 'name'),
    [
        ('before_train_iter', 0, 'stopped_at_iter_1.pth'),
        ('after_train_iter', 6, 'stopped_at_iter_7.pth'),
        ('after_train_iter', 9, 'epoch_2.pth'),  # the last iteration of an epoch
        ('after_val_iter', 2, 'epoch_2.pth'),
        ('after_val_epoch', 1, 'epoch_1.pth'),
    ],
)
def test_sigterm_leaves_a_checkpoint_within_a_step(make_runner, whole, tmp_path, point, number, name):
    work_dir = tmp_path / 'stopped'
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    runner = make_runner(work_dir, hooks=[At(point, number, terminate)])
    with pytest.raises(SystemExit) as end:
        runner.train()
    assert end.value.code == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    iterations = int(name.removeprefix('stopped_at_iter_').removesuffix('.pth')) if 'iter' in name else None
    assert iterations is None or runner.iter == iterations == number + 1
    _, resumed = resume(make_runner, work_dir)
    assert resumed == name
    assert_same_end(work_dir, whole)  # stopped_at_iter_*.pth is deleted, too


def test_sigint_in_a_validation_before_the_first_checkpoint(make_runner, tmp_path):
    options = dict(checkpoint=dict(interval=3, max_keep_ckpts=-1))
    make_runner(tmp_path / 'whole', **options).train()
    interrupt = At('after_val_iter', 2, lambda runner: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(SystemExit) as end:
        make_runner(tmp_path / 'stopped', hooks=[interrupt], **options).train()
    assert end.value.code == 130
    _, resumed = resume(make_runner, tmp_path / 'stopped', **options)
    assert resumed == 'stopped_at_iter_10.pth'  # it has the raw weights, although validation uses averaged ones
    found, expected = (torch.load(tmp_path / name / 'epoch_3.pth', weights_only=True) for name in ('stopped', 'whole'))
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        for key, value in tensors(expected[part]).items():
            assert torch.equal(tensors(found[part])[key], value), (part, key)


def test_workers_change_nothing_and_the_seed_is_the_checkpoints(make_runner, whole, tmp_path):
    work_dir = tmp_path / 'killed'
    with pytest.raises(SystemExit):
        make_runner(work_dir, hooks=[At('after_train_iter', 6, terminate)], workers=2).train()
    resume(make_runner, work_dir, workers=1, seed=99)
    assert_same_end(work_dir, whole)


def test_checkpoints_inside_an_epoch(make_runner, tmp_path):
    options = dict(checkpoint=dict(by_epoch=False, interval=3, max_keep_ckpts=2))
    make_runner(tmp_path / 'whole', **options).train()
    with pytest.raises(KilledError):
        make_runner(tmp_path / 'killed', hooks=[At('after_train_iter', 13, kill)], **options).train()
    _, resumed = resume(make_runner, tmp_path / 'killed', **options)
    assert resumed == 'iter_12.pth'
    assert_same_end(tmp_path / 'killed', tmp_path / 'whole', 'iter_15.pth')


def test_a_validation_that_was_made_up_for_is_recorded(make_runner, tmp_path):
    with pytest.raises(KilledError):
        make_runner(tmp_path, hooks=[At('after_train_epoch', 0, kill)]).train()
    with pytest.raises(KilledError):
        resume(make_runner, tmp_path, hooks=[At('before_train_iter', 6, kill)])
    info = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['message_hub']['runtime_info']
    assert info['epoch_validated'] == 1 and info['best_ckpt'] == str(tmp_path / 'best_x_score_epoch_1.pth')


def test_mmengines_own_way_to_the_last_checkpoint(make_runner, whole, tmp_path):
    with pytest.raises(KilledError):
        make_runner(tmp_path / 'killed', hooks=[At('before_train_iter', 11, kill)]).train()
    make_runner(tmp_path / 'killed', resume=True).train()
    assert_same_end(tmp_path / 'killed', whole)


def test_another_length_of_the_epoch_begins_it_anew(make_runner, tmp_path, caplog):
    with pytest.raises(SystemExit):
        make_runner(tmp_path, hooks=[At('after_train_iter', 6, terminate)]).train()
    path, _, _ = last_checkpoint(tmp_path)
    content = torch.load(path, weights_only=True)
    assert content['message_hub']['runtime_info']['position_in_epoch'][:2] == (2, 5)
    content['message_hub']['runtime_info']['position_in_epoch'] = (2, 6, [])
    torch.save(content, path)
    seen = []
    hook = At('before_train_iter', 7, lambda runner: seen.append(runner.train_loop.dataloader.batch_sampler.first))
    resume(make_runner, tmp_path, hooks=[hook])
    assert seen == [0]


# --------------------------------------------------------------------------------------------------------------- errors


def test_nan_stops_before_weights_and_names_the_images(make_runner, tmp_path):
    seen = {}

    def note(runner):
        seen['before'] = {name: value.clone() for name, value in runner.model.named_parameters()}

    runner = make_runner(tmp_path, hooks=[At('before_train_iter', 0, note)], bad={3: float('nan')}, accumulate=1)
    with pytest.raises(TrainingError) as error:
        runner.train()
    story, title, *images = str(error.value).splitlines()
    assert story.startswith('the loss (') and 'loss_a' in story and 'on_nan=skip' in story
    assert title == '  the images of the batch:' and len(images) == 2 and '    3.jpg' in images
    assert f'in iteration {runner.iter + 1} (epoch 1)' in story
    if runner.iter == 0:
        for name, value in runner.model.named_parameters():
            assert torch.equal(value, seen['before'][name])
    assert not list(tmp_path.glob('*.pth'))


def test_nan_batches_are_skipped_named_and_counted(make_runner, tmp_path, monkeypatch):
    lines = []
    runner = make_runner(tmp_path, bad={3: float('nan')}, loop=dict(on_nan='skip'))
    monkeypatch.setattr(runner.logger, 'warning', lambda line: lines.append(line))
    runner.train()
    skips = [line for line in lines if 'is skipped' in line]
    assert len(skips) == 3 and all('3.jpg' in line for line in skips)
    content = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    assert content['message_hub']['runtime_info']['skipped_batches'] == 3
    for part in ('state_dict', 'ema_state_dict'):  # including BatchNorm's statistics
        assert all(value.isfinite().all() for value in tensors(content[part]).values())
    losses = content['message_hub']['log_scalars']['train/loss'].data[0]
    assert len(losses) == 12 and all(loss == loss for loss in losses)


def test_a_skipped_step_is_not_averaged(make_runner, tmp_path):
    runner = make_runner(tmp_path, epochs=1, bad={3: float('inf')}, loop=dict(on_nan='skip'), accumulate=1)
    runner.train()
    content = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert content['ema_state_dict']['steps'] == 4


def test_too_many_skipped_batches_stop(make_runner, tmp_path):
    bad = dict.fromkeys(range(10), float('nan'))
    runner = make_runner(tmp_path, bad=bad, loop=dict(on_nan='skip'))
    with pytest.raises(TrainingError, match='11 batches were skipped, 11 of them in a row, which is too many'):
        runner.train()
    with pytest.raises(ValueError, match="on_nan='ignore' is unknown; use one of stop, skip"):
        make_runner(tmp_path, loop=dict(on_nan='ignore')).train()


@pytest.mark.parametrize('workers', [0, 1])
def test_too_many_unreadable_files_end_the_run_in_one_sentence(make_runner, tmp_path, workers):
    bad = {2: OSError('no DataError: really'), 5: ValueError('cut')}
    runner = make_runner(tmp_path, bad=bad, workers=workers, loop=dict(max_failed=1))
    with pytest.raises(DataError) as error:
        runner.train()
    assert '\n' not in str(error.value)
    assert str(error.value).startswith('2 files of the training data have failed, more than 1; the last: ')
    make_runner(tmp_path, bad=bad, loop=dict(max_failed=2)).train()


def test_a_full_shm_is_named_not_the_work_dir(make_runner, tmp_path, full_shm):
    runner = make_runner(tmp_path, workers=1)
    full_shm()
    with pytest.raises(TrainingError, match=r'^the data-loading processes cannot be started: /dev/shm is full: '):
        runner.train()


@pytest.mark.slow
def test_a_dead_data_worker_is_named(make_runner, tmp_path):
    def shoot(runner):
        worker = runner.train_dataloader._iterator._workers[0]
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()

    runner = make_runner(tmp_path, hooks=[At('before_train_iter', 2, shoot)], workers=2)
    with pytest.raises(TrainingError, match=r'a data-loading process, pid [\d, ]+, has died.*run out of memory'):
        runner.train()


@pytest.mark.parametrize('error', [torch.OutOfMemoryError('CUDA out of memory'), KeyboardInterrupt()])
def test_a_dead_data_worker_is_not_the_cause_of_every_error(make_runner, tmp_path, error):
    def shoot(runner):
        worker = runner.train_dataloader._iterator._workers[0]
        with contextlib.suppress(RuntimeError):  # PyTorch's signal handler raises it
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
        raise error

    def fail(runner):
        raise RuntimeError('of the model')

    with pytest.raises(type(error)):
        make_runner(tmp_path / 'first', hooks=[At('before_train_iter', 2, shoot)], workers=2).train()
    with pytest.raises(RuntimeError, match=r'^of the model$'):  # nor of errors of the next run
        make_runner(tmp_path / 'next', hooks=[At('before_train_iter', 2, fail)], workers=2).train()


def test_signals_to_the_workers_are_left_to_the_main_process(make_runner, whole, tmp_path):
    def to_all(runner):
        workers = runner.train_dataloader._iterator._workers
        for signum in (signal.SIGINT, signal.SIGTERM):
            for worker in workers:
                os.kill(worker.pid, signum)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as end:
        make_runner(tmp_path / 'x', hooks=[At('before_train_iter', 6, to_all)], workers=2).train()
    assert end.value.code == 143
    assert resume(make_runner, tmp_path / 'x')[1] == 'stopped_at_iter_7.pth'
    assert_same_end(tmp_path / 'x', whole)


def test_patience():
    assert resumable_train_loop.PATIENCE_OF_RANKS < resumable_train_loop.PATIENCE == 30
    assert issubclass(ResumableTrainLoop, resumable_train_loop.EpochBasedTrainLoop)


def test_a_pause_is_validated_though_none_is_due(make_runner, tmp_path):
    """Successive halving compares validations of the epoch at which it pauses, whatever the validation interval."""
    whole, paused = tmp_path / 'whole', tmp_path / 'paused'
    make_runner(whole, val_interval=3).train()
    runner = make_runner(paused, val_interval=3, loop=dict(until_epoch=2))
    runner.train()
    assert runner.epoch == 2 and runner.message_hub.get_info('epoch_validated') == 2
    resume(make_runner, paused, val_interval=3)
    found, expected = (torch.load(folder / 'epoch_3.pth', weights_only=True) for folder in (paused, whole))
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        for key, value in tensors(expected[part]).items():
            assert torch.equal(tensors(found[part])[key], value), (part, key)
