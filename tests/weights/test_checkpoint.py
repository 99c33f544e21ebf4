import gc
import os
import pickle
import re
import sys
import weakref
import zipfile
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file
from torch import nn

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights import read_checkpoint, state_dict_of
from mmcnn.weights.checkpoint import Checkpoint, format_of
from mmcnn.weights.formats import torch_file
from mmcnn.weights.formats.torch_file import DTYPES, PLAIN, TorchFile
from mmcnn.weights.record import of_row, to_json


class Call:
    """An object that pickles as a call of a function with these arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(marker):
    """Return calls that a hostile file may contain, each with the name that the refusal must mention."""
    command = f'touch {marker}'
    return {
        'system': (Call(os.system, command), f'{os.system.__module__}.system'),
        'eval': (Call(eval, f'open({str(marker)!r}, "w")'), 'builtins.eval'),
        'exec': (Call(exec, f'open({str(marker)!r}, "w")'), 'builtins.exec'),
        'class': (Call(getattr, HistoryBuffer, '__class__'), 'builtins.getattr'),
        'globals': (Call(getattr, Call(getattr, HistoryBuffer, 'min'), '__globals__'), 'builtins.getattr'),
        'object': (Call(getattr, Call(HistoryBuffer), 'min'), 'builtins.getattr'),
        'open': (Call(open, str(marker), 'w'), f'{open.__module__}.open'),
        'module': (nn.Linear(1, 1), 'torch.nn.modules.linear.Linear'),
    }


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('attack', attacks('x'))
@pytest.mark.parametrize('form', ['zip', 'legacy', *range(6)])
def test_code_is_refused_and_not_run(attack, form, tmp_path):
    path, marker = tmp_path / 'hostile.pth', tmp_path / 'ran'
    payload, name = attacks(marker)[attack]
    content = {'state_dict': {'weight': torch.ones(1)}, 'payload': payload}
    if isinstance(form, str):
        torch.save(content, path, _use_new_zipfile_serialization=form == 'zip')
    else:
        path.write_bytes(pickle.dumps(payload, protocol=form))
        name = name if form >= 3 or attack != 'module' else ''  # protocols 0 to 2 start with copyreg's helper
    with pytest.raises(CheckpointError, match='nothing was run') as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f'{path} was rejected: it asks for `')
    assert f'`{name}' in str(error.value)
    assert not marker.exists()
    if attack in ('system', 'eval', 'open') and isinstance(form, int):  # a trusting load does run the same file
        with path.open('rb') as file:
            pickle.load(file)
        assert marker.exists()


def test_calling_a_statistic_is_refused(tmp_path):
    # getattr(HistoryBuffer, 'min')('x'): the lookup is allowed, the call is not.
    path = tmp_path / 'hostile.pth'
    lookup = b'cbuiltins\ngetattr\n(cmmengine.logging.history_buffer\nHistoryBuffer\nX\x03\x00\x00\x00mintR'
    path.write_bytes(b'\x80\x02' + lookup + b'(X\x01\x00\x00\x00xtR.')
    with pytest.raises(
        CheckpointError, match=r'was rejected: it asks for `mmengine\.logging\.history_buffer\.HistoryBuffer\.min`'
    ):
        read_checkpoint(path)


def test_reads_state_dicts_and_plain_tensors(tmp_path):
    for content in ({'state_dict': {'a': torch.ones(2)}, 'meta': {'epoch': 1}}, {'a': torch.ones(2)}):
        for zipped in (True, False):
            torch.save(content, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
            checkpoint = read_checkpoint(str(tmp_path / 'x.pth'))
            assert checkpoint.keys() == content.keys()
            assert state_dict_of(checkpoint)['a'].tolist() == [1, 1]


def test_missing_file_names_the_nearest(tmp_path):
    for name in ('best.pth', 'epoch_1.pth', 'epoch_12.pth', 'unrelated.txt'):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r'its folder contains epoch_12\.pth, epoch_1\.pth, best\.pth$'):
        read_checkpoint(tmp_path / 'epoch_112.pth')
    with pytest.raises(CheckpointError, match='does not exist, and neither does its folder'):
        read_checkpoint(tmp_path / 'nowhere' / 'epoch_1.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is empty$'),
        (b'<!DOCTYPE html>\n<html><body>404</body></html>' * 9, "is a text file.*begins with '<!DOCTYPE html>'$"),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1', "is a text file.*begins with 'version https"),
        (b'checkpoint\nmissing\n', "is a text file.*begins with 'checkpoint'$"),  # 'c' is the opcode of an import
        (bytes(range(255, 128, -1)) * 30, 'is damaged or of another format'),
        (b'\x80\x02', 'is damaged or of another format'),
    ],
)
def test_files_that_are_no_checkpoint(content, message, tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(str(path))
    assert '\n' not in str(error.value)


def test_cut_short(tmp_path):
    path = tmp_path / 'x.pth'
    for zipped in (True, False):
        torch.save({'state_dict': {'a': torch.ones(1000)}}, path, _use_new_zipfile_serialization=zipped)
        data = path.read_bytes()
        for length in (3, 30, 120, 300, 600, 2000, len(data) - 30):
            path.write_bytes(data[:length])
            with pytest.raises(CheckpointError, match='is truncated' if zipped and length > 3 else 'truncated|damaged'):
                read_checkpoint(path)


def test_other_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    with pytest.raises(CheckpointError, match='damaged or of another format'):
        read_checkpoint(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([torch.ones(1)], 'a checkpoint must be a dict, but this is a list'),
        ({'epoch': 1, 'args': {'a': 2}}, 'has no state_dict; its entries: epoch, args'),
        (
            {'optimizer': {'state': {}}, 'epoch': 1},
            'holds an optimizer state but no weights; its entries: optimizer, epoch',
        ),
        (
            {'student': {'a': torch.ones(1)}, 'teacher': {'a': torch.ones(1)}},
            'holds weights in student and in teacher, and it is unclear which to use',
        ),
        ({}, 'has no state_dict'),
        ({'state_dict': {}}, 'has a state_dict that is not a dict of tensors'),
        ({'state_dict': [torch.ones(1)]}, 'has a state_dict that is not a dict of tensors'),
        ({'state_dict': {'a': 'text'}}, 'has a state_dict that is not a dict of tensors'),
    ],
)
def test_content_without_state_dict(content, message, tmp_path):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(tmp_path / 'x.pth')
    assert str(tmp_path / 'x.pth') in str(error.value)


def test_prefix_of_distributed_wrappers_is_taken_away():
    tensor = torch.ones(1)
    assert list(state_dict_of({'state_dict': {'module.a': tensor, 'module.b.c': tensor}})) == ['a', 'b.c']
    # A part of the model that happens to have this name stays.
    assert list(state_dict_of({'module.a': tensor, 'head.b': tensor})) == ['module.a', 'head.b']


def test_checkpoint_of_the_runner_is_read_and_resumed(tmp_path):
    from mmengine.dataset import DefaultSampler
    from mmengine.hooks import EMAHook
    from mmengine.model import BaseModel
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    class Toy(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x, mode='tensor'):
            return {'loss': self.layer(x).square().mean()}

    def runner(epochs, **settings):
        model = Toy()
        return Runner(
            model=model,
            work_dir=str(tmp_path),
            train_dataloader=dict(
                dataset=[{'x': torch.full((2,), float(i))} for i in range(4)],
                sampler=dict(type=DefaultSampler, shuffle=False),
                batch_size=2,
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)),
            custom_hooks=[EMAHook()],
            experiment_name=f'{tmp_path.name}_{epochs}',
            log_level='ERROR',
            **settings,
        )

    runner(1).train()
    checkpoint = read_checkpoint(tmp_path / 'epoch_1.pth')
    assert checkpoint['meta']['iter'] == 2
    assert list(state_dict_of(checkpoint)) == ['layer.weight', 'layer.bias']
    assert checkpoint['message_hub']['log_scalars']['train/loss'].data[0].shape == (2,)
    resumed = runner(2, resume=True)
    resumed.train()
    assert resumed.iter == 4
    losses = read_checkpoint(tmp_path / 'epoch_2.pth')['message_hub']['log_scalars']['train/loss'].data[0]
    assert losses[:2].tolist() == checkpoint['message_hub']['log_scalars']['train/loss'].data[0].tolist()
    assert len(losses) == 4


def test_the_content_says_what_a_file_is(tmp_path):
    state = mmcnn.build_backbone('vgg11', widen_factor=0.125).state_dict()
    path = tmp_path / 'misnamed.weights'
    for zipped in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        assert format_of(path) == 'pytorch'
    save_file(state, path, metadata=dict(mmcnn=to_json(of_row('vgg11'))))
    assert format_of(path) == 'safetensors'
    file = Checkpoint.open(path)
    assert file.record == of_row('vgg11')
    assert file.state_dict.keys() == state.keys()
    path.write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(100))
    assert format_of(path) == 'keras'


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match='does not exist'):
        Checkpoint.open(tmp_path / 'x.weights')
    (tmp_path / 'x.weights').touch()
    with pytest.raises(CheckpointError, match='is empty'):
        Checkpoint.open(tmp_path / 'x.weights')


@pytest.fixture
def opened(monkeypatch):
    """Record the path of each file that is opened."""
    paths, path_open, load = [], Path.open, torch.load
    monkeypatch.setattr(Path, 'open', lambda self, *args: paths.append(self) or path_open(self, *args))
    monkeypatch.setattr(torch, 'load', lambda path, **kwargs: paths.append('torch.load') or load(path, **kwargs))
    return paths


def test_parts_are_read_once_and_when_they_are_asked_for(opened, trained):
    checkpoint = Checkpoint.open(trained.checkpoint)
    at_first = len(opened)
    checkpoint.refuse_unresumable()
    assert checkpoint.classes == ('circle', 'square', 'triangle')
    assert checkpoint.record.model == 'cspdarknet53' and checkpoint.config.model.bbox_head.num_classes == 3
    assert len(opened) == at_first  # nothing is read again
    state = checkpoint.state_dict
    assert checkpoint.state_dict is state and len(opened) == at_first + 1
    assert 'torch.load' not in opened
    expected = torch.load(trained.checkpoint, weights_only=True)
    assert state.keys() == expected['state_dict'].keys()
    assert all(torch.equal(state[key], value) for key, value in expected['state_dict'].items())
    assert checkpoint.meta == expected['meta']
    checkpoint.release()
    assert checkpoint.state_dict is not state


def test_the_tensors_do_not_depend_on_the_file(tmp_path):
    for zipped in (True, False):
        torch.save({'a': torch.arange(1000.0)}, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
        state = Checkpoint.open(tmp_path / 'x.pth').state_dict
        with (tmp_path / 'x.pth').open('r+b') as file:
            file.write(bytes(6000))
            file.truncate()
        assert torch.equal(state['a'], torch.arange(1000.0))


def test_a_file_that_changes_after_it_was_opened(tmp_path):
    for zipped in (True, False):
        torch.save({'a': torch.ones(1000)}, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
        checkpoint = Checkpoint.open(tmp_path / 'x.pth')
        (tmp_path / 'x.pth').write_bytes((tmp_path / 'x.pth').read_bytes()[:2000])
        for part in ('state_dict', 'content', 'sha256'):
            with pytest.raises(CheckpointError, match=r'x\.pth has changed since it was opened$'):
                getattr(checkpoint, part)
        (tmp_path / 'x.pth').unlink()
        for part in ('state_dict', 'content', 'sha256'):
            with pytest.raises(CheckpointError, match=r'x\.pth has changed since it was opened: No such file'):
                getattr(checkpoint, part)


def darknet_bytes():
    return np.array([0, 2, 5, 0, 0], '<i4').tobytes() + bytes(400)


@pytest.mark.parametrize('kind', ['pytorch', 'legacy', 'safetensors', 'keras', 'darknet', 'ultralytics'])
def test_another_file_in_its_place_is_not_read(kind, tmp_path, monkeypatch):
    module = ModuleType('models.yolo')
    module.Model = type('Model', (), {'__module__': 'models.yolo'})
    for name in ('models', 'models.yolo'):
        monkeypatch.setitem(sys.modules, name, module)
    path, other = tmp_path / 'x', tmp_path / 'other'

    def write(where, value):
        state = {'model.0.conv.conv.weight': torch.full((100,), value)}
        if kind == 'safetensors':
            save_file(state, where)
        elif kind == 'keras':
            where.write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(100))
        elif kind == 'darknet':
            where.write_bytes(darknet_bytes())
        else:
            content = dict(model=state, kind=module.Model) if kind == 'ultralytics' else state
            torch.save(content, where, _use_new_zipfile_serialization=kind != 'legacy')

    write(path, 1.0)
    write(other, 2.0)
    checkpoint = Checkpoint.open(path)
    assert (checkpoint.path, checkpoint.format) == (path, 'pytorch' if kind == 'legacy' else kind)
    os.replace(other, path)
    parts = {'pytorch': ['content'], 'legacy': ['content'], 'ultralytics': ['tree', 'content']}.get(kind, [])
    for part in [*parts, 'sha256', *(['state_dict'] if kind != 'darknet' else [])]:
        with pytest.raises(CheckpointError, match=r'x has changed since it was opened$'):
            getattr(checkpoint, part)
    if kind == 'darknet':
        with pytest.raises(CheckpointError, match=r'x has changed since it was opened$'):
            mmcnn.load_weights(mmcnn.build_backbone('darknet53', widen_factor=0.125), checkpoint)
    assert Checkpoint.open(path).sha256


def test_a_released_one_does_not_become_another(tmp_path):
    for name, value in (('x.pth', 1.0), ('other.pth', 2.0)):
        torch.save({'state_dict': {'a': torch.full((2,), value)}, 'meta': dict(epoch=value)}, tmp_path / name)
    checkpoint = Checkpoint.open(tmp_path / 'x.pth')
    assert checkpoint.meta == dict(epoch=1.0)
    checkpoint.release()
    assert checkpoint.state_dict['a'].tolist() == [1, 1]
    checkpoint.release()
    os.replace(tmp_path / 'other.pth', tmp_path / 'x.pth')
    assert checkpoint.meta == dict(epoch=1.0)
    with pytest.raises(CheckpointError, match='has changed since it was opened'):
        checkpoint.state_dict  # noqa: B018


def test_releasing_lets_go_of_the_log(trained):
    checkpoint = Checkpoint.open(trained.checkpoint)
    assert checkpoint.meta and checkpoint.state_dict
    content = weakref.ref(checkpoint._file)
    checkpoint.release()
    gc.collect()
    assert content() is None


def test_a_path_is_the_same_file_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / 'sub').mkdir()
    torch.save({'a': torch.ones(2)}, tmp_path / 'x.pth')
    save_file({'a': torch.ones(2)}, tmp_path / 'x.safetensors')
    monkeypatch.chdir(tmp_path)
    opened = [Checkpoint.open(name) for name in ('x.pth', 'x.safetensors')]
    digests = [checkpoint.sha256 for checkpoint in opened]
    monkeypatch.chdir(tmp_path / 'sub')
    torch.save({'a': torch.zeros(2)}, 'x.pth')
    for checkpoint, digest in zip(opened, digests, strict=True):
        assert checkpoint.state_dict['a'].tolist() == [1, 1] and checkpoint.sha256 == digest
    (tmp_path / 'x.pth').unlink()
    opened[0].release()
    with pytest.raises(CheckpointError, match=r'^x\.pth has changed since it was opened'):
        opened[0].state_dict  # noqa: B018


def test_what_torch_builds_is_not_blamed(tmp_path):
    class Home:
        def __reduce__(self):
            return Path, ('x',)

    system = f'{os.system.__module__}.system'
    path = f'{Path("x").__class__.__module__}.{Path.__qualname__}'
    for content, culprit in (
        ({'dtype': torch.float32, 'x': Call(os.system, 'true')}, system),
        ({'log': Counter('ab'), 'x': Home()}, path),
        ({'log': Counter('ab'), 'x': Call(getattr, HistoryBuffer, '__class__')}, 'builtins.getattr'),
    ):
        for zipped in (True, False):
            torch.save(content, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
            with pytest.raises(CheckpointError, match=re.escape(f'was rejected: it asks for `{culprit}`, which is no')):
                Checkpoint.open(tmp_path / 'x.pth')


def test_torch_s_reason_is_given(tmp_path):
    torch.save({'state_dict': {'a': torch.ones(2)}, 'x': Call(torch.device, 'nowhere')}, tmp_path / 'x.pth')
    checkpoint = Checkpoint.open(tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'another format \(RuntimeError: .*nowhere[^\n]*\)$') as error:
        checkpoint.content  # noqa: B018
    assert len(str(error.value)) < len(str(tmp_path)) + 320
    with pytest.raises(CheckpointError) as again:
        Checkpoint.open(tmp_path / 'x.pth').refuse_unbuildable()
    assert str(again.value) == str(error.value)
    # torch's own message for this pickle, which appends to a Size, would advise turning off its safety check.
    (tmp_path / 'x.pth').write_bytes(b'\x80\x02ctorch\nSize\n)RK\x01a.')
    with pytest.raises(CheckpointError, match=r'another format \(UnpicklingError in torch\.load\)$'):
        read_checkpoint(tmp_path / 'x.pth')


def test_a_path_is_named_once(tmp_path):
    overlapping = {'a': BASE[:6], 'b': BASE[2:]}  # only torch can build these
    torch.save({'state_dict': overlapping, 'x': Call(torch.device, 'nowhere')}, tmp_path / 'x.pth')
    checkpoint = Checkpoint.open(tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='nowhere') as error:
        checkpoint.state_dict  # noqa: B018
    assert str(error.value).count(str(tmp_path)) == 1


def test_a_file_that_vanishes_is_not_called_damaged(tmp_path, monkeypatch):
    torch.save({'a': torch.ones(2)}, tmp_path / 'x.pth')
    monkeypatch.setattr(torch_file, 'refuse_enormous', Path.unlink)
    with pytest.raises(CheckpointError, match=r'x\.pth no longer exists$'):
        read_checkpoint(tmp_path / 'x.pth')


BASE = torch.arange(8.0)


@pytest.mark.parametrize(
    ('state', 'builds'),
    [
        ({'a': BASE, 'b': BASE}, False),  # tied
        ({'a': BASE[:4], 'b': BASE[4:]}, False),
        ({'a': BASE[:6], 'b': BASE[2:]}, True),  # overlap
        ({'a': torch.eye(3).to_sparse()}, True),
        ({'a': torch.ones(3).to(torch.float8_e4m3fn)}, True),
        ({'a': torch.tensor([1 + 2j]).conj()}, True),
        ({'module.a': nn.Parameter(BASE)}, False),
    ],
)
def test_what_is_no_plain_tensor_is_built_by_torch(state, builds, opened, tmp_path):
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    read = Checkpoint.open(tmp_path / 'x.pth').state_dict
    assert ('torch.load' in opened) == builds
    for key, value in state.items():
        found = read[key.removeprefix('module.')]
        assert found.dtype == value.dtype and found.layout == value.layout
        assert (
            found.to_dense().tolist() == value.to_dense().tolist() if found.is_sparse else bool((found == value).all())
        )


def test_meta_that_is_more_than_numbers_and_text(tmp_path):
    meta = dict(epoch=np.float64(3), shape=torch.Size([2]))
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': meta}, tmp_path / 'x.pth')
    assert Checkpoint.open(tmp_path / 'x.pth').meta == meta
    torch.save({'a': torch.ones(1), 'meta': torch.ones(1)}, tmp_path / 'x.pth')
    checkpoint = Checkpoint.open(tmp_path / 'x.pth')
    assert checkpoint.meta == {} and checkpoint.record is None
    with pytest.raises(CheckpointError, match='holds no config'):
        checkpoint.config  # noqa: B018


def test_torch_builds_every_name_that_is_known_as_plain(tmp_path):
    """Names known here must be on torch's allow-list; otherwise mmcnn would accept files that torch refuses."""
    names = [name for name in PLAIN if name not in DTYPES]  # storages are persistent ids
    named = [f'c{module}\n{name}\n' for module, _, name in (each.rpartition('.') for each in names)]
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
        archive.writestr('x/data.pkl', b'\x80\x02(' + ''.join(named).encode() + b't.')
        archive.writestr('x/version', b'3\n')
        archive.writestr('x/byteorder', b'little')
    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / 'x.pth') == []
    assert TorchFile(tmp_path / 'x.pth').names == names
