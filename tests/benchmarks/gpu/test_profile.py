"""The summary of a profile, from a hand-written trace of two steps."""

import pytest
import torch

from mmcnn.benchmarks.gpu import profile


def event(kind, name, start, duration, number=None):
    return dict(ph='X', cat=kind, name=name, ts=start, dur=duration, args={'External id': number} if number else {})


TRACE = [
    dict(ph='M', name='process_name'),
    event('cpu_op', 'aten::conv2d', 0, 5, 1),
    event('cpu_op', 'aten::add', 5, 5, 2),
    event('cpu_op', 'aten::item', 20, 5, 3),
    event('cpu_op', 'aten::nonzero', 25, 5, 4),
    event('cuda_runtime', 'cudaLaunchKernel', 1, 1, 1),
    event('cuda_runtime', 'cudaStreamSynchronize', 21, 3, 3),
    event('cuda_runtime', 'cudaDeviceSynchronize', 90, 3),
    event('kernel', 'convolve', 100, 3000, 1),
    event('kernel', 'convolve', 5000, 1000, 1),
    event('kernel', 'add', 5500, 1500, 2),  # overlaps: another stream
    event('kernel', 'x' * 200, 9000, 100),
    event('gpu_memcpy', 'Memcpy DtoH (Device -> Pageable)', 9100, 900, 3),
    event('gpu_memset', 'Memset (Device)', 9100, 100),
    event('gpu_user_annotation', 'Optimizer.step', 0, 10000),
]


def test_numbers_of_a_step():
    found = profile.summary(TRACE, 2)
    assert found['kernels'] == 2
    assert found['copies'] == {'DtoH': 0.5, 'Memset': 0.5}
    assert found['waits'] == {'cudaStreamSynchronize': 0.5}  # the one at the end of the profile belongs to no step
    assert found['reads'] == {'aten::item': 0.5, 'aten::nonzero': 0.5}
    # From 100 to 10,000: 3,000 + 2,000 + 1,000 of 9,900 are busy.
    assert found['idle_share'] == pytest.approx(1 - 6000 / 9900, abs=1e-4)
    assert found['top_kernels'][:2] == [['convolve', 2.0, 1.0], ['add', 0.75, 0.5]]
    assert max(len(name) for name, *_ in found['top_kernels']) == profile.LONGEST
    assert found['top_operators'][0] == ['aten::conv2d', 2.0, 1.0]
    assert ['unknown', 0.1, 1.0] in found['top_operators']


def test_a_step_on_the_cpu_has_reads_alone():
    value = torch.tensor([0.0, 2.0])

    def step():
        value.sum().item()
        value.nonzero()

    found = profile.profiled(step, 3, torch.device('cpu'))
    assert (found['reads']['aten::item'], found['reads']['aten::nonzero']) == (1, 1)
    assert (found['kernels'], found['waits'], found['idle_share'], found['top_kernels']) == (0, {}, None, [])


def test_places_are_short():
    assert profile._short('/a/lib/python3.12/site-packages/mmdet/models/x.py') == 'mmdet/models/x.py'
    assert profile._short('/home/b/mmcnn/mmcnn/models/y.py') == 'mmcnn/models/y.py'
