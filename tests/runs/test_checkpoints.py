import zipfile
from collections import Counter, OrderedDict

import pytest
import torch

from mmcnn.errors import CheckpointError
from mmcnn.runs.checkpoints import last_checkpoint, open_resumable, read_resumable

STATE = OrderedDict(a=torch.ones(3))


def content(**other):
    return (
        dict(state_dict=STATE, optimizer=dict(state={0: dict(step=1, exp_avg=torch.arange(500.0))}), meta=dict(epoch=2))
        | other
    )


class Nowhere:
    """Pickles as an invalid device, which only torch detects."""

    def __reduce__(self):
        return torch.device, ('nowhere',)


def overwrite(path, member, data, header):
    """Overwrite the beginning of a member of an archive, or of its header."""
    with zipfile.ZipFile(path) as archive:
        name = next(each for each in archive.namelist() if each.partition('/')[2] == member)
        start = archive.getinfo(name).header_offset
    whole = bytearray(path.read_bytes())
    if not header:
        start += 30 + int.from_bytes(whole[start + 26 : start + 28], 'little')
        start += int.from_bytes(whole[start - len(name) - 2 : start - len(name)], 'little')
    whole[start : start + len(data)] = data
    path.write_bytes(whole)


def zeroed_header(path):
    torch.save(content(), path)
    overwrite(path, 'data/1', bytes(30), header=True)


def other_version(path):
    torch.save(content(), path)
    overwrite(path, 'version', b'x', header=False)


BROKEN = {
    'a header of the optimizer': (zeroed_header, r"was rejected: the header of 'epoch_2/data/1' in it is damaged"),
    'the version of the archive': (other_version, r'is damaged or of another format \(\w+: .+\)'),
    'a device': (content(extra=Nowhere()), r'is damaged or of another format \(RuntimeError: .*nowhere'),
    'no state dict': ({'optimizer': {}, 'meta': {}}, 'an optimizer state but no weights; its entries: opt'),
    'a number in the state dict': (content(state_dict={'a': 3}), 'has a state_dict that is not a dict of tensors'),
    'a list': (content(state_dict=[torch.ones(1)]), 'has a state_dict that is not a dict of tensors'),
    'an empty state dict': (content(state_dict={}), 'has a state_dict that is not a dict of tensors'),
    'a device in the state dict': (
        content(state_dict={'a': torch.device('cpu')}), 'has a state_dict that is not a dict of tensors',
    ),
    'a counter in the state dict': (
        content(state_dict={'a': Counter('ab')}), 'has a state_dict that is not a dict of tensors',
    ),
    'a list instead of a checkpoint': ([1, 2], 'a checkpoint must be a dict, but this is a list'),
    'an empty file': ({}, 'the checkpoint has no state_dict'),
    'only weights': (dict(STATE), 'holds only weights and no optimizer'),
}  # fmt: skip


@pytest.mark.parametrize('name', BROKEN)
def test_what_a_run_cannot_go_on_from_is_passed_over(name, tmp_path):
    broken, message = BROKEN[name]
    good, last = tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth'
    torch.save(content(meta=dict(epoch=1)), good)
    broken(last) if callable(broken) else torch.save(broken, last)
    (tmp_path / 'last_checkpoint').write_text(str(last))
    path, checkpoint, (reason,) = last_checkpoint(tmp_path)
    assert (path, checkpoint.meta) == (good, dict(epoch=1))
    for read in (open_resumable, read_resumable):
        with pytest.raises(CheckpointError, match=message) as error:
            read(last)
        assert str(error.value) == reason and reason.count(str(last)) == (2 if 'load_from' in reason else 1)
        assert '\n' not in reason


@pytest.mark.parametrize('zipped', [True, False])
def test_unusual_tensors_are_tensors(zipped, tmp_path):
    state = dict(a=torch.eye(3).to_sparse(), b=torch.tensor([1 + 2j]).conj())
    if zipped:  # torch itself cannot read them in the other format
        state['c'] = torch.ones(2).to(torch.float8_e4m3fn)
    torch.save(content(state_dict=state), tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    assert open_resumable(tmp_path / 'x.pth').state_dict.keys() == state.keys()
    assert read_resumable(tmp_path / 'x.pth')['optimizer']['state'][0]['exp_avg'].tolist() == list(range(500))
