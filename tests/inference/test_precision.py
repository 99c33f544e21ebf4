import pytest
import torch

from mmcnn.errors import UsageError
from mmcnn.inference import precision
from mmcnn.inference.precision import dtype_called

CPU, GPU = torch.device('cpu'), torch.device('cuda')
BF16, FP16 = torch.bfloat16, torch.float16


@pytest.fixture
def device_has_bf16(monkeypatch):
    """``device_has_bf16(True | False)`` for the CPU and a GPU."""

    def has(supported):
        monkeypatch.setattr(precision, 'cpu_features', lambda: ['AMX'] if supported else [])
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: supported)
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'NVIDIA T4')

    return has


@pytest.mark.parametrize(
    ('amp', 'device', 'supported', 'dtype'),
    [
        (None, GPU, True, None),
        (False, GPU, True, None),
        ('off', CPU, True, None),
        (True, GPU, True, BF16),
        ('auto', GPU, False, FP16),
        ('auto', CPU, True, BF16),
        ('bf16', GPU, True, BF16),
        ('fp16', GPU, True, FP16),
        ('bf16', CPU, True, BF16),
    ],
)
def test_the_type_by_name(device_has_bf16, amp, device, supported, dtype):
    device_has_bf16(supported)
    said = []
    assert dtype_called(amp, device, said.append) is dtype
    assert said == []


@pytest.mark.parametrize(
    ('amp', 'dtype', 'says'), [('auto', None, 'amp is off: bf16 is slower'), ('bf16', BF16, 'slower than float32')]
)
def test_a_processor_without_instructions_for_it(device_has_bf16, amp, dtype, says):
    device_has_bf16(False)
    said = []
    assert dtype_called(amp, CPU, said.append) is dtype
    (line,) = said
    assert line.startswith('note: ') and says in line and 'neither AVX512-BF16 nor AMX' in line


@pytest.mark.parametrize(
    ('amp', 'device', 'says'),
    [
        ('fp16', CPU, 'amp=fp16 needs a GPU: .* use bf16'),
        ('bf16', GPU, 'amp=bf16: NVIDIA T4 does not support bfloat16; use fp16'),
        ('bfloat16', GPU, "amp='bfloat16': did you mean"),
    ],
)
def test_what_a_device_does_not_support_is_refused(device_has_bf16, amp, device, says):
    device_has_bf16(False)
    with pytest.raises(UsageError, match=says):
        dtype_called(amp, device)
