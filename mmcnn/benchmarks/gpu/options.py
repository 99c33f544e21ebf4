"""The options of the check of a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcnn.errors import UsageError
from mmcnn.runs.options import Option, Options

#: The stages in order, each with its share of the minutes.
STAGES = {
    'card': 0.04,
    'parity': 0.13,
    'operators': 0.04,
    'determinism': 0.2,
    'speed': 0.41,
    'latency': 0.1,
    'compiled': 0.08,
}
#: Default minutes of the stages and of a training.
MINUTES, TRAINING_MINUTES = 8.0, 5.0


@dataclass(frozen=True, kw_only=True)
class GpuCheckOptions(Options):
    """The options of the check of a GPU.

    Raises:
        UsageError: the check is to run on the CPU without ``tiny``, which would take too long.
    """

    minutes: Annotated[
        float | None, Option('total time limit in minutes (default: 8; with --train 5)', 'M', minimum=0)
    ] = None
    stages: Annotated[
        Sequence[str],
        Option('run only the card and these stages, separated by commas (default: all)', 'NAME', choices=tuple(STAGES)),
    ] = tuple(STAGES)
    only: Annotated[
        str | None, Option('run only measurements with this in their name, such as yolov5_s or bf16', 'TEXT')
    ] = None
    data: Annotated[
        str | None, Option('data folder for training detectors (default: drawn photographs of 80 classes)', 'PATH')
    ] = None
    workers: Annotated[
        int | None, Option('data-loading processes (default: number of cores minus two, at most 16)', 'N', minimum=0)
    ] = None
    cache_gb: Annotated[
        float, Option('memory for decoded images, in 10^9 bytes (default: 0; training: as usual)', 'G', minimum=0)
    ] = 0.0
    batch_size: Annotated[
        int | None, Option('images per batch (default: by recipe and memory of the card)', 'N', minimum=1)
    ] = None
    train: Annotated[
        str | None,
        Option('run a real training with AP on this data instead of the stages', 'demo|PATH'),
    ] = None
    config: Annotated[str, Option('config of that training (default: yolov4_cspdarknet53)', 'NAME')] = (
        'yolov4_cspdarknet53'
    )
    device: Annotated[str, Option('cuda, or cpu with --tiny', choices=('cuda', 'cpu'))] = 'cuda'
    tiny: Annotated[
        bool, Option('use narrow networks and small images to test the program itself; the speeds are meaningless')
    ] = False
    out: Annotated[str | Path, Option('file of the results (default: gpu_check.json)', 'FILE')] = 'gpu_check.json'
    table: Annotated[str | Path | None, Option('print the tables of these results without measuring', 'FILE')] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device == 'cpu' and not self.tiny:
            raise UsageError(
                'device=cpu: there is no GPU to check; use tiny=True to test the program itself on the CPU'
            )
        if self.train is not None and (self.stages != tuple(STAGES) or self.only is not None):
            raise UsageError(f'train={self.train}: the training cannot be combined with stages or only')

    @property
    def seconds(self) -> float:
        """The time limit in seconds."""
        default = MINUTES if self.train is None else TRAINING_MINUTES
        return 60 * (default if self.minutes is None else self.minutes)
