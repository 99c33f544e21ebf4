"""The options of a run with types, defaults and help; both Python and the command line use these classes.

This module does not import PyTorch, so that ``mmcnn --help`` is fast.
"""

from __future__ import annotations

import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from mmcnn.errors import UsageError
from mmcnn.nearest import as_share, nearest

#: Recipes of a training: that of the config, or one for weights that are already trained.
FROM_SCRATCH, WARM_START = RECIPES = ('from-scratch', 'warm-start')
#: Mixed precision: chosen by the device, by name, or none.
AMP = ('auto', 'bf16', 'fp16', 'off')
#: Help for all commands with this option.
AMP_HELP = (
    'mixed precision: auto (also --amp alone) is bf16 where the GPU or CPU supports it (AVX512-BF16 or AMX), otherwise '
    'fp16 on a GPU and none on a CPU; or a fixed type, or off (default: as in the config)'
)
#: Help for commands that do not train.
AMP_HELP_WITHOUT_TRAINING = AMP_HELP.replace('as in the config', 'off')
#: The largest seed that NumPy's generators accept.
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Option:
    """A field's help on the command line, and its allowed values."""

    help: str
    metavar: str | None = None
    choices: Sequence[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    flag: str | None = None  # name on the command line, for a single value; None: that of the field


#: The types of fields: a check of the value (bool is a subclass of int in Python), and a name for messages.
_KINDS = {
    bool: (lambda value: isinstance(value, bool), 'True or False'),
    int: (lambda value: isinstance(value, Integral) and not isinstance(value, bool), 'an integer'),
    float: (lambda value: isinstance(value, Real) and not isinstance(value, bool), 'a number'),
    str: (lambda value: isinstance(value, str), 'a string'),
    Path: (lambda value: isinstance(value, str | os.PathLike), 'a path'),
    Mapping: (
        lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
        "a dict such as {'model.widen_factor': 0.5}",
    ),
    Sequence: (lambda value: isinstance(value, Sequence), 'a list'),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of all options; rejects values that no run can have.

    Raises:
        UsageError: from the constructor; the message names the option, the value and what would be right.
    """

    def __post_init__(self) -> None:
        known = described(type(self))
        for name, hint in get_type_hints(type(self)).items():
            if hint is not Any and name in self.__dataclass_fields__:
                option = known[name][1] if name in known else Option('')
                value = _checked(name, getattr(self, name), hint)
                if option.choices and Sequence in kinds_of(hint) and value is not None:
                    value = _listed(value)
                object.__setattr__(self, name, value)
                _check_range(name, value, option)


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Options):
    """The option of everything that reads a config or a checkpoint that may refer to a user's own package."""

    imports: Annotated[
        Sequence[str] | None,
        Option(
            'import this module of your own, which registers a backbone or other types of the config; may be repeated. '
            'Modules named in a checkpoint are also only imported if given here',
            'MODULE',
            flag='import',
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ModelOptions(ImportOptions):
    """Options of everything that builds one model from a config."""

    backbone: Annotated[str | None, Option('replace the backbone; mmcnn zoo lists all', 'NAME')] = None
    cfg_options: Annotated[Mapping[str, Any], Option('override any config entry', 'KEY=VALUE')] = field(
        default_factory=dict
    )
    device: Annotated[
        str | int | None,
        Option('cpu, cuda, or cuda:N or N for one of several GPUs (default: a GPU if there is one)', 'DEVICE'),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SplitOptions(Options):
    """Options of everything that reads a data folder which may have no validation images."""

    val_fraction: Annotated[
        float | None,
        Option(
            'fraction of the images, 0 to 1, to draw for validation if the folder of --data has no validation split; '
            'the draw is stored',
            'F',
        ),
    ] = None
    split_seed: Annotated[int | None, Option('seed of that draw (default: 0)', 'N', minimum=0, maximum=MAX_SEED)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_fraction is None and self.split_seed is not None:
            raise UsageError(f'split_seed={self.split_seed} needs val_fraction: nothing is drawn without it')
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise UsageError(f'val_fraction={self.val_fraction:g}: it must be above 0 and below 1')


@dataclass(frozen=True, kw_only=True)
class DataOptions(SplitOptions):
    """Options of everything that reads a data set in batches."""

    data: Annotated[
        str | Path | None,
        Option(
            'data folder: COCO format (train.json, val.json, images/), or the layout of COCO 2017, YOLO or VOC; for a '
            'classifier train/CLASS/ and val/CLASS/; or demo: a small generated set',
            'demo|PATH',
        ),
    ] = None
    classes: Annotated[
        Sequence[str] | None,
        Option('use only these classes of a detection data set, by name: a,b or a b (default: all)', 'NAME'),
    ] = None
    skip_bad: Annotated[bool, Option('skip images and boxes that the data check rejects')] = False
    img_size: Annotated[int | None, Option('side of the network input, in pixels', 'N')] = None
    batch_size: Annotated[int | None, Option('images per GPU (or on the CPU) and iteration', 'N', minimum=1)] = None
    workers: Annotated[int | None, Option('data-loading processes per GPU', 'N', minimum=0)] = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(DataOptions, ModelOptions):
    """Options that a training and an evaluation share."""

    work_dir: Annotated[
        str | Path | None, Option('folder for logs and results (default: a new one in work_dirs/)', 'DIR')
    ] = None
    launcher: Annotated[str, Option('launcher of several processes', choices=('none', 'pytorch', 'slurm', 'mpi'))] = (
        'none'
    )
    verbose: Annotated[bool, Option('print all lines of the log file')] = False


#: Services that can get the metrics of a training in addition to its own files.
LOGGERS = ('tensorboard', 'wandb', 'mlflow', 'trackio', 'none')


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """A training.

    Attributes:
        config: path of a config file, name of one that comes with mmcnn, or a loaded config.
        resume: True continues the last run with this config, backbone and data, or the one in ``work_dir``; a path
            continues from this checkpoint.
    """

    config: Any
    epochs: Annotated[int | None, Option('number of epochs', 'N', minimum=1)] = None
    seed: Annotated[
        int | None,
        Option('random seed (default: 0, or that of the continued run)', 'N', minimum=0, maximum=MAX_SEED),
    ] = None
    init_seed: Annotated[
        int | None,
        Option(
            'random seed of the initial weights only (default: --seed, which also determines order and augmentation)',
            'N',
            minimum=0,
            maximum=MAX_SEED,
        ),
    ] = None
    fraction: Annotated[
        float | None,
        Option(
            'train on this fraction of the training images of --data, 0 to 1; a smaller fraction is a subset of every '
            'larger one (default: all)',
            'F',
        ),
    ] = None
    until_epoch: Annotated[
        int | None,
        Option('pause after this epoch of the schedule; to train the rest, use --resume without it', 'N', minimum=1),
    ] = None
    keep_detections: Annotated[
        bool, Option('write the detections of the last validation to detections.npz in the work dir')
    ] = False
    amp: Annotated[bool | str | None, Option(AMP_HELP, '|'.join(AMP), choices=AMP)] = None
    amp_val: Annotated[bool, Option('also validate in the precision of --amp')] = False
    channels_last: Annotated[bool, Option('store images and weights in NHWC order, which is faster with --amp')] = False
    compile: Annotated[bool, Option('compile backbone and neck (torch.compile), which takes minutes at the start')] = (
        False
    )
    sync_bn: Annotated[
        bool, Option('use BatchNorm over the images of all GPUs; by default, statistics are averaged before validation')
    ] = False
    resume: Annotated[
        bool | str | Path,
        Option('continue the last run with this config, backbone and data, or from the checkpoint FILE', 'FILE'),
    ] = False
    weights: Annotated[
        str | Path | None,
        Option(
            'fine-tune from these weights, in any format that mmcnn reads: the head is newly initialised if the '
            'classes differ, and the recipe is warm-start; with --resume, used only if there is no checkpoint to '
            'resume from',
            'FILE|mmcnn://NAME',
        ),
    ] = None
    recipe: Annotated[
        str | None,
        Option(
            'warm-start: a lower learning rate and a short warm-up (default with --weights); from-scratch: the '
            "config's",
            choices=RECIPES,
        ),
    ] = None
    load_from: Annotated[
        str | Path | None,
        Option(
            'start from exactly these weights, without changes to head or recipe (to fine-tune, use --weights)', 'FILE'
        ),
    ] = None
    backbone_weights: Annotated[
        str | Path | None,
        Option('weights for the backbone of a detector, such as a checkpoint of a classifier', 'FILE'),
    ] = None
    allow_head_mismatch: Annotated[
        bool, Option('accept weights for another number of classes; the head is then newly initialised')
    ] = False
    on_nan: Annotated[
        str | None,
        Option('reaction to a loss or gradient that is not finite (default: stop)', choices=('stop', 'skip')),
    ] = None
    cache_gb: Annotated[
        float | None,
        Option(
            'memory for decoded images, in 10^9 bytes (default: enough for a small data set; 0: none)', 'G', minimum=0
        ),
    ] = None
    patience: Annotated[
        int | None,
        Option('end early after N validations in a row without improvement', 'N', minimum=1),
    ] = None
    logger: Annotated[
        Sequence[str] | None,
        Option(
            'send metrics to tensorboard, wandb, mlflow, trackio, or none of them; may be repeated or a list separated '
            'by commas (default: as in the config, tensorboard for detectors)',
            'NAME',
            choices=LOGGERS,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.logger and 'none' in self.logger and len(self.logger) > 1:
            raise UsageError(f'logger={",".join(self.logger)}: none cannot be combined with others')
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UsageError(f'fraction={self.fraction:g}: the value must be above 0 and at most 1')
        for name, value in (('resume', self.resume), ('load_from', self.load_from)):
            # True is allowed: a run without a checkpoint then starts from the weights.
            if self.weights is not None and value not in (None, False, True):
                raise UsageError(
                    f'weights={self.weights} and {name}={value}: weights start a new training; use one of them'
                )


@dataclass(frozen=True, kw_only=True)
class TestOptions(RunOptions):
    """An evaluation.

    Attributes:
        checkpoint: a checkpoint, or weights of any kind.
        config: as for a training; None: the one in the checkpoint, otherwise mmcnn's config that fits the weights.
    """

    __test__ = False  # not a test class for pytest

    checkpoint: str | Path
    config: Any = None
    amp: Annotated[bool | str | None, Option(AMP_HELP_WITHOUT_TRAINING, '|'.join(AMP), choices=AMP)] = None


#: Formats of label files that an inference writes, for labelling programs and for training.
LABEL_FORMATS = ('coco', 'yolo')


@dataclass(frozen=True, kw_only=True)
class InferOptions(ModelOptions):
    """An inference on images, videos or a camera.

    Attributes:
        checkpoint: checkpoint of a detector, or published weights.
        sources: an image, a folder, a pattern, a video, the number of a camera, or a list of these; see
            :func:`mmcnn.inference.sources.find_sources`.
        config: as for a training; None: the one in the checkpoint, otherwise mmcnn's config that fits the weights.
    """

    checkpoint: str | Path
    sources: Any
    config: Any = None
    out: Annotated[
        str | Path | None,
        Option('folder for the results (default: detections, or detections-2 ... if that is not empty)', 'DIR'),
    ] = None
    score_thr: Annotated[
        float, Option('minimum score of a detection, 0 to 1 (default: 0.25)', 'S', minimum=0, maximum=1)
    ] = 0.25
    classes: Annotated[
        str | Path | Sequence | None,
        Option(
            'class names for weights without them: a,b,c or a file with one name per line',
            'NAMES|FILE',
        ),
    ] = None
    format: Annotated[
        Sequence[str],
        Option(
            'also write label files, for correction or training: coco (coco.json) or yolo (text files in yolo/); may '
            'be repeated or a list separated by commas',
            'FORMAT',
            choices=LABEL_FORMATS,
        ),
    ] = ()
    font: Annotated[
        str | Path | None, Option('font file for class names (default: suitable fonts of the system)', 'FILE')
    ] = None
    batch_size: Annotated[int, Option('images per batch (default: 1)', 'N', minimum=1)] = 1
    amp: Annotated[bool | str | None, Option(AMP_HELP_WITHOUT_TRAINING, '|'.join(AMP), choices=AMP)] = None
    max_frames: Annotated[
        int | None, Option('maximum number of frames of each video and camera (default: all)', 'N', minimum=1)
    ] = None


def described(options: type) -> dict[str, tuple[Any, Option]]:
    """Return type and description of each field that the command line offers, by name, in the order of the class."""
    hints = get_type_hints(options, include_extras=True)
    return {
        name: (hint.__origin__, hint.__metadata__[0]) for name, hint in hints.items() if hasattr(hint, '__metadata__')
    }


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the types that a field's hint allows, without arguments: ``(str, Path, NoneType)``, ``(Mapping,)``."""
    kinds = get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)
    return tuple(get_origin(kind) or kind for kind in kinds)


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Return the value if it fits the hint, with NumPy's numbers as Python's, which a config can hold.

    Raises:
        UsageError: it does not fit.
    """
    kinds = [kind for kind in kinds_of(hint) if kind is not types.NoneType]
    if value is None and len(kinds) < len(kinds_of(hint)):
        return None
    if not any(_KINDS[kind][0](value) for kind in kinds):
        # Every path may also be a string.
        words = ' or '.join(_KINDS[kind][1] for kind in kinds if not (kind is str and Path in kinds))
        raise UsageError(f'{name}={value!r}: it must be {words}, not of type {type(value).__name__}')
    if isinstance(value, Integral | Real) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    return value


def _listed(value: Sequence[str]) -> tuple[str, ...]:
    """Return the names in ``'a,b'``, ``['a', 'b']`` or ``['a,b', 'c']``, without duplicates."""
    texts = [value] if isinstance(value, str) else value
    return tuple(dict.fromkeys(name.strip() for text in texts for name in str(text).split(',')))


def _check_range(name: str, value: Any, option: Option) -> None:
    if value is None:
        return
    if (option.minimum, option.maximum) == (0, 1) and not 0 <= value <= 1:
        raise UsageError(f'{name}={value}: the value must be between 0 and 1{as_share(value)}')
    if option.minimum is not None and not value >= option.minimum:  # also true for NaN
        raise UsageError(f'{name}={value}: the value must be at least {option.minimum:g}')
    if option.maximum is not None and not value <= option.maximum:
        raise UsageError(f'{name}={value}: the value must be at most {option.maximum}')
    for each in value if isinstance(value, tuple) else (value,):
        if option.choices and not isinstance(each, bool) and each not in option.choices:
            raise UsageError(f'{name}={each!r}: {nearest(str(each), option.choices)}')
