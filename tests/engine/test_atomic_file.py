import errno
import os
import resource
import signal

import pytest
import torch

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import CheckpointError
from mmcnn.runs.checkpoints import last_checkpoint
from mmcnn.runs.work_dirs import check_writable


def save(path, epoch=1, **entries):
    torch.save(dict(state_dict={'w': torch.ones(2)}, optimizer={}, meta=dict(epoch=epoch), **entries), path)
    os.utime(path, (epoch, epoch))


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(b'old')

    def write(file):
        file.write(b'new')
        assert path.read_bytes() == b'old'

    write_whole(path, write)
    assert path.read_bytes() == b'new'
    assert list(tmp_path.iterdir()) == [path]


def test_the_order_is_write_sync_rename_sync(tmp_path, monkeypatch):
    calls = []
    real_sync, real_rename = os.fsync, os.rename
    kinds = {True: 'folder', False: 'file'}
    monkeypatch.setattr(
        os, 'fsync', lambda fd: calls.append(f'sync {kinds[os.path.isdir(f"/proc/self/fd/{fd}")]}') or real_sync(fd)
    )
    monkeypatch.setattr(os, 'replace', lambda *args: calls.append('rename') or real_rename(*args))
    write_whole(tmp_path / 'x', lambda file: calls.append('write'))
    assert calls == ['write', 'sync file', 'rename', 'sync folder']


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """The kernel refuses the write in a process with a limit of 1 MB."""
    path = tmp_path / 'x.pth'
    path.write_bytes(b'old')
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
            write_whole(path, lambda file: torch.save(torch.zeros(1_000_000), file))
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.EFBIG
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_at_once_do_not_meet(tmp_path):
    path = tmp_path / 'x.json'

    def write(file):
        file.write(b'first, ')
        write_whole(path, lambda other: other.write(b'of the other'), shared=True)
        assert path.read_bytes() == b'of the other'
        file.write(b'whole')

    write_whole(path, write, shared=True)
    assert path.read_bytes() == b'first, whole'
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_tried_before_the_run(tmp_path):
    check_writable(tmp_path / 'a' / 'b')
    assert list((tmp_path / 'a' / 'b').iterdir()) == []
    (tmp_path / 'file').touch()
    with pytest.raises(CheckpointError, match=rf'cannot write to {tmp_path}/file/run: Not a directory'):
        check_writable(tmp_path / 'file' / 'run')
    if os.geteuid():
        (tmp_path / 'a').chmod(0o500)
        with pytest.raises(CheckpointError, match='Permission denied'):
            check_writable(tmp_path / 'a')


def test_the_last_checkpoint_is_the_named_one(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for epoch in (1, 2):
        save(tmp_path / f'epoch_{epoch}.pth', epoch)
    assert last_checkpoint(tmp_path) is None  # they belong to an earlier run
    (tmp_path / 'last_checkpoint').write_text('/moved/since/epoch_1.pth')
    path, content, passed_over = last_checkpoint(tmp_path)
    assert (path, content.meta['epoch'], passed_over) == (tmp_path / 'epoch_1.pth', 1, [])


@pytest.mark.parametrize('damage', ['gone', 'cut', 'empty', 'no name'])
def test_a_damaged_one_is_passed_over(tmp_path, damage):
    for epoch in (1, 2, 3):
        save(tmp_path / f'epoch_{epoch}.pth', epoch)
    last = tmp_path / 'epoch_3.pth'
    (tmp_path / 'last_checkpoint').write_text('' if damage == 'no name' else str(last))
    if damage == 'gone':
        last.unlink()
    elif damage == 'cut':
        last.write_bytes(last.read_bytes()[:-100])
    elif damage == 'empty':
        last.write_bytes(b'')
    path, content, (reason,) = last_checkpoint(tmp_path)
    expected = 3 if damage == 'no name' else 2
    assert (path.name, content.meta['epoch']) == (f'epoch_{expected}.pth', expected)
    assert {'gone': 'does not exist', 'cut': 'is truncated', 'empty': 'is empty', 'no name': ''}[damage] in reason


def test_none_that_is_whole(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth')
    torch.save({'w': torch.ones(2)}, tmp_path / 'epoch_1.pth')
    with pytest.raises(CheckpointError, match=r'epoch_2\.pth does not exist'):
        last_checkpoint(tmp_path)
