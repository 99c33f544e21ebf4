import copyreg
import io
import pickle
import struct
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import pytest

from mmcnn.weights.formats import restricted_unpickler
from mmcnn.weights.formats.restricted_unpickler import BoundedReader, RestrictedUnpickler, StandIn

PLAIN = {
    'numbers': [0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**70, -(2**2000), 0.5, float('inf'), True, False, None],
    'text': ['', 'a', 'x' * 300, 'ü', '\U0001f600', 'two\nlines', '\\'],
    'bytes': (b'', b'abc', b'x' * 300),
    'tuples': [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    7: {0.5: None, 'nested': [{'a': [[]]}], ('a', 1): 'pair'},
    'ordered': OrderedDict(a=1, b=OrderedDict(c=2)),
}
SHARED = [1]
PLAIN['shared'] = [SHARED, SHARED]


def load(data, **kwargs):
    return RestrictedUnpickler(io.BytesIO(data), **kwargs).load()


@pytest.mark.parametrize('protocol', range(6))
def test_plain_data_is_what_pickle_gives(protocol):
    content = PLAIN if protocol >= 3 else {key: value for key, value in PLAIN.items() if key != 'bytes'}
    data = pickle.dumps(content, protocol)
    assert load(data) == pickle.loads(data)


def test_shared_objects_are_shared_and_cycles_closed():
    cycle = [1]
    cycle.append(cycle)
    for protocol in range(6):
        ours = load(pickle.dumps(PLAIN['shared'], protocol))
        assert ours[0] is ours[1]
        ours = load(pickle.dumps(cycle, protocol))
        assert ours[1] is ours


@pytest.mark.parametrize('protocol', [4, 5])
def test_sets(protocol):
    content = [{1, 'a'}, frozenset({2, b'b'}), set()]
    assert load(pickle.dumps(content, protocol)) == content


class Thing:
    """Record in ``built`` that an instance was created."""

    built = 0

    def __init__(self):
        self.a = 1

    def __setstate__(self, state):
        type(self).built += 1


class Reduced(Thing):
    def __reduce__(self):
        return Reduced, (1, 'two'), {'state': 3}


@pytest.mark.parametrize('protocol', range(2, 6))
def test_objects_are_stand_ins_that_know_their_state(protocol):
    data = pickle.dumps([Thing(), Reduced(), Thing], protocol)
    unpickler = RestrictedUnpickler(io.BytesIO(data))
    thing, reduced, named = unpickler.load()
    assert [type(each) for each in (thing, reduced, named)] == [StandIn] * 3
    assert (thing.name, thing.args, thing.state) == (f'{__name__}.Thing', (), {'a': 1})
    assert (reduced.name, reduced.args, reduced.state) == (f'{__name__}.Reduced', (1, 'two'), {'state': 3})
    assert (named.name, named.args, named.state) == (f'{__name__}.Thing', None, None)
    assert Thing.built == 0
    assert set(unpickler.names) == {f'{__name__}.Thing', f'{__name__}.Reduced'}


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
    'content',
    [Counter('abca'), deque([1, 2]), defaultdict(list, a=[1]), Path('x'), complex(1, 2), range(3), ValueError('x')],
)
def test_everything_else_is_a_stand_in(content, protocol):
    assert type(load(pickle.dumps(content, protocol))) is StandIn


def test_builders_and_persistent_ids():
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ('id', 5) if value == 'outside' else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump([Reduced(), 'outside'])
    built = load(
        stream.getvalue(),
        builders={f'{__name__}.Reduced': lambda *args: {'built': args}},
        persistent=lambda pid: pid[1],
    )
    assert built == [{'built': (1, 'two')}, 5]
    with pytest.raises(pickle.UnpicklingError, match='outside the file'):
        load(stream.getvalue())


# ------------------------------------------------------------------------------------------------------- hostile

EXTENSION = 240


def text(value):
    return b'\x8c' + bytes([len(value)]) + value.encode()


def attacks(marker):
    """Return pickles that run code when the standard library's unpickler loads them."""
    command = f'touch {marker}'
    call = text(command) + b'\x85R.'
    return {
        'GLOBAL': b'\x80\x02cposix\nsystem\n' + call,
        'STACK_GLOBAL': b'\x80\x04' + text('posix') + text('system') + b'\x93' + call,
        'dotted name': b'\x80\x04' + text('shutil') + text('os.system') + b'\x93' + call,
        'INST': b'(' + text(command) + b'iposix\nsystem\n.',
        'OBJ': b'(cposix\nsystem\n' + text(command) + b'o.',
        'eval': b'\x80\x02cbuiltins\neval\n' + text(f'open({str(marker)!r}, "w")') + b'\x85R.',
        'a call of the result of getattr': (
            b'\x80\x04cbuiltins\ngetattr\ncposix\nsystem\n' + text('__call__') + b'\x86R' + call
        ),
        'EXT1': b'\x80\x02\x82' + bytes([EXTENSION]) + call,
    }


@pytest.fixture
def extension():
    """Register a one-byte extension opcode for a function in this process."""
    copyreg.add_extension('posix', 'system', EXTENSION)
    yield
    copyreg._extension_cache.pop(EXTENSION, None)
    copyreg.remove_extension('posix', 'system', EXTENSION)


@pytest.mark.parametrize('attack', attacks('x'))
def test_nothing_is_called(attack, extension, tmp_path):
    marker = tmp_path / 'ran'
    data = attacks(marker)[attack]
    if attack == 'EXT1':
        with pytest.raises(pickle.UnpicklingError):
            load(data)
    else:
        assert type(load(data)) is StandIn
    assert not marker.exists()
    assert EXTENSION not in copyreg._extension_cache
    pickle.loads(data)  # the standard unpickler does run the same bytes
    assert marker.exists()


def test_attributes_of_real_objects_are_never_set():
    before = dict(vars(restricted_unpickler.StandIn))
    for name in ('collections\nOrderedDict', 'mmcnn.weights.formats.restricted_unpickler\nStandIn', 'builtins\nlist'):
        state = b'N}' + text('__init__') + text('x') + b's\x86'  # (None, {'__init__': 'x'}): slots, for setattr
        found = load(b'\x80\x02c' + name.encode() + b'\n' + state + b'b.')
        assert type(found) is StandIn and found.state == (None, {'__init__': 'x'})
    assert dict(vars(restricted_unpickler.StandIn)) == before
    for target in (b']', b')', b'\x8f', text('x')):
        with pytest.raises(pickle.UnpicklingError, match='attributes are set for a'):
            load(b'\x80\x04' + target + b'}' + text('a') + b'Nsb.')


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'\x80\x04})' + b'\x85' * 100 + b'Ns.', 'a key that is neither text nor a small number: a tuple'),
        (b'\x80\x04\x8f()' + b'\x85' * 100 + b'\x90.', 'neither text nor a small number'),
        (b'\x80\x04()' + b'\x85' * 100 + b'\x91.', 'neither text nor a small number'),
        (b'\x80\x04}(' + b'N' * 9 + b'tNs.', 'neither text nor a small number'),
        (b'\x80\x04}\x8a\x09' + bytes(8) + b'\x01Ns.', 'neither text nor a small number: a int'),
        (b'\x80\x04}]Ns.', 'neither text nor a small number: a list'),
        (b'Pid\n.', 'do not use PERSID'),
        (b'\x80\x05\x97.', 'do not use NEXT_BUFFER'),
        (b'\x80\x05N\x98.', 'do not use READONLY_BUFFER'),
        (b'\x80\x02\x83\x01\x00.', 'do not use EXT2'),
        (b'N)R.', 'it calls a NoneType'),
        (b'cx\ny\nNR.', 'it calls a StandIn'),
        (b'\x80\x04NN\x93.', 'a name is not text'),
        (b'Na.', 'IndexError'),
        (b'NNa.', 'items are set for a NoneType'),
        (b']NNs.', 'items are set for a list'),
        (b'](Nu.', 'items are set for a list'),
        (b'}(Nu.', 'ValueError'),
        (b'N\x86.', 'a tuple has more items than there are'),
        (b'h\x05.', 'KeyError'),
        (b't.', 'IndexError'),
        (b'.', 'IndexError'),
        (b'', 'ValueError'),
        (b'\xff', 'ValueError'),
        (b'I' + b'9' * 5000 + b'\n.', 'ValueError'),
        (b'\x80\x04\x8e' + struct.pack('<Q', 2**62) + b'abc', 'ValueError'),
        (b'\x80\x05\x96' + struct.pack('<Q', 2**62) + b'abc', 'ValueError'),
    ],
)
def test_what_no_checkpoint_needs(data, message):
    with pytest.raises(pickle.UnpicklingError, match=message) as error:
        load(data)
    assert '\n' not in str(error.value) and len(str(error.value)) < 300


def test_a_call_with_very_many_arguments_is_not_made():
    built = []
    data = b'\x80\x02cx\nf\n(' + b'N' * 100 + b'tR.'
    assert type(load(data, builders={'x.f': lambda *args: built.append(args)})) is StandIn and not built


def test_number_of_entries_is_bounded(monkeypatch):
    monkeypatch.setattr(restricted_unpickler, 'MAX_OPERATIONS', 100)
    assert load(b'N0' * 49 + b'N.') is None
    with pytest.raises(pickle.UnpicklingError, match='more than 100 entries'):
        load(b'N0' * 50 + b'N.')


def test_reader_ends_at_its_bounds(monkeypatch):
    data = b'B' + struct.pack('<I', 50) + b'x' * 50 + b'.'
    assert load_bounded(data) == b'x' * 50
    for wrong in (data[:-10], b'\x8e' + struct.pack('<Q', 2**40) + b'x'):
        with pytest.raises(pickle.UnpicklingError, match='longer than the file'):
            load_bounded(wrong)
    with pytest.raises(pickle.UnpicklingError):
        load_bounded(b'V' + b'x' * 70_000 + b'\n.')
    monkeypatch.setattr(restricted_unpickler, 'MAX_BYTES', 40)
    with pytest.raises(pickle.UnpicklingError, match='longer than the file or than any checkpoint needs'):
        load_bounded(data)


def load_bounded(data):
    return RestrictedUnpickler(BoundedReader(io.BytesIO(data), len(data))).load()


# Each crashes the standard library's unpickler, or takes it gigabytes or minutes.
BOMBS = """
import io, pickle, resource, sys
from mmcnn.weights.formats.restricted_unpickler import RestrictedUnpickler
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
grown = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
start = grown()
count = 200_000
bombs = {
    'deep key': b'\\x80\\x02})' + b'\\x85' * count + b'Ns.',
    'wide key': b'\\x80\\x02})' + b'2\\x86' * 60 + b'Ns.',
    'memo': b'\\x80\\x02Nr\\xff\\xff\\xff\\x7f.',
    'deep lists': b']' * count + b'a' * (count - 1) + b'.',
    'deep tuples': b')' + b'\\x85' * count + b'.',
    'deep objects': b'cx\\ny\\n' + b')\\x81cx\\ny\\n' * (count // 4) + b'b' * (count // 4) + b'.',
    'marks': b'(' * count + b'.',
    'long': b'\\x80\\x04\\x8e\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x7f.',
}
for name, data in bombs.items():
    try:
        RestrictedUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        pass
    print(name, grown() - start)
assert grown() - start < 400, grown() - start
"""


def test_bombs_do_no_harm():
    result = subprocess.run([sys.executable, '-c', BOMBS], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == 8
