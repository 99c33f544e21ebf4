"""Energy used by a processor or a GPU, if its counter can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

#: Counters of Intel's and AMD's processors, one per package, in microjoules (Linux, powercap).
RAPL = Path('/sys/class/powercap')


class EnergyMeter:
    """A counter of joules.

    Args:
        read: returns joules since some point in time.
        how: what is counted, in words.
    """

    def __init__(self, read: Callable[[], float], how: str) -> None:
        self.joules = read
        self.how = how

    @classmethod
    def found(cls, folder: Path = RAPL) -> EnergyMeter | None:
        """Return the counter of the GPU if there is one (NVML), else of the processor (RAPL), or None if unreadable."""
        if torch.cuda.is_available():
            return _of_gpu()
        files = [file for file in sorted(folder.glob('*-rapl:[0-9]*/energy_uj')) if file.parent.name.count(':') == 1]
        try:
            [file.read_text() for file in files]
        except OSError:  # only root may read it, since 2020
            return None
        if not files:
            return None
        limits = [int((file.parent / 'max_energy_range_uj').read_text()) for file in files]
        return cls(_Rapl(files, limits), 'RAPL, total of the processor in that time')

    @staticmethod
    def why_not(folder: Path = RAPL) -> str:
        """Return why energy is not measured."""
        if torch.cuda.is_available():
            return 'not measured: NVML does not provide energy here (package nvidia-ml-py; Volta or newer)'
        return f'not measured: {folder}/*-rapl:*/energy_uj (RAPL) does not exist or cannot be read'


class _Rapl:
    """The sum of the packages, with overflows of the counters corrected."""

    def __init__(self, files: list[Path], limits: list[int]) -> None:
        self._files, self._limits = files, limits
        self._last = [int(file.read_text()) for file in files]
        self._total = 0

    def __call__(self) -> float:
        for i, file in enumerate(self._files):
            now = int(file.read_text())
            self._total += (now - self._last[i]) % (self._limits[i] + 1)
            self._last[i] = now
        return self._total / 1e6


def _of_gpu() -> EnergyMeter | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f'GPU-{torch.cuda.get_device_properties(0).uuid}')
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no package, no library, an older card: in each case there is no number
        return None
    return EnergyMeter(
        lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, 'NVML, total of the card in that time'
    )
