import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mmcnn.errors import CheckpointError
from mmcnn.weights.formats.safetensors_file import is_safetensors, read_safetensors, write_safetensors

BASE = torch.arange(12.0).view(3, 4)
STATE = {
    'weight': torch.randn(2, 3, 3, 3),
    'half': torch.tensor([1.5, 65504.0, 6e-8]).half(),
    'brain': torch.tensor([1.5]).bfloat16(),
    'double': torch.tensor([1e300], dtype=torch.float64),
    'counter': torch.tensor(2**40),
    'flags': torch.tensor([True, False]),
    'empty': torch.empty(0, 4),
    'nan': torch.tensor([float('nan'), float('-inf')]),
    'base': BASE,
    'same': BASE,
    'row': BASE[1],
    'transposed': BASE.t(),
    'parameter': torch.nn.Parameter(torch.randn(2)),
}


def test_round_trip_is_exact(tmp_path):
    write_safetensors(STATE, {'format': 'mmcnn', 'ü': '{"a": 1}'}, tmp_path / 'x.safetensors')
    state, metadata = read_safetensors(tmp_path / 'x.safetensors')
    assert metadata == {'format': 'mmcnn', 'ü': '{"a": 1}'}
    assert state.keys() == STATE.keys()
    for key, value in STATE.items():
        assert state[key].dtype == value.dtype and state[key].shape == value.shape
        assert torch.equal(state[key].nan_to_num(), value.nan_to_num()) and state[key].is_contiguous(), key
    assert BASE.tolist() == torch.arange(12.0).view(3, 4).tolist() and list(tmp_path.iterdir()) == [
        tmp_path / 'x.safetensors'
    ]
    peers = safetensors.torch.load_file(tmp_path / 'x.safetensors')
    assert all(torch.equal(peers[key], value) for key, value in STATE.items() if key != 'nan')


def test_files_of_others(tmp_path):
    safetensors.torch.save_file({'a': torch.ones(2)}, tmp_path / 'x.safetensors')
    state, metadata = read_safetensors(str(tmp_path / 'x.safetensors'))
    assert state['a'].tolist() == [1, 1] and metadata == {}


def test_what_was_read_does_not_follow_the_file(tmp_path):
    path = tmp_path / 'x.safetensors'
    write_safetensors({'a': torch.ones(4)}, {}, path)
    state, _ = read_safetensors(path)
    with path.open('r+b') as file:
        file.seek(-16, 2)
        file.write(bytes(16))
    assert state['a'].tolist() == [1] * 4


def test_an_existing_file_is_replaced_whole_or_kept(tmp_path, monkeypatch):
    path = tmp_path / 'x.safetensors'
    write_safetensors({'a': torch.ones(1)}, {}, path)
    write_safetensors({'a': torch.zeros(1)}, {}, path)
    assert read_safetensors(path)[0]['a'] == 0

    def fail(*_):
        raise OSError('the disk is full')

    monkeypatch.setattr(Path, 'replace', fail)
    with pytest.raises(CheckpointError, match='cannot be written: the disk is full'):
        write_safetensors({'a': torch.ones(1)}, {}, path)
    assert read_safetensors(path)[0]['a'] == 0 and list(tmp_path.iterdir()) == [path]
    with pytest.raises(CheckpointError, match='cannot be written'):
        write_safetensors({'a': torch.ones(1)}, {}, tmp_path / 'nowhere' / 'x.safetensors')


def test_recognised_by_content(tmp_path):
    write_safetensors({'a': torch.ones(2)}, {}, tmp_path / 'x')
    data = (tmp_path / 'x').read_bytes()
    assert is_safetensors(data[:9], len(data)) and is_safetensors(data[:64], len(data))
    assert not is_safetensors(data[:9], int.from_bytes(data[:8], 'little'))  # the header ends beyond the file
    assert not is_safetensors(data[:8], len(data))
    assert not is_safetensors(b'PK\x03\x04' + bytes(60), 10**6) and not is_safetensors(b'<!DOCTYPE html>{', 10**6)


ENTRY = {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}


def lying(data=bytes(8), **entries):
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, 'little') + header + data


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'<!DOCTYPE html><html></html>', 'header too large'),
        ((2**60).to_bytes(8, 'little') + b'{}', 'header too large'),
        ((1000).to_bytes(8, 'little') + b'{}', 'invalid header length'),
        (lying(a=ENTRY, b=ENTRY), 'invalid offset for tensor'),
        (lying(a={**ENTRY, 'shape': [20], 'data_offsets': [0, 80]}), 'not fully covered'),
        (lying(bytes(16), a={**ENTRY, 'data_offsets': [8, 16]}), 'invalid offset'),
        (lying(bytes(16), a={**ENTRY, 'data_offsets': [8, 0]}), 'invalid offset'),
        (lying(a={**ENTRY, 'shape': [2**40]}), 'invalid shape'),
        (lying(a={**ENTRY, 'shape': [2**62, 8]}), 'overflow'),
        (lying(a={**ENTRY, 'dtype': 'F99'}), 'unknown variant `F99`'),
        (lying(__metadata__={'a': 1}), 'expected a string'),
        (lying(bytes(9), a=ENTRY), 'not fully covered'),
        (lying(bytes(7), a=ENTRY), 'not fully covered'),
        ((50_000).to_bytes(8, 'little') + b'{"a":' * 10_000, 'recursion limit'),
        (b'', None),
    ],
)
def test_headers_that_lie(content, reason, tmp_path):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_safetensors(path)
    expected = (
        f'{path} cannot be read as safetensors: it is damaged or of another format (' if reason else f'{path} is empty'
    )
    assert str(error.value).startswith(expected) and (reason or 'empty') in str(error.value)
    assert '\n' not in str(error.value)


def test_a_missing_file_names_the_nearest(tmp_path):
    write_safetensors({'a': torch.ones(1)}, {}, tmp_path / 'best.safetensors')
    with pytest.raises(CheckpointError, match=r'does not exist; its folder contains best\.safetensors$'):
        read_safetensors(Path(tmp_path) / 'beste.safetensors')
