"""The options of a comparison. Nothing here imports PyTorch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from mmcnn.errors import UsageError
from mmcnn.runs.options import AMP, AMP_HELP, MAX_SEED, DataOptions, ModelOptions, Option

#: What the trainings of all backbones have in common.
EQUAL = EPOCHS, SECONDS, MACS = ('epochs', 'seconds', 'macs')
#: What a seed changes between trainings of the same backbone.
VARY = ALL, INIT, ORDER = ('all', 'init', 'order')
#: Where the trainings run.
EXECUTORS = LOCAL, RAY, SLURM = ('local', 'ray', 'slurm')
_UNITS = {'s': 1, 'm': 60, 'min': 60, 'h': 3600, 'd': 86400}
_MAGNITUDES = {'': 1, 'M': 1e6, 'G': 1e9}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareOptions(DataOptions, ModelOptions):
    """A comparison: what is compared, the budget of each training, and how many there are.

    Attributes:
        config: config of the detector: a path, the name of a shipped one, or a loaded one.
        backbones: short names of the backbones.
    """

    config: Any
    backbones: Sequence[str]
    weights: Annotated[
        Sequence[str] | None,
        Option(
            'initial weights of the trainings: scratch, or a value of mmcnn train --weights, in which {backbone} is '
            'replaced by the name; several with commas (default: scratch)',
            'WEIGHTS',
        ),
    ] = None
    fraction: Annotated[
        Sequence[str] | None,
        Option('fractions of the training images, 0 to 1, several with commas (default: 1)', 'F'),
    ] = None
    macs: Annotated[
        str | float | None,
        Option(
            'widen or narrow each backbone so that its detector needs this many multiply-adds per image, to within a '
            'tenth (default: unchanged backbones)',
            'N[M|G]',
        ),
    ] = None
    epochs: Annotated[int | None, Option('length of each training', 'N', minimum=1)] = None
    equal: Annotated[
        str,
        Option(
            'what all trainings have in common: epochs (default), seconds or macs (multiply-adds); the latter two '
            'are those of the first backbone in its epochs',
            choices=EQUAL,
        ),
    ] = EPOCHS
    budget: Annotated[
        str | float | None,
        Option(
            'total time: the worst backbones are dropped during training, by successive halving, so that the rest can '
            'be trained longer and with more seeds (default: all are trained to the end)',
            'TIME',
        ),
    ] = None
    seed: Annotated[
        int, Option('first random seed of order and augmentation (default: 0)', 'N', minimum=0, maximum=MAX_SEED)
    ] = 0
    seeds: Annotated[
        int, Option('number of trainings of each backbone, with consecutive seeds (default: 1)', 'K', minimum=1)
    ] = 1
    init_seed: Annotated[
        int | None,
        Option('first seed of the initial weights (default: that of --seed)', 'N', minimum=0, maximum=MAX_SEED),
    ] = None
    vary: Annotated[
        str,
        Option(
            'what changes from seed to seed: all (default), only the initial weights (init), or only order and '
            'augmentation (order)',
            choices=VARY,
        ),
    ] = ALL
    amp: Annotated[bool | str | None, Option(AMP_HELP, '|'.join(AMP), choices=AMP)] = None
    cache_gb: Annotated[
        float | None,
        Option(
            'memory for decoded images, in 10^9 bytes (default: enough for a small data set; 0: none)', 'G', minimum=0
        ),
    ] = None
    latency_runs: Annotated[int, Option('number of images for timing each network (default: 30)', 'N', minimum=1)] = 30
    work_dir: Annotated[str | Path | None, Option('folder for the runs (default: work_dirs/compare_CONFIG)', 'DIR')] = (
        None
    )
    jobs: Annotated[int, Option('number of simultaneous trainings on this machine (default: 1)', 'N', minimum=1)] = 1
    executor: Annotated[
        str,
        Option(
            'where the trainings run: local (default), ray (a cluster, or this machine) or slurm', choices=EXECUTORS
        ),
    ] = LOCAL
    executor_options: Annotated[
        Mapping[str, Any] | None,
        Option(
            'ray: address=..., num_cpus=..., num_gpus=...; slurm: arguments of submitit, such as slurm_partition=gpu '
            'timeout_min=240 (default: one GPU per training if available)',
            'KEY=VALUE',
        ),
    ] = None
    drop_checkpoints: Annotated[
        bool, Option('delete the checkpoints at the end; numbers, curves, costs and detections are kept')
    ] = False
    fresh: Annotated[bool, Option('train everything from scratch; deletes the runs in DIR')] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        names = tuple(name.removeprefix('mmcnn.') for name in _listed(self.backbones))
        if not names:
            raise UsageError(f'backbones={self.backbones!r}: give at least one; mmcnn zoo lists them')
        object.__setattr__(self, 'backbones', names)
        object.__setattr__(self, 'weights', _listed(self.weights))
        object.__setattr__(self, 'fraction', tuple(_share(text) for text in _listed(self.fraction)))
        if self.macs is not None:
            object.__setattr__(self, 'macs', count_of(self.macs))
        if self.budget is not None:
            object.__setattr__(self, 'budget', seconds_of(self.budget))
        if self.jobs > 1 and self.executor != LOCAL:
            raise UsageError(f'jobs={self.jobs} is only for executor=local; {self.executor} schedules by resources')
        if self.executor_options and self.executor == LOCAL:
            raise UsageError(f'executor_options={dict(self.executor_options)} needs executor=ray or slurm')
        if self.budget is not None and self.equal != EPOCHS:
            raise UsageError(f'budget={self.budget:g} s needs equal=epochs, not {self.equal}')

    def training(self) -> dict[str, Any]:
        """Return the options of each training that affect its result, by name."""
        return {name: getattr(self, name) for name in BUDGET}


#: Options of each training that its result depends on.
BUDGET = (
    *(each.name for each in dataclasses.fields(DataOptions) if each.name != 'workers'),
    'epochs',
    'amp',
    'cfg_options',
)


def seconds_of(time: str | float) -> float:
    """Return the seconds of a time such as '2h', '90min', '1.5 d' or a number of seconds.

    Raises:
        UsageError: it is not a time.
    """
    match = re.fullmatch(r'([0-9.]+)\s*([a-z]*)', str(time).strip())
    try:
        seconds = float(match[1]) * _UNITS[match[2] or 's']
    except (TypeError, ValueError, KeyError):
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f'budget={time}: it must be a time such as 2h, 90min or 1d')
    return seconds


def count_of(count: str | float) -> float:
    """Return a number of multiply-adds, such as '0.4G', '400M' or a plain number.

    Raises:
        UsageError: it is not a number.
    """
    match = re.fullmatch(r'([0-9.eE+]+)\s*([MG]?)', str(count).strip())
    try:
        number = float(match[1]) * _MAGNITUDES[match[2]]
    except (TypeError, ValueError):
        number = 0.0
    if not number > 0:
        raise UsageError(f'macs={count}: it must be a number of multiply-adds such as 0.4G or 400M')
    return number


def _listed(values: Sequence[str] | float | None) -> tuple[str, ...]:
    texts = [] if values is None else values if isinstance(values, list | tuple) else [values]
    return tuple(dict.fromkeys(part.strip() for text in texts for part in str(text).split(',') if part.strip()))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f'fraction={text}: the value must be above 0 and at most 1')
    return share
