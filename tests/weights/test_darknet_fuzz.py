"""Any bytes as a Darknet file are either read exactly or refused in one sentence."""

import struct

import numpy as np
import pytest

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats.darknet_file import is_darknet
from mmcnn.weights.sources.darknet import read_darknet, write_darknet

hypothesis = pytest.importorskip('hypothesis')
st = hypothesis.strategies

SPECIAL = [struct.pack('<f', x) for x in (np.nan, np.inf, -np.inf, -1.0, -0.0, 0.0, 1e-45, 3e38)]
VERSIONS = [
    struct.pack('<3i', *version) for version in ((0, 1, 0), (0, 2, 0), (0, 2, 5), (0, 0, 0), (-1, 0, 0), (3, 0, 0))
]
EDITS = st.one_of(
    st.tuples(st.just('over'), st.integers(0, 2**15), st.binary(min_size=1, max_size=16)),
    st.tuples(st.just('float'), st.integers(0, 2**13), st.sampled_from(SPECIAL)),
    st.tuples(st.just('version'), st.just(0), st.sampled_from(VERSIONS)),
    st.tuples(st.just('insert'), st.integers(0, 2**15), st.binary(min_size=1, max_size=16)),
    st.tuples(st.just('cut'), st.integers(0, 2**15), st.just(b'')),
    st.tuples(st.just('cut within'), st.integers(0, 2**15), st.integers(1, 16)),
)


def edited(content, edits):
    for kind, at, data in edits:
        if kind == 'float':
            at = 20 + 4 * at
        if kind in ('over', 'float', 'version'):
            content = content[:at] + data + content[at + len(data) :]
        elif kind == 'insert':
            content = content[:at] + data + content[at:]
        elif kind == 'cut':
            content = content[:at]
        else:
            content = content[:at] + content[at + data :]
    return content


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A model of a few thousand floats, its valid files without and with a top, and a path for other files."""
    model = mmcnn.build_backbone('cspdarknet53', arch=dict(stem=8, channels=(8,) * 5, depths=(1,) * 5))
    path = tmp_path_factory.mktemp('fuzz') / 'x.weights'
    write_darknet(model, path, seen=1)
    trunk = path.read_bytes()
    return model, (trunk, trunk + np.linspace(-1, 1, 9000, dtype='<f4').tobytes()), path


def stream_of(content, valid):
    """Return the floats of a file that must be accepted, without those of the top; None if it must be refused."""
    if len(content) < 12:
        return None
    major, minor, revision = struct.unpack_from('<3i', content)
    if major not in range(3) or minor not in range(10) or revision not in range(100) or (major, minor) == (0, 0):
        return None
    body = content[20 if 10 * major + minor >= 2 else 16 :]
    if len(content) < 16 or len(body) not in [len(each) - 20 for each in valid]:
        return None
    floats = np.frombuffer(body, '<f4')[: (len(valid[0]) - 20) // 4]
    return floats if np.isfinite(floats).all() else None


@pytest.mark.parametrize('examples', [200, pytest.param(5000, marks=pytest.mark.campaign)])
def test_any_bytes(small, examples):
    model, valid, path = small
    seen = dict(read=0, refused=0)

    def check(content):
        path.write_bytes(content)
        expected = stream_of(content, valid)
        try:
            state = read_darknet(path, model).state
        except CheckpointError as error:
            assert str(error).startswith(str(path)) and '\n' not in str(error)
            assert expected is None or 'negative variances' in str(error)
            seen['refused'] += 1
        else:
            assert is_darknet(content[:64], len(content))
            assert all((value >= 0).all() for key, value in state.items() if key.endswith('running_var'))
            assert np.concatenate([value.numpy().ravel() for value in state.values()]).tobytes() == expected.tobytes()
            seen['read'] += 1

    @hypothesis.settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @hypothesis.given(
        st.one_of(st.binary(max_size=100), st.tuples(st.sampled_from(valid), st.lists(EDITS, max_size=3)))
    )
    def every(content):
        check(content if isinstance(content, bytes) else edited(*content))

    every()
    assert seen['read'] > examples / 20 and seen['refused'] > examples / 4
