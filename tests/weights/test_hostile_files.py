"""Broken and malicious files, given to every reader: one sentence, nothing written or run, little memory."""

import os
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile

import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights import read_checkpoint
from mmcnn.weights.formats.safetensors_file import read_safetensors
from mmcnn.weights.formats.ultralytics_file import read_ultralytics
from mmcnn.weights.loading import load_weights

READERS = {
    'load_weights': lambda path: load_weights(mmcnn.build_backbone('darknet53', widen_factor=0.1), path),
    'read_checkpoint': read_checkpoint,
    'read_ultralytics': read_ultralytics,
    'read_safetensors': read_safetensors,
}
MEBI = 2**20


class Touch:
    """An object that pickles as a call that writes the file ``ran`` into the current folder."""

    def __reduce__(self):
        return os.system, ('touch ran',)


def saved(path, **kwargs):
    torch.save({'model.0.conv.weight': torch.ones(1000), 'state_dict': {'a': torch.ones(1000)}}, path, **kwargs)


def truncated(path, **kwargs):
    saved(path, **kwargs)
    path.write_bytes(path.read_bytes()[:-2000])


def sparse(path, head=b''):
    """Write a sparse file of 50 GiB."""
    path.write_bytes(head)
    os.truncate(path, 50 * 2**30)


def broken_directory(path):
    saved(path)
    path.write_bytes(path.read_bytes().replace(b'PK\x01\x02', b'PK\x01\xff'))


def big_endian(path):
    torch.save({'a': torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in members.items():
            archive.writestr(name, b'big' if name.endswith('byteorder') else data)


def bomb(path):
    """Write an eighth of a MiB that unpacks to 128 MiB."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        number = (32 * MEBI).to_bytes(4, 'little')
        archive.writestr(
            'x/data.pkl',
            b'\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n'
            b'X\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ' + number + b'tQK\x00J' + number + b'\x85K\x01\x85\x89}tRs.',
        )
        archive.writestr('x/version', b'3\n')
        with archive.open('x/data/0', 'w') as member:
            for _ in range(128):
                member.write(bytes(MEBI))


def overlapping(path):
    """Write an archive with ten directory entries for the same MiB."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('x/data.pkl', pickle.dumps({'a': 1}, 2))
        archive.writestr('x/data/0', bytes(MEBI))
        first = archive.filelist[-1]
        for i in range(1, 10):
            copy = zipfile.ZipInfo(f'x/data/{i}')
            for field in ('header_offset', 'CRC', 'compress_size', 'file_size'):
                setattr(copy, field, getattr(first, field))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True


def hash_bomb(path):
    """Write a key of 60 nested tuples; its hash takes 2**60 steps."""
    path.write_bytes(b'\x80\x02})' + b'q\x00h\x00\x86' * 60 + b'Ns.')


def deep_key(path):
    """Write a key of deeply nested tuples; its hash crashes the process."""
    torch.save({'a': torch.ones(2)}, path)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('x/data.pkl', b'\x80\x02})' + b'\x85' * 200_000 + b'Ns.')
        archive.writestr('x/version', b'3\n')


def executing(path, **kwargs):
    torch.save({'state_dict': {'a': torch.ones(1)}, 'payload': Touch()}, path, **kwargs)


def lying_safetensors(path):
    header = b'{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'
    path.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(64))


def write(content):
    return lambda path: path.write_bytes(content)


NO_SAFETENSORS = r'cannot be read as safetensors: it is damaged or of another format \('
NO_STATE = r'was rejected: it holds neither a module nor a state dict'
# File -> what writes it, and the message of each reader; '' stands for all readers that are not named.
FILES = {
    'empty': (write(b''), {'': r'is empty$'}),
    'text': (
        write(b'just a few words\n' * 9),
        {
            '': r"is a text file, not a checkpoint; it begins with 'just a few words'$",
            'read_safetensors': NO_SAFETENSORS,
        },
    ),
    'a web page': (
        write(b'<!DOCTYPE html>\n<html><body>404: Not Found</body></html>'),
        {'': r"is a text file, .*begins with '<!DOCTYPE html>'$", 'read_safetensors': NO_SAFETENSORS},
    ),
    'noise': (
        write(bytes(range(255, 100, -1)) * 40),
        {'': r'it is damaged or of another format', 'read_safetensors': NO_SAFETENSORS},
    ),
    'truncated': (truncated, {'': r'is truncated', 'read_safetensors': NO_SAFETENSORS}),
    'truncated, plain': (
        lambda path: truncated(path, _use_new_zipfile_serialization=False),
        {'': r'was rejected: its storage .* is truncated', 'read_safetensors': NO_SAFETENSORS},
    ),
    'a broken directory': (
        broken_directory,
        {'': r'it is damaged or of another format \(BadZipFile', 'read_safetensors': NO_SAFETENSORS},
    ),
    'oversized': (sparse, {'': r'was rejected: it has 50 GiB, more than any file of these networks'}),
    'oversized archive': (lambda path: sparse(path, b'PK\x03\x04'), {'': r'was rejected: it has 50 GiB'}),
    'oversized line': (lambda path: sparse(path, b'c'), {'': r'was rejected: it has 50 GiB'}),
    'big-endian': (
        big_endian,
        {'': r'was rejected: its numbers are not little-endian', 'read_safetensors': NO_SAFETENSORS},
    ),
    'a bomb': (bomb, {'': r'was rejected: its members are compressed \(1342', 'read_safetensors': NO_SAFETENSORS}),
    'an overlapping bomb': (
        overlapping,
        {'': r'its directory declares more bytes than the file has', 'read_safetensors': NO_SAFETENSORS},
    ),
    'a hash without end': (
        hash_bomb,
        {'': r'a key that is neither text nor a small number', 'read_safetensors': NO_SAFETENSORS},
    ),
    'a key too deep': (
        deep_key,
        {'': r'a key that is neither text nor a small number', 'read_safetensors': NO_SAFETENSORS},
    ),
    'code': (
        executing,
        {
            '': r'asks for `posix\.system`, which is not plain data and could run code; nothing was run$',
            'read_ultralytics': r'does not have the entries of a YOLOv5 detector',
            'read_safetensors': NO_SAFETENSORS,
        },
    ),
    'code, plain': (
        lambda path: path.write_bytes(pickle.dumps({'payload': Touch()})),
        {
            '': r'asks for `posix\.system`, which is not plain data and could run code; nothing was run$',
            'read_ultralytics': NO_STATE,
            'read_safetensors': NO_SAFETENSORS,
        },
    ),
    'a lying header': (
        lying_safetensors,
        {
            '': r'it is damaged or of another format',
            'load_weights': r'not fully covered',
            'read_safetensors': r'not fully',
        },
    ),
}


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('name', FILES)
def test_one_sentence_and_nothing_else(name, reader, record_property, tmp_path, monkeypatch):
    write_file, sentences = FILES[name]
    path = tmp_path / 'file.pth'
    write_file(path)
    for folder in ('working', 'temporary'):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / 'working')
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    before, when = sorted(tmp_path.rglob('*')), path.stat().st_mtime_ns
    with pytest.raises(CheckpointError, match=sentences.get(reader) or sentences['']) as error:
        READERS[reader](path)
    assert str(error.value).startswith(str(path)) and '\n' not in str(error.value) and len(str(error.value)) < 500
    assert sorted(tmp_path.rglob('*')) == before and path.stat().st_mtime_ns == when
    sentence = re.sub(r"storage '\d+'", 'storage', str(error.value).replace(str(path), 'FILE'))  # a random name
    record_property('hostile', (name, reader, sentence))


IN_A_CHILD = """
import resource, runpy, sys
from pathlib import Path
from mmcnn.errors import CheckpointError
this = runpy.run_path(sys.argv[1])
for read in this['READERS'].values():  # loads what is loaded late
    try:
        read(Path('nowhere'))
    except CheckpointError:
        pass
pages = int(Path('/proc/self/statm').read_text().split()[0])
limit = pages * resource.getpagesize() + 100 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for name in this['FILES']:
    for reader, read in this['READERS'].items():
        try:
            read(Path(sys.argv[2]) / name)
        except CheckpointError as error:
            assert 'Memory' not in str(error), error
            print(name, reader)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='limits of memory and /proc are those of Linux')
def test_memory_is_bounded(tmp_path):
    """All readers read all files in a process that may take 100 MiB more than it has."""
    for name, (write_file, _) in FILES.items():
        write_file(tmp_path / name)
    command = [sys.executable, '-c', IN_A_CHILD, __file__, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == len(FILES) * len(READERS)
