import pickle
import re
import zipfile

import pytest
import torch
from torch import nn

from mmcnn.weights.formats import torch_file
from mmcnn.weights.formats.restricted_unpickler import StandIn
from mmcnn.weights.formats.torch_file import StoredTensor, TorchFile, TorchFileError

DTYPES = [
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
]
DTYPES += [torch.uint8, torch.bool, torch.complex64]


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """Rewrite an archive, replacing each member by ``change(name, data)``; None drops it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, data in members.items():
            if (data := change(name.partition('/')[2], data)) is not None:
                archive.writestr(name, data)
    return path


def saved(tmp_path, content, zipped=True):
    torch.save(content, tmp_path / 'x.pt', _use_new_zipfile_serialization=zipped)
    return tmp_path / 'x.pt'


@pytest.mark.parametrize('zipped', [True, False])
def test_tensors_are_those_of_torch(zipped, tmp_path):
    base = torch.arange(24.0).view(2, 3, 4)
    content = {
        **{str(dtype): torch.tensor([0, 1, 3]).to(dtype) for dtype in DTYPES},
        'scalar': torch.tensor(5.5),
        'empty': torch.empty(0, 3),
        'transposed': torch.randn(3, 4).t(),
        'channels last': torch.randn(1, 3, 2, 2).to(memory_format=torch.channels_last),
        'slice': torch.arange(10.0)[2:8:3],
        'parameter': nn.Parameter(torch.randn(2)),
        'first': base[0],
        'second': base[1],
    }
    file = TorchFile(saved(tmp_path, content, zipped))
    assert all(type(stored) is StoredTensor for stored in file.content.values())
    read = file.tensors(file.content)
    for key, expected in content.items():
        assert read[key].dtype == expected.dtype and read[key].shape == expected.shape, key
        assert read[key].stride() == expected.stride() and torch.equal(read[key], expected), key
    assert read['first'].untyped_storage().data_ptr() == read['second'].untyped_storage().data_ptr()


@pytest.mark.parametrize('zipped', [True, False])
def test_only_wanted_tensors_are_read(zipped, tmp_path, monkeypatch):
    path = saved(tmp_path, {'small': torch.ones(2), 'big': torch.ones(1000)}, zipped)
    file, made, empty = TorchFile(path), [], torch.empty
    monkeypatch.setattr(torch, 'empty', lambda size, dtype: made.append(size) or empty(size, dtype=dtype))
    assert file.tensors({'a': file.content['small'], 'b': file.content['small']})['b'].tolist() == [1, 1]
    assert made == [8]


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize('zipped', [True, False])
def test_modules_are_stand_ins(zipped, tmp_path):
    file = TorchFile(saved(tmp_path, {'model': nn.Linear(2, 3)}, zipped))
    model = file.content['model']
    assert type(model) is StandIn and model.name == 'torch.nn.modules.linear.Linear'
    assert model.state['_parameters']['weight'].size == (3, 2)
    assert 'torch.nn.modules.linear.Linear' in file.names


def test_a_plain_pickle_has_no_tensors(tmp_path):
    (tmp_path / 'x.pt').write_bytes(pickle.dumps([1, 'two']))
    assert TorchFile(tmp_path / 'x.pt').content == [1, 'two']


# --------------------------------------------------------------------------------------- inconsistent files

NUMEL = b'M\xe8\x03'  # 1000
OTHER = b'J' + (10**6).to_bytes(4, 'little')


def nth(old, new, which, count=2):
    """Replace one of ``count`` equal numbers in the pickle."""

    def change(name, data):
        if name != 'data.pkl':
            return data
        parts = data.split(old)
        assert len(parts) == count + 1
        return old.join(parts[: which + 1]) + new + old.join(parts[which + 1 :])

    return change


def member(wanted, content):
    return lambda name, data: content if name == wanted else data


LIES = {
    'more numbers in the storage': (nth(NUMEL, OTHER, 0), "its storage '0' is truncated: 4000 of 4000000 bytes"),
    'fewer numbers in the storage': (nth(NUMEL, b'M\x01\x03', 0), 'reaches beyond its storage of 769 numbers'),
    'a bigger tensor': (nth(NUMEL, OTHER, 1), 'reaches beyond its storage of 1000 numbers'),
    'a negative size': (nth(NUMEL, b'J\xff\xff\xff\xff', 1), 'size or stride'),
    'an endless size': (nth(NUMEL, b'\x8a\x10' + b'\x7f' * 16, 1), 'size or stride'),
    'an offset': (nth(b'QK\x00', b'QK\x01', 0, 1), 'reaches beyond its storage of 1000 numbers'),
    'a negative offset': (nth(b'QK\x00', b'QJ\xff\xff\xff\xff', 0, 1), 'an invalid offset, size or stride'),
    'a stride': (nth(b'K\x01\x85', b'K\x02\x85', 0, 1), 'reaches beyond its storage of 1000 numbers'),
    'two strides': (nth(b'K\x01\x85', b'K\x01K\x01\x86', 0, 1), 'a tensor of 1 dimensions and 2 strides'),
    'not a storage': (nth(b'QK\x00', b'0NK\x00', 0, 1), 'a tensor without a storage, sizes or strides'),
    'a storage of a class': (nth(b'FloatStorage', b'OtherStorage', 0, 1), 'a storage of an unknown kind'),
    'a missing storage': (lambda name, data: None if name == 'data/0' else data, "'0' is truncated: 0 of 4000 bytes"),
    'a longer storage': (member('data/0', bytes(5000)), "its storage '0' has 5000 bytes, but its tensors need 4000"),
    'another member': (nth(b'X\x01\x00\x00\x000', b'X\x05\x00\x00\x00../up', 0, 1), "'../up' is truncated: 0 of"),
    'the other byte order': (member('byteorder', b'big'), 'its numbers are not little-endian'),
    'an id of another kind': (nth(b'storage', b'unknown', 0, 1), 'refers to something that is not a storage'),
}


@pytest.mark.parametrize('lie', LIES)
def test_lies_of_archives(lie, tmp_path):
    change, message = LIES[lie]
    path = rewritten(saved(tmp_path, {'a': torch.ones(1000)}), change)
    with pytest.raises(TorchFileError, match=re.escape(message)):
        TorchFile(path)


def test_zeros_as_strides_make_no_mountain_of_a_number(tmp_path):
    mountain = torch.ones(1).expand(10**9)
    with pytest.raises(TorchFileError, match='reaches beyond its storage of 1 numbers'):
        TorchFile(saved(tmp_path, {'a': mountain}))


@pytest.mark.parametrize('zipped', [True, False])
def test_very_many_views_of_the_same_numbers(zipped, tmp_path):
    base = torch.ones(1000)
    file = TorchFile(saved(tmp_path, {i: base[i:] for i in range(10)}, zipped))
    with pytest.raises(TorchFileError, match='tensors overlap in its storage'):
        file.tensors({str(key): stored for key, stored in file.content.items()})


def test_directories_of_archives(tmp_path):
    path = saved(tmp_path, {'a': torch.zeros(10**6)})
    size = path.stat().st_size
    rewritten(path, lambda name, data: data, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < size / 100
    with pytest.raises(TorchFileError, match=r'its members are compressed \(400\d{4} bytes unpacked\)'):
        TorchFile(path)

    with (
        pytest.warns(UserWarning, match='Duplicate name'),
        zipfile.ZipFile(saved(tmp_path, {'a': torch.ones(1)}), 'a') as a,
    ):
        a.writestr('x/data/0', bytes(4))
    with pytest.raises(TorchFileError, match='two of its members have the same name'):
        TorchFile(path)

    with zipfile.ZipFile(saved(tmp_path, {'a': torch.ones(1)}), 'a') as archive:
        archive.writestr('y/data.pkl', b'N.')
    with pytest.raises(TorchFileError, match='two of its members have the same name'):
        TorchFile(path)


def directory_field(path, name, offset, value):
    """Overwrite a field of a member's entry in the central directory of an archive."""
    data = bytearray(path.read_bytes())
    entry = data.rindex(name.encode()) - 46
    assert data[entry : entry + 4] == b'PK\x01\x02'
    data[entry + offset : entry + offset + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({24: (10**6).to_bytes(4, 'little')}, 'declares more bytes than the file has'),
        (
            {20: (10**6).to_bytes(4, 'little'), 24: (10**6).to_bytes(4, 'little')},
            'declares more bytes than the file has',
        ),
        ({8: b'\x01'}, 'its members are encrypted'),
        ({10: b'\x08\x00'}, 'its members are compressed'),
    ],
)
def test_entries_of_the_directory(fields, message, tmp_path):
    path = saved(tmp_path, {'a': torch.ones(1000)})
    for offset, value in fields.items():
        directory_field(path, 'x/data/0', offset, value)
    with pytest.raises(TorchFileError, match=message):
        TorchFile(path)


def test_a_damaged_storage(tmp_path):
    path = saved(tmp_path, {'a': torch.ones(1000)})
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(1000).numpy().tobytes()) + 3] ^= 1
    path.write_bytes(data)
    file = TorchFile(path)
    with pytest.raises(TorchFileError, match=r"its storage '0' cannot be read .*CRC"):
        file.tensors(file.content)


def header_of(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(name).header_offset


@pytest.mark.parametrize('damage', [bytes(30), b'PK\x03\x04' + bytes(22) + b'\x08\x00\xff\xff'])
def test_a_damaged_header_of_a_storage(damage, tmp_path):
    path = saved(tmp_path, {'a': torch.ones(1000), 'b': torch.ones(10)})
    position = header_of(path, 'x/data/1')
    with path.open('r+b') as file:
        file.seek(position)
        file.write(damage)
    with pytest.raises(TorchFileError, match=r"the header of 'x/data/1' in it is damaged|'1' is truncated: 0 of"):
        TorchFile(path)


def test_an_archive_with_a_name_of_other_letters(tmp_path):
    torch.save({'a': torch.ones(2)}, tmp_path / 'größe.pt')
    file = TorchFile(tmp_path / 'größe.pt')
    assert file.tensors(file.content)['a'].tolist() == [1, 1]


def test_a_pickle_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, 'MAX_BYTES', 50)
    with pytest.raises(TorchFileError, match=r'its pickle without the tensors has \d+ bytes, which is too large'):
        TorchFile(saved(tmp_path, {'a': torch.ones(1)}))


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (b'little_endianq\x02\x88', b'little_endianq\x02\x89', 'its numbers are not little-endian'),
        (NUMEL, OTHER, 'reaches beyond its storage of 1000 numbers'),
        ((1000).to_bytes(8, 'little'), (1001).to_bytes(8, 'little'), 'has 4004 bytes, but its tensors need 4000'),
        ((1000).to_bytes(8, 'little'), (999).to_bytes(8, 'little'), 'is truncated: 3996 of 4000 bytes'),
        ((1000).to_bytes(8, 'little'), b'\xff' * 8, 'has 4100 bytes, but its tensors need 4000'),
    ],
)
def test_lies_of_plain_files(old, new, message, tmp_path):
    path = saved(tmp_path, {'a': torch.ones(1000)}, zipped=False)
    data = path.read_bytes() + bytes(100)
    assert old in data
    head, _, tail = data.rpartition(old)
    path.write_bytes(head + new + tail)
    with pytest.raises(TorchFileError, match=message):
        TorchFile(path)


def test_storages_of_plain_files_are_listed(tmp_path):
    path = saved(tmp_path, {'a': torch.ones(1000)}, zipped=False)
    data = path.read_bytes()
    start = data.rindex(b'\x80\x02]')
    end = data.index(b'.', start) + 1
    for keys in ([], ['other'], 'text', [((),)]):
        path.write_bytes(data[:start] + pickle.dumps(keys, 2) + data[end:])
        with pytest.raises(TorchFileError, match='its list of storages does not match its tensors'):
            TorchFile(path)
