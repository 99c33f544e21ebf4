"""The cache folder: where it is, and that writes are atomic."""

import os
import tempfile
from pathlib import Path

import pytest

from mmcnn.datasets.folders.cache_folder import cache_folder, one_at_a_time, write_cached


def test_the_folder(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/somewhere')
    assert cache_folder() == Path('/somewhere/mmcnn')
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', '/home/me')
    assert cache_folder() == Path('/home/me/.cache/mmcnn')
    monkeypatch.delenv('HOME')
    monkeypatch.setattr('pwd.getpwuid', {}.__getitem__)  # a user without an entry in the password database
    assert cache_folder() == Path(tempfile.gettempdir()) / f'mmcnn-{os.getuid()}'


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / 'sub' / 'a.json'
    write_cached(path, b'old')

    def full(*args):
        raise OSError('no space')

    with monkeypatch.context() as patch, pytest.raises(OSError, match='no space'):
        patch.setattr('os.replace', full)
        write_cached(path, b'new')
    assert path.read_bytes() == b'old'
    assert list(path.parent.iterdir()) == [path]
    write_cached(path, b'new')
    assert path.read_bytes() == b'new'


def test_a_lock_that_cannot_be_had_holds_nobody_back(tmp_path):
    (tmp_path / 'file').touch()
    with one_at_a_time(tmp_path / 'file' / 'lock'):
        pass
    with pytest.raises(OSError, match='mine'), one_at_a_time(tmp_path / 'lock'):
        raise OSError('mine')
