"""What the check of a GPU can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcnn.errors import UsageError
from mmcnn.runs.options import Option, Options

#: The stages in the order in which they run, each with its share of the minutes.
STAGES = {
    'card': 0.04,
    'parity': 0.13,
    'operators': 0.04,
    'determinism': 0.2,
    'speed': 0.41,
    'latency': 0.1,
    'compiled': 0.08,
}
#: Minutes of the stages and of a training, where nothing else is said.
MINUTES, TRAINING_MINUTES = 8.0, 5.0


@dataclass(frozen=True, kw_only=True)
class GpuCheckOptions(Options):
    """What the check of a GPU can be told.

    Raises:
        UsageError: the check is to run on the CPU and is not the tiny one, which alone is quick enough there.
    """

    minutes: Annotated[
        float | None, Option('how long it may take, all in all (default: 8; with --train 5)', 'M', minimum=0)
    ] = None
    stages: Annotated[
        Sequence[str],
        Option('only the card and these stages, with commas (default: all)', 'NAME', choices=tuple(STAGES)),
    ] = tuple(STAGES)
    only: Annotated[
        str | None, Option('only measurements with this in their name, such as yolov5_s or bf16', 'TEXT')
    ] = None
    data: Annotated[
        str | None, Option('a data folder to train detectors on (default: drawn photographs of 80 classes)', 'PATH')
    ] = None
    workers: Annotated[
        int | None, Option('data-loading processes (default: one a core but for two, 16 at most)', 'N', minimum=0)
    ] = None
    cache_gb: Annotated[float, Option('memory for decoded images, in 10^9 bytes (default: 0)', 'G', minimum=0)] = 0.0
    batch_size: Annotated[
        int | None, Option('images per batch (default: by recipe and memory of the card)', 'N', minimum=1)
    ] = None
    train: Annotated[
        str | None,
        Option('instead of the stages, a real training with AP on this data', 'demo|PATH'),
    ] = None
    config: Annotated[str, Option('config of that training (default: yolov4_cspdarknet53)', 'NAME')] = (
        'yolov4_cspdarknet53'
    )
    device: Annotated[str, Option('cuda, or cpu with --tiny', choices=('cuda', 'cpu'))] = 'cuda'
    tiny: Annotated[
        bool, Option('narrow networks and small images: tries the program itself, its speeds say nothing')
    ] = False
    out: Annotated[str | Path, Option('the results (default: gpu_check.json)', 'FILE')] = 'gpu_check.json'
    table: Annotated[str | Path | None, Option('measure nothing: print the tables of these results', 'FILE')] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device == 'cpu' and not self.tiny:
            raise UsageError('device=cpu: there is no GPU to check; tiny=True tries the program itself on the CPU')
        if self.train is not None and (self.stages != tuple(STAGES) or self.only is not None):
            raise UsageError(f'train={self.train}: the training is a call of its own, without stages and only')

    @property
    def seconds(self) -> float:
        """How long it may take."""
        default = MINUTES if self.train is None else TRAINING_MINUTES
        return 60 * (default if self.minutes is None else self.minutes)
