import pytest

from mmcnn.benchmarks.gpu.options import STAGES, GpuCheckOptions
from mmcnn.errors import UsageError


def test_minutes():
    assert GpuCheckOptions().seconds == 480
    assert GpuCheckOptions(train='demo').seconds == 300
    assert GpuCheckOptions(train='demo', minutes=2).seconds == 120
    assert sum(STAGES.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(device='cpu'),
            'device=cpu: there is no GPU to check; use tiny=True to test the program itself on the CPU',
        ),
        (dict(stages='speed,speeed'), "stages='speeed'"),
        (dict(train='demo', only='x'), 'train=demo: the training cannot be combined'),
        (dict(train='demo', stages=('speed',)), 'train=demo: the training cannot be combined'),
    ],
)
def test_refusals(options, message):
    with pytest.raises(UsageError, match=message):
        GpuCheckOptions(**options)
