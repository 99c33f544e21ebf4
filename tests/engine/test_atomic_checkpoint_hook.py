import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmcnn.engine import atomic_checkpoint_hook
from mmcnn.errors import CheckpointError
from mmcnn.runs.checkpoints import last_checkpoint


@pytest.fixture
def journal(monkeypatch):
    """Names of files in the order in which they were written (+) and deleted (-)."""
    import matplotlib.font_manager  # noqa: F401  it writes files when it is first imported

    steps = []
    real_write, real_unlink = atomic_checkpoint_hook.write_whole, Path.unlink

    def write(path, content):
        real_write(path, content)
        steps.append(f'+{Path(path).name}')

    def unlink(path, missing_ok=False):
        steps.extend([f'-{path.name}'] * path.exists())
        real_unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(atomic_checkpoint_hook, 'write_whole', write)
    monkeypatch.setattr(Path, 'unlink', unlink)
    return steps


def files(folder):
    """Return the files except for the two links."""
    found = [path for pattern in ('*.pth', '*.part') for path in folder.glob(pattern)]
    return sorted(path.name for path in found if not path.is_symlink())


def links(folder):
    """Return the targets of best.pth and last.pth, None for missing ones; they must not dangle."""
    paths = [folder / name for name in ('best.pth', 'last.pth')]
    assert all(path.is_file() for path in paths if path.is_symlink())
    return tuple(os.readlink(path) if path.is_symlink() else None for path in paths)


def test_what_is_replaced_goes_last(make_runner, tmp_path, journal, scores):
    scores(0.1, 0.2, 0.1, 0.3)
    make_runner(tmp_path, epochs=4).train()
    last = '+last_checkpoint'
    assert journal == [
        '+epoch_1.pth', last, '+best_x_score_epoch_1.pth', '+epoch_1.pth', last,
        '+epoch_2.pth', last, '+best_x_score_epoch_2.pth', '+epoch_2.pth', last, '-best_x_score_epoch_1.pth',
        '+epoch_3.pth', last, '-epoch_1.pth',
        '+epoch_4.pth', last, '-epoch_2.pth', '+best_x_score_epoch_4.pth', '+epoch_4.pth', last,
        '-best_x_score_epoch_2.pth',
    ]  # fmt: skip
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_4.pth')
    assert files(tmp_path) == ['best_x_score_epoch_4.pth', 'epoch_3.pth', 'epoch_4.pth']


def test_a_resumed_run_clears_what_a_kill_has_left(make_runner, tmp_path, scores):
    scores(0.1, 0.2, 0.3)
    make_runner(tmp_path).train()
    # A kill between writing and deleting, or inside a write, leaves such files.
    for name in ('epoch_1.pth', 'best_x_score_epoch_2.pth', 'epoch_4.pth.part', 'last_checkpoint.part', 'mine.part'):
        shutil.copy(tmp_path / 'epoch_3.pth', tmp_path / name)
    content = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    assert content['message_hub']['runtime_info']['stale_ckpts'] == ['best_x_score_epoch_2.pth']
    content['message_hub']['runtime_info']['stale_ckpts'] += ['epoch_1.pth']
    torch.save(content, tmp_path / 'epoch_3.pth')
    make_runner(tmp_path, resume=tmp_path / 'epoch_3.pth').train()
    assert files(tmp_path) == ['best_x_score_epoch_3.pth', 'epoch_2.pth', 'epoch_3.pth', 'mine.part']


def test_only_own_files_of_the_own_folder_are_deleted(make_runner, tmp_path, scores):
    """A checkpoint may name files elsewhere or with other names; none of them is deleted."""
    scores(0.1, 0.9, 0.95)
    own, other = tmp_path / 'own', tmp_path / 'other'
    make_runner(own, epochs=1).train()
    other.mkdir()
    bait = [other / 'best_x_score_epoch_1.pth', other / 'secret.pth', own / 'mine.pth', other / 'epoch_1.pth']
    for path in bait:
        path.touch()
    content = torch.load(own / 'epoch_1.pth', weights_only=True)
    info = content['message_hub']['runtime_info']
    info['stale_ckpts'] = ['mine.pth', '../other/secret.pth', str(other / 'epoch_1.pth'), 'last_checkpoint']
    info['keep_ckpt_ids'] = ['../../other/epoch_1', 7, 8, 9, 10]
    for best in (other / 'secret.pth', own / 'mine.pth', own / 'epoch_1.pth', other / 'best_x_score_epoch_1.pth'):
        info['best_ckpt'] = str(best)
        torch.save(content, own / 'epoch_1.pth')
        scores(0.9 + len(str(best)) / 1000)
        make_runner(own, epochs=2, resume=own / 'epoch_1.pth').train()
        assert all(path.is_file() for path in bait)
    assert (own / 'last_checkpoint').is_file()


def test_a_checkpoint_of_another_folder_deletes_nothing_in_this_one(make_runner, tmp_path, scores):
    scores(0.1, 0.2, 0.3, 0.4)
    one, two = tmp_path / 'one', tmp_path / 'two'
    make_runner(one, epochs=2).train()
    two.mkdir()
    for name in ('epoch_1.pth', 'best_x_score_epoch_2.pth'):
        (two / name).touch()
    make_runner(two, epochs=4, resume=one / 'epoch_2.pth').train()
    assert files(two) == [
        'best_x_score_epoch_2.pth',
        'best_x_score_epoch_4.pth',
        *(f'epoch_{i}.pth' for i in (1, 3, 4)),
    ]
    assert files(one) == ['best_x_score_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']


def test_a_new_run_forgets_the_checkpoint_of_an_earlier_one(make_runner, tmp_path):
    class StoppedError(Exception):
        pass

    make_runner(tmp_path, epochs=1).train()
    assert last_checkpoint(tmp_path) is not None

    def stop(loop):
        loop.runner.call_hook('before_train')
        raise StoppedError

    runner = make_runner(tmp_path, epochs=1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr('mmcnn.engine.resumable_train_loop.ResumableTrainLoop.run', stop)
        runner.train()
    assert last_checkpoint(tmp_path) is None
    assert 'epoch_1.pth' in files(tmp_path)


def test_waiting_gradients_are_stored_only_where_they_wait(make_runner, tmp_path):
    make_runner(tmp_path, epochs=2).train()  # 5 batches per epoch, 2 per step
    stored = [torch.load(tmp_path / f'epoch_{epoch}.pth', weights_only=True) for epoch in (1, 2)]
    assert set(stored[0]['gradients']) == {'conv.weight', 'conv.bias', 'norm.weight', 'norm.bias'}
    assert all(value.abs().sum() > 0 for name, value in stored[0]['gradients'].items() if name != 'conv.bias')
    assert 'gradients' not in stored[1]
    (best,) = tmp_path.glob('best_*.pth')
    assert 'gradients' not in torch.load(best, weights_only=True)


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_good(make_runner, tmp_path, monkeypatch):
    """The disk becomes full while the checkpoint of epoch 2 is written."""
    real, count = os.fsync, [0]

    def full(descriptor):
        count[0] += not os.path.isdir(f'/proc/self/fd/{descriptor}')
        if count[0] > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(CheckpointError) as error:
        make_runner(tmp_path).train()
    assert str(error.value) == (
        f'cannot write a checkpoint to {tmp_path}: No space left on device; the last checkpoint, '
        f'{tmp_path / "epoch_1.pth"}, is complete'
    )
    assert last_checkpoint(tmp_path)[0].name == 'epoch_1.pth'
    assert not list(tmp_path.glob('*.part'))


def test_a_vanished_folder_is_one_sentence(make_runner, tmp_path):
    folder = tmp_path / 'run'

    class AfterEpoch(Hook):
        def after_train_epoch(self, runner):
            if runner.epoch == 1:
                shutil.rmtree(folder)

    class AfterIteration(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 1:
                shutil.rmtree(folder)

    with pytest.raises(CheckpointError, match='No such file or directory; there is no checkpoint to resume from'):
        make_runner(folder, hooks=[AfterEpoch()], val_interval=3).train()
    # Nothing is logged between the deletion of the folder and the checkpoint.
    with pytest.raises(CheckpointError, match=f'cannot write a checkpoint to {folder}: No such file or directory'):
        make_runner(folder, hooks=[AfterIteration()], logs=False).train()


def test_remote_folders_are_refused(make_runner, tmp_path):
    runner = make_runner(tmp_path, checkpoint=dict(out_dir='s3://bucket/x', backend_args=dict(backend='http')))
    with pytest.raises(ValueError, match=r'writes to local folders, .*bucket.*: use CheckpointHook'):
        runner.train()


# -------------------------------------------------------------------------------------------- best.pth and last.pth


def test_best_and_last_are_links(make_runner, tmp_path, scores):
    scores(0.1, 0.3, 0.2)
    runner = make_runner(tmp_path)
    runner.train()
    assert links(tmp_path) == ('best_x_score_epoch_2.pth', 'epoch_3.pth')
    (hook,) = [hook for hook in runner.hooks if hasattr(hook, 'best_and_last')]
    assert hook.best_and_last() == (tmp_path / 'best.pth', tmp_path / 'last.pth')
    best, last = (torch.load(tmp_path / f'{name}.pth', weights_only=True) for name in ('best', 'last'))
    assert (best['meta']['epoch'], last['meta']['epoch']) == (2, 3)
    assert 'optimizer' not in best and 'optimizer' in last
    shutil.move(tmp_path, tmp_path.with_name('moved_run'))
    assert links(tmp_path.with_name('moved_run')) == ('best_x_score_epoch_2.pth', 'epoch_3.pth')


def test_a_validation_that_measured_nothing_is_no_best_one(make_runner, tmp_path, scores):
    values = (-1.0, float('nan'), 0.25, -1.0)
    scores(*values)
    runner = make_runner(tmp_path / 'coco', epochs=4, checkpoint=dict(save_best='coco/score', max_keep_ckpts=1))
    runner.val_evaluator.metrics[0].prefix = 'coco'
    runner.train()
    assert links(tmp_path / 'coco') == ('best_coco_score_epoch_3.pth', 'epoch_4.pth')
    assert files(tmp_path / 'coco') == ['best_coco_score_epoch_3.pth', 'epoch_4.pth']
    scores(*values[:2])  # for other metrics, -1 is a valid number
    make_runner(tmp_path / 'x', epochs=2).train()
    assert links(tmp_path / 'x') == ('best_x_score_epoch_1.pth', 'epoch_2.pth')
    scores(float('nan'))
    make_runner(tmp_path / 'none', epochs=1).train()
    assert links(tmp_path / 'none') == (None, 'epoch_1.pth')


def test_links_of_several_scores_and_of_none(make_runner, tmp_path, monkeypatch):
    values = iter([dict(a=1, b=1), dict(a=0, b=2), dict(a=2, b=0)])
    monkeypatch.setattr('mmengine.evaluator.Evaluator.evaluate', lambda *args: next(values))
    make_runner(tmp_path / 'several', checkpoint=dict(save_best=['a', 'b'], rule='greater')).train()
    assert links(tmp_path / 'several') == ('best_a_epoch_3.pth', 'epoch_3.pth')
    values = iter([{}] * 3)
    make_runner(tmp_path / 'none', checkpoint=dict(save_best=None, rule=None)).train()
    assert links(tmp_path / 'none') == (None, 'epoch_3.pth')


def test_a_best_one_without_a_new_last_one_is_linked(make_runner, tmp_path, scores):
    scores(0.1, 0.2, 0.05)
    seen = []

    class Look(Hook):
        priority = 'LOWEST'

        def after_val_epoch(self, runner, metrics=None):
            seen.append(links(tmp_path))

    make_runner(tmp_path, checkpoint=dict(interval=3), hooks=[Look()]).train()
    best = ['best_x_score_epoch_1.pth', 'best_x_score_epoch_2.pth']
    assert seen == [(best[0], None), (best[1], None), (best[1], 'epoch_3.pth')]


def test_resuming_from_a_link_is_resuming_from_what_it_names(make_runner, tmp_path, scores):
    scores(0.1, 0.2, 0.3, 0.1)
    make_runner(tmp_path, epochs=3).train()
    runner = make_runner(tmp_path, epochs=4, resume=tmp_path / 'last.pth')
    runner.train()
    assert files(tmp_path) == ['best_x_score_epoch_3.pth', 'epoch_3.pth', 'epoch_4.pth']
    assert links(tmp_path) == ('best_x_score_epoch_3.pth', 'epoch_4.pth')


def test_a_new_run_takes_the_links_of_an_earlier_one_away(make_runner, tmp_path, monkeypatch):
    make_runner(tmp_path, epochs=1).train()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('mmcnn.engine.resumable_train_loop.ResumableTrainLoop.run_iter', _interrupt)
        make_runner(tmp_path, epochs=1).train()
    assert links(tmp_path) == (None, None)


def _interrupt(*args, **kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize('kind', ['file', 'link'])
def test_files_of_these_names_that_are_not_the_hooks_are_left_alone(make_runner, tmp_path, kind):
    run, mine = tmp_path / 'run', tmp_path / 'mine.pth'
    run.mkdir()
    mine.write_text('mine')
    (run / 'best.pth').write_text('mine') if kind == 'file' else (run / 'best.pth').symlink_to('../mine.pth')
    for resume in (None, True):
        runner = make_runner(run, epochs=1 if resume is None else 2, resume=resume)
        runner.train()
        assert (run / 'best.pth').read_text() == mine.read_text() == 'mine'
        assert not (run / 'best.pth.part').exists()
    (hook,) = [hook for hook in runner.hooks if hasattr(hook, 'best_and_last')]
    best, last = hook.best_and_last()
    assert best.name.startswith('best_x_score_epoch_') and best.is_file()
    assert last == run / 'last.pth' and os.readlink(last) == 'epoch_2.pth'


def refuse(*args, **kwargs):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize('hard', [True, False])
def test_without_symbolic_links_there_are_hard_links_or_copies(make_runner, tmp_path, monkeypatch, scores, hard):
    scores(0.1, 0.2, 0.1)
    monkeypatch.setattr(Path, 'symlink_to', refuse)
    if not hard:
        monkeypatch.setattr(os, 'link', refuse)
    make_runner(tmp_path).train()
    for name, target in (('best', 'best_x_score_epoch_2'), ('last', 'epoch_3')):
        path, other = tmp_path / f'{name}.pth', tmp_path / f'{target}.pth'
        assert not path.is_symlink()
        assert path.samefile(other) == hard
        assert path.read_bytes() == other.read_bytes()
    assert not list(tmp_path.glob('*.part'))


@pytest.mark.parametrize('hard', [True, False])
def test_without_symbolic_links_files_of_these_names_are_left_alone(make_runner, tmp_path, monkeypatch, scores, hard):
    """A hard link or a copy does not show who made it, even after a resume; last.pth is still updated."""
    scores(0.1, 0.2)
    monkeypatch.setattr(Path, 'symlink_to', refuse)
    if not hard:
        monkeypatch.setattr(os, 'link', refuse)
    (tmp_path / 'best.pth').write_bytes(b'mine')
    for epochs, resume in ((1, None), (2, True)):
        runner = make_runner(tmp_path, epochs=epochs, resume=resume)
        runner.train()
        assert (tmp_path / 'best.pth').read_bytes() == b'mine'
        newest = tmp_path / f'epoch_{epochs}.pth'
        assert (tmp_path / 'last.pth').read_bytes() == newest.read_bytes()
        assert not list(tmp_path.glob('*.part'))
        # A kill after the checkpoint was written again, but before its link, leaves this.
        (tmp_path / 'last.pth').unlink()
        (tmp_path / 'last.pth').write_bytes(b'the state before')
    (hook,) = [hook for hook in runner.hooks if hasattr(hook, 'best_and_last')]
    assert hook.best_and_last()[0].name.startswith('best_x_score_epoch_')


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_links_that_lead_somewhere(make_runner, tmp_path, monkeypatch):
    """The process dies before its n-th change of the folder, for every n; then the run is resumed."""

    class KilledError(BaseException):
        pass

    left, values = [0], {1: 0.1, 2: 0.3}

    def dying(change):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                raise KilledError
            return change(*args, **kwargs)

        return call

    monkeypatch.setattr(
        'mmengine.evaluator.Evaluator.evaluate', lambda evaluator, size: {'x/score': values[runners[-1].epoch]}
    )
    for owner, name in ((Path, 'symlink_to'), (Path, 'replace'), (Path, 'unlink'), (os, 'replace')):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    runners, changes, keep = [], 0, dict(max_keep_ckpts=1)
    while True:
        changes += 1
        folder = tmp_path / str(changes)
        left[0] = changes
        runners.append(make_runner(folder, 2, logs=False, checkpoint=keep))
        try:
            runners[-1].train()
        except KilledError:
            left[0] = 0
            best, last = links(folder)
            record = folder / 'last_checkpoint'
            # The link is made right after the record, and its old target is deleted later.
            assert last is not None or not record.exists() or record.read_text().endswith('epoch_1.pth')
            assert best is None or best.startswith('best_')
            runners.append(make_runner(folder, 2, logs=False, checkpoint=keep, resume=True))
            runners[-1].train()
        assert links(folder) == ('best_x_score_epoch_2.pth', 'epoch_2.pth')
        assert files(folder) == ['best_x_score_epoch_2.pth', 'epoch_2.pth']
        if left[0] > 0:
            break
    assert changes > 25
