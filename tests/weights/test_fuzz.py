"""Random and mutated files: each yields its content or one CheckpointError, and has no side effects."""

import contextlib
import copyreg
import io
import json
import pickle
import pickletools
import sys
import zipfile
from collections import Counter

import pytest
import torch

from mmcnn.errors import CheckpointError
from mmcnn.weights import read_checkpoint
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.formats.restricted_unpickler import RestrictedUnpickler
from mmcnn.weights.formats.safetensors_file import read_safetensors, write_safetensors
from mmcnn.weights.formats.torch_file import StoredTensor, TorchFile
from mmcnn.weights.formats.ultralytics_file import read_ultralytics

hypothesis = pytest.importorskip('hypothesis')
st = hypothesis.strategies

EXAMPLES = pytest.mark.parametrize('examples', [200, pytest.param(5000, marks=pytest.mark.campaign)])


def fuzzed(examples, strategy, check):
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=hypothesis.HealthCheck,
    )
    @hypothesis.given(strategy)
    def every(value):
        check(value)

    every()


@pytest.fixture
def seen(tmp_path):
    """Count the outcomes of the examples; fail if one of them had a side effect."""
    marker, modules, cache = tmp_path / 'ran', set(sys.modules), dict(copyreg._extension_cache)
    seen = Counter()
    yield seen
    assert not marker.exists()
    assert not {name for name in set(sys.modules) - modules if name in ('models', 'antigravity', 'this')}
    assert copyreg._extension_cache == cache


def outcome(read, *args):
    try:
        read(*args)
    except CheckpointError as error:
        assert '\n' not in str(error) and len(str(error)) < 600
        return 'refused'
    return 'read'


# ---------------------------------------------------------------------------------------------- streams of opcodes


def text(value):
    return b'X' + len(value).to_bytes(4, 'little') + value.encode()


def number(value):
    return pickle.dumps(value, 2)[2:-1]


NUMBERS = st.one_of(st.integers(-3, 20), st.integers(-(2**70), 2**70), st.sampled_from([0, 4, 2**31, 2**63]))
SMALL = st.integers(0, 5)
NAMES = ['posix\nsystem', 'builtins\neval', 'builtins\ngetattr', 'collections\nOrderedDict', 'antigravity\nx', 'a\nb.c']
NAMES += [
    'torch._utils\n_rebuild_tensor_v2',
    'torch._utils\n_rebuild_parameter',
    'torch\nFloatStorage',
    'copyreg\n_reconstructor',
]
WITHOUT_ARGUMENT = [
    each.code.encode('latin1') for each in pickletools.opcodes if each.arg is None and each.name != 'STOP'
]


# Type of a storage, its name, its number of elements; the archive contains the first two.
STORAGES = [
    ('Float', '0', 4),
    ('Half', '1', 4),
    ('Float', '0', 5),
    ('Half', '0', 8),
    ('None', '1', 4),
    ('Float', '../0', 4),
]


@st.composite
def tensors(draw):
    """Draw a tensor that may be valid: a storage, an offset, sizes and strides."""
    kind, name, count = draw(st.sampled_from(STORAGES[:2]) | st.sampled_from(STORAGES))
    identity = (
        b'(' + text('storage') + f'ctorch\n{kind}Storage\n'.encode() + text(name) + text('cpu') + number(count) + b'tQ'
    )
    small = st.integers(0, 3)
    shape = draw(st.lists(small | small | NUMBERS, max_size=3))
    strides = draw(st.lists(small | small | NUMBERS, min_size=len(shape), max_size=len(shape)))
    place = number(draw(st.integers(-1, 3)))
    place += b''.join(b'(' + b''.join(map(number, each)) + b't' for each in (shape, strides))
    return b'ctorch._utils\n_rebuild_tensor_v2\n(' + identity + place + b'\x89}tR'


ENTRIES = st.tuples(st.sampled_from('abc'), tensors()).map(lambda pair: text(pair[0]) + pair[1] + b's')


@st.composite
def calls(draw, marker):
    name = draw(st.sampled_from(NAMES))
    arguments = draw(st.sampled_from([f'touch {marker}', f'open({str(marker)!r}, "w")', '__class__']))
    named = draw(st.sampled_from(['c', 's']))
    function = f'c{name}\n'.encode() if named == 'c' else b''.join(map(text, name.split('\n'))) + b'\x93'
    return function + text(arguments) + b'\x85' + draw(st.sampled_from([b'R', b'\x81', b'b']))


def parts(marker):
    return st.one_of(
        st.sampled_from(WITHOUT_ARGUMENT),
        st.sampled_from([b'N', b'}', b']', b')', b'(', b'\x8f', b'N\x85', b'h\x00', b'q\x00', b'\x94']),
        st.tuples(st.sampled_from([b'q', b'h', b'K', b'\x82']), SMALL).map(lambda pair: pair[0] + bytes(pair[1:])),
        st.tuples(st.sampled_from([b'r', b'j', b'J', b'T', b'B', b'X', b'\x8b']), NUMBERS).map(
            lambda pair: pair[0] + (pair[1] % 2**32).to_bytes(4, 'little')
        ),
        NUMBERS.map(number),
        st.text(max_size=5).map(lambda value: b'X' + len(value.encode()).to_bytes(4, 'little') + value.encode()),
        tensors(),
        calls(marker),
        ENTRIES,
    )


def _items(content):
    return content.items() if isinstance(content, dict) else ()


@EXAMPLES
def test_streams_of_opcodes(examples, seen, tmp_path):
    path = tmp_path / 'file.pth'

    def check(pieces):
        stream = b'\x80\x02}' + b''.join(pieces) + b'.'
        try:
            RestrictedUnpickler(io.BytesIO(stream), persistent=lambda identity: None).load()
            seen['loaded'] += 1
        except pickle.UnpicklingError:
            pass
        path.write_bytes(stream)
        seen['plain', outcome(read_checkpoint, path)] += 1
        with zipfile.ZipFile(path, 'w') as archive:
            for name, data in (('data.pkl', stream), ('version', b'3\n'), ('data/0', bytes(16)), ('data/1', bytes(8))):
                archive.writestr(f'x/{name}', data)
        seen['archive', outcome(read_checkpoint, path)] += 1
        seen['ultralytics', outcome(read_ultralytics, path)] += 1
        seen['any', outcome(Checkpoint.open, path)] += 1
        with contextlib.suppress(pickle.UnpicklingError):
            file = TorchFile(path)
            wanted = {str(key): value for key, value in _items(file.content) if isinstance(value, StoredTensor)}
            assert all(tensor.sum() == 0 for tensor in file.tensors(wanted).values())  # the storages are zeros
            seen['tensors'] += len(wanted)

    streams = st.lists(ENTRIES, max_size=3) | st.lists(parts(tmp_path / 'ran'), max_size=30)
    fuzzed(examples, streams, check)
    assert seen['loaded'] > examples / 20 and seen['archive', 'read'] > 0 and seen['tensors'] > examples / 50


# ---------------------------------------------------------------------------------------------------- mutated files

EDITS = st.tuples(
    st.sampled_from(['over', 'insert', 'cut', 'double', 'opcode']),
    st.integers(0, 2**20),
    st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(WITHOUT_ARGUMENT), NUMBERS.map(number)),
)


def edited(data, edits):
    for kind, where, new in edits:
        where %= len(data) + 1
        if kind in ('over', 'opcode'):
            data = data[:where] + new + data[where + len(new) :]
        elif kind == 'insert':
            data = data[:where] + new + data[where:]
        elif kind == 'cut':
            data = data[:where] + data[where + len(new) :]
        else:
            data = data[:where] + data[max(where - 40, 0) :]
    return data


@pytest.fixture
def valid(yolov5, tmp_path):
    """Files of a narrow YOLOv5: an archive of modules, a plain file of modules, an archive of a state dict."""
    peer = yolov5.model('tiny').half()
    yolov5.save(peer, tmp_path / 'archive')
    with pytest.warns(UserWarning, match="Couldn't retrieve source code"):
        yolov5.save(peer, tmp_path / 'plain', zipped=False)
    torch.save(peer.state_dict(), tmp_path / 'state')
    return {name: (tmp_path / name).read_bytes() for name in ('archive', 'plain', 'state')}


@pytest.mark.parametrize('examples', [40, pytest.param(1000, marks=pytest.mark.campaign)])
def test_mutated_checkpoints(examples, seen, valid, tmp_path):
    path = tmp_path / 'file.pt'
    members = {}
    for name in ('archive', 'state'):
        with zipfile.ZipFile(io.BytesIO(valid[name])) as archive:
            members[name] = {member: archive.read(member) for member in archive.namelist()}

    def check(case):
        name, whole, edits = case
        if whole or name == 'plain':  # a plain file has its structure at the beginning
            data = valid[name]
            path.write_bytes(edited(data, edits) if whole else edited(data[:100_000], edits) + data[100_000:])
        else:
            with zipfile.ZipFile(path, 'w') as archive:
                for member, data in members[name].items():
                    archive.writestr(member, edited(data, edits) if member.endswith('data.pkl') else data)
        for reader in (Checkpoint.open, read_ultralytics, read_checkpoint):
            seen[reader.__name__, outcome(reader, path)] += 1

    fuzzed(examples, st.tuples(st.sampled_from(sorted(valid)), st.booleans(), st.lists(EDITS, max_size=3)), check)
    assert seen['read_ultralytics', 'read'] > 0 and seen['read_ultralytics', 'refused'] > examples / 10


@EXAMPLES
def test_mutated_safetensors(examples, seen, tmp_path):
    path = tmp_path / 'file.safetensors'
    write_safetensors({'a': torch.ones(3), 'b': torch.ones(2, 2).half()}, {'key': 'value'}, path)
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:end])

    def check(case):
        kind, edits, name, key, value = case
        if kind == 'bytes':
            path.write_bytes(edited(data, edits))
        else:
            lying = {**header, name: {**header.get(name, {}), key: value}}
            new = json.dumps(lying).encode()
            path.write_bytes(len(new).to_bytes(8, 'little') + new + data[end:])
        seen[outcome(read_safetensors, path)] += 1

    values = st.one_of(
        NUMBERS, st.lists(NUMBERS, max_size=3), st.sampled_from(['F32', 'I8', 'F4', 'F8_E5M2', [0, 12], [3]])
    )
    keys = st.sampled_from(['dtype', 'shape', 'data_offsets', 'other'])
    small = EDITS.map(lambda edit: (edit[0], edit[1] % (end + 4), edit[2]))
    kinds = st.sampled_from(['bytes', 'header'])
    names = st.sampled_from(['a', 'b', 'c', '__metadata__'])
    fuzzed(examples, st.tuples(kinds, st.lists(small, max_size=2), names, keys, values), check)
    assert seen['read'] > 0 and seen['refused'] > examples / 4
