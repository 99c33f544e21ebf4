"""mmcnn trains and detects without the features that Windows lacks."""

import ast
import os
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from mmcnn.cli import errors
from mmcnn.cli.main import main
from mmcnn.config.load import load_config
from mmcnn.config.process import check_process
from mmcnn.datasets.mosaic.shared_image_cache import SharedImageCache
from mmcnn.engine import data_workers
from mmcnn.errors import DataError
from mmcnn.runs import run_lock

ROOT = Path(__file__).resolve().parents[1]
#: Hides from mmcnn's code the features that Windows lacks; processes are spawned, and links cannot be created.
WINDOWS = textwrap.dedent("""
    import builtins, multiprocessing, os, select, signal, sys, types
    from pathlib import Path

    MODULES = {'fcntl', 'grp', 'pty', 'pwd', 'resource', 'termios', 'tty'}
    NAMES = {
        'os': 'fork getloadavg getpgrp getuid killpg register_at_fork sched_getaffinity setsid sysconf',
        'select': 'epoll poll',
        'signal': 'SIGCONT SIGKILL SIGPIPE SIGSTOP SIG_BLOCK SIG_SETMASK pthread_sigmask sigwaitinfo',
    }
    cut = {}
    for name, lacking in NAMES.items():
        names = vars(sys.modules[name])
        cut[name] = types.SimpleNamespace(**{each: names[each] for each in names.keys() - {*lacking.split()}})
    whole = builtins.__import__

    def lacking(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0 and str((globals or {}).get('__name__')).startswith('mmcnn'):
            if name in MODULES:
                raise ModuleNotFoundError(f'No module named {name!r}', name=name)
            if name in cut:
                return cut[name]
        return whole(name, globals, locals, fromlist, level)

    def no_link(*args, **kwargs):
        raise OSError('a required privilege is not held by the client')

    builtins.__import__ = lacking
    os.symlink = os.link = no_link
    multiprocessing.get_all_start_methods = lambda: ['spawn']
""")
IMPORT = textwrap.dedent("""
    import importlib, mmcnn, pkgutil

    failed = {}
    for module in pkgutil.walk_packages(mmcnn.__path__, 'mmcnn.'):
        if not module.name.endswith('__main__'):
            try:
                importlib.import_module(module.name)
            except (AttributeError, ImportError) as error:
                failed[module.name] = str(error)
    print(failed)
    mmcnn.build_backbone('cspdarknet53', out_indices=(3, 4), widen_factor=0.25)
""")
TRAIN = textwrap.dedent("""
    import mmcnn

    tiny = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33, 'model.test_cfg.score_thr': 0.0}
    sizes = dict(img_size=64, batch_size=4, workers=0, device='cpu', epochs=1)
    data = Path(sys.argv[1])
    if __name__ == '__main__':
        mmcnn.train('yolov4_cspdarknet53', data=data, work_dir='run', cfg_options=tiny, **sizes)
        detector = mmcnn.Detector('run/last.pth', device='cpu')
        print(len(detector(next((data / 'images').rglob('*.*')))), 'boxes')
""")
#: Only for measurements, whose commands check the system.
MEASURE = {'mmcnn.benchmarks.start'}


def on_windows(code, *args, cwd):
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-c', WINDOWS + code, *map(str, args)]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_mmcnn_is_imported_without_what_windows_lacks(tmp_path):
    failed = ast.literal_eval(on_windows(IMPORT, cwd=tmp_path).stdout.splitlines()[-1])
    assert failed.keys() == MEASURE, failed


@pytest.mark.slow
def test_mmcnn_trains_and_detects_without_what_windows_lacks(shapes, tmp_path):
    done = on_windows(TRAIN, shapes, cwd=tmp_path)
    assert re.fullmatch(r'\d+ boxes', done.stdout.splitlines()[-1])
    assert 'note: run is on a file system without locks (or this is Windows)' in done.stdout + done.stderr
    last = tmp_path / 'run' / 'last.pth'
    assert last.is_file() and not last.is_symlink()  # a copy, since links cannot be created


def ended(capsys, *argv):
    with pytest.raises(SystemExit) as end:
        main([*argv])
    return end.value.code, capsys.readouterr().err


def test_commands_that_need_linux_say_so(monkeypatch, capsys):
    monkeypatch.setattr(platform, 'system', lambda: 'Windows')
    for what in ('check', 'start', 'train'):
        said = f'error: mmcnn benchmark {what} only runs on Linux, not on Windows\n'
        assert ended(capsys, 'benchmark', what) == (1, said)
    monkeypatch.delattr(os, 'fork')
    said = 'error: mmcnn zoo matrix --detectors mmdet forks a process for each pair, which Windows cannot\n'
    assert ended(capsys, 'zoo', 'matrix', '--detectors', 'mmdet') == (1, said)


def test_without_fork_configs_are_fine_and_an_image_cache_is_refused(monkeypatch):
    monkeypatch.setattr('multiprocessing.get_all_start_methods', lambda: ['spawn'])
    cfg = load_config('yolov4_cspdarknet53')
    assert cfg.env_cfg.mp_cfg.mp_start_method == 'fork'
    check_process(cfg)
    with pytest.raises(DataError, match=r'an image cache of 0\.1 GB: it is shared by forking, .*leave cache_gb out'):
        SharedImageCache(4, 0.1)


def test_without_a_way_to_ask_a_broken_pipe_is_a_fault(monkeypatch):
    monkeypatch.delattr('select.poll')
    assert not errors._nobody_reads()


def test_without_locks_a_folder_is_taken_and_never_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(run_lock, 'fcntl', None)
    lock = run_lock.RunLock(tmp_path)
    assert lock.acquire().startswith('note: ')
    run_lock.refuse_live(tmp_path)
    lock.release()
    assert not list(tmp_path.iterdir())


def test_where_no_signal_says_who_sent_it_a_worker_ends_by_sigterm(monkeypatch):
    """macOS is such a system."""
    monkeypatch.setattr(data_workers, '_TELLS_SENDER', False)
    loader = DataLoader(range(100), batch_size=2, num_workers=1, multiprocessing_context='fork')
    data_workers.guard_workers(loader)
    batches = iter(loader)
    assert next(batches).tolist() == [0, 1]
    worker = batches._workers[0]
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0  # PyTorch's own handler for SIGTERM exits with 0
    data_workers.forget_deaths()
