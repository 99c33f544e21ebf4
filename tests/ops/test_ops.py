"""The package loads names on first use, and nms is the function and not the module of that name."""

import subprocess
import sys

import pytest

from mmcnn import ops


def test_the_sweep_needs_no_torch():
    code = """
import sys
import mmcnn.ops.greedy_sweep
assert mmcnn.ops.NMS_KINDS == mmcnn.ops.greedy_sweep.NMS_KINDS
assert 'torch' not in sys.modules
"""
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize(
    'first', ['import mmcnn.ops.nms', 'from mmcnn.ops.nms import batched_nms', 'from mmcnn.ops import batched_nms']
)
def test_nms_is_the_function(first):
    code = f"""
{first}
from mmcnn import ops
from mmcnn.ops import nms
assert callable(nms) and nms is ops.nms and nms.__module__ == 'mmcnn.ops.nms', nms
"""
    subprocess.run([sys.executable, '-c', code], check=True)


def test_names():
    assert set(ops.__all__) <= set(dir(ops))
    assert all(getattr(ops, name) is not None for name in ops.__all__)
    with pytest.raises(AttributeError, match=r"module 'mmcnn\.ops' has no attribute 'nsm'"):
        ops.nsm  # noqa: B018
