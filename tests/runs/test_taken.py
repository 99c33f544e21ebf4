"""A running run has exclusive use of its folder, and a failed start leaves the folder unchanged."""

import contextlib
import copy
import time

import pytest
from mmengine.config import Config

from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs import work_dirs
from mmcnn.runs.run_lock import LOCK, RunLock
from mmcnn.runs.taken import taken
from mmcnn.runs.work_dirs import RunKind

KIND = RunKind('yolov5_n', None, '/data/bccd')


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cfg(here):
    """The config of a run of the file ``yolov5_n.py``."""
    (here / 'yolov5_n.py').write_text("work_dir = 'mine'\n")
    return Config.fromfile(here / 'yolov5_n.py')


def a_start(cfg, begun=False, new=False):
    """Leave what MMEngine's Runner leaves, and fail."""
    with taken(cfg, new, lambda: begun) as folder:
        made = folder / time.strftime('%Y%m%d_%H%M%S') / 'vis_data'
        made.mkdir(parents=True)
        (folder / 'yolov5_n.py').write_text('a dump')
        raise RuntimeError('no memory')


def test_a_start_that_fails_leaves_nothing(here, cfg):
    cfg.work_dir = str(work_dirs.for_training(KIND, None, False))
    with pytest.raises(RuntimeError, match='no memory'):
        a_start(cfg, new=True)
    assert not (here / 'work_dirs').exists()
    with pytest.raises(RuntimeError):
        a_start(cfg, new=True, begun=True)
    assert len(list((here / cfg.work_dir).iterdir())) == 2


def test_a_failed_start_touches_nothing_else(here, cfg):
    folder = here / 'mine'
    (folder / '20250101_000000').mkdir(parents=True)
    for name in ('own.py', 'yolov5_n.py'):  # the second one was dumped by an earlier session
        (folder / name).write_text(f'of {name}')

    with pytest.raises(KeyboardInterrupt), taken(cfg, False, lambda: False):
        (folder / time.strftime('%Y%m%d_%H%M%S')).mkdir()
        (folder / 'yolov5_n.py').write_text('a dump')
        (folder / 'script.py').write_text('of somebody else, in the meantime')
        (folder / '20250101_000001').mkdir()
        raise KeyboardInterrupt
    assert {path.name: path.is_file() and path.read_text() for path in folder.iterdir()} == {
        '20250101_000000': False, '20250101_000001': False, 'own.py': 'of own.py', 'yolov5_n.py': 'of yolov5_n.py',
        'script.py': 'of somebody else, in the meantime',
    }  # fmt: skip


def test_runs_that_start_together_take_folders_of_their_own(here, cfg):
    """Both chose the folder before it existed."""
    folder = work_dirs.for_training(KIND, None, False)
    names = []
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            each = copy.deepcopy(cfg)
            each.work_dir = str(folder)
            names.append(stack.enter_context(taken(each, True, lambda: True)).name)
            assert each.work_dir == f'work_dirs/{names[-1]}'
        each.work_dir = 'work_dirs/yolov5_n-bccd-3'  # chosen while there were two
        names.append(stack.enter_context(taken(each, True, lambda: True)).name)
    assert names == ['yolov5_n-bccd', 'yolov5_n-bccd-2', 'yolov5_n-bccd-3', 'yolov5_n-bccd-4']


def test_a_named_folder_is_one_run_s_at_a_time(here, cfg):
    cfg.work_dir = 'mine'
    with taken(cfg, False, lambda: True) as folder:
        assert (folder / LOCK).is_file()
        with pytest.raises(UsageError, match='a run is active in mine'), taken(cfg, False, lambda: False):
            pass
        assert folder.is_dir()  # the refused run deleted nothing
    assert not (folder / LOCK).exists()
    with taken(cfg, False, lambda: True):  # the next run of the process
        pass


def test_a_slower_rank_does_not_take_the_first_one_for_another_run(here, cfg, monkeypatch):
    """If the process group existed before the run, nothing else made the first rank wait."""
    cfg.work_dir, looked = 'mine', []

    def slower_rank():
        looked.append(work_dirs.for_training(KIND, 'mine', False))

    monkeypatch.setattr('mmcnn.runs.taken.barrier', slower_rank)
    with taken(cfg, False, lambda: True) as folder:
        assert looked == [folder]
        with pytest.raises(UsageError, match='a run is active in mine'):
            slower_rank()


def test_a_refused_start_in_a_new_named_folder_leaves_nothing(here, cfg):
    with pytest.raises(RuntimeError, match='no memory'):
        a_start(cfg)
    assert not (here / 'mine').exists()


def test_a_folder_that_cannot_be_made_is_refused(here, cfg):
    (here / 'file').touch()
    cfg.work_dir = 'file/run'
    refused = pytest.raises(CheckpointError, match='cannot write to file/run: Not a directory')
    with refused, taken(cfg, False, lambda: False):
        pass


def test_a_file_system_without_locks_is_a_note(here, cfg, monkeypatch):
    monkeypatch.setattr(RunLock, '_locked', lambda self: None)
    said = []
    with taken(cfg, False, lambda: True, said.append):
        pass
    assert len(said) == 1 and said[0].startswith('note: mine is on a file system without locks')
