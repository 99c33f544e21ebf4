"""The options of each benchmark. Nothing here imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcnn.errors import UsageError
from mmcnn.runs.options import ModelOptions, Option, Options

#: The option of every benchmark that trains.
CacheSize = Annotated[
    float | None,
    Option('memory for decoded images on our side, in 10^9 bytes (default: as in a training)', 'G', minimum=0),
]


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """The options of every benchmark."""

    runs: Annotated[int, Option('number of rounds in which each side is measured (default: 3)', 'N', minimum=1)] = 3
    json: Annotated[
        str | Path | None, Option('also write all figures, ratios and the machine to this file', 'FILE')
    ] = None
    plot: Annotated[str | Path | None, Option('also plot the ratios to this file', 'PNG')] = None


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(BenchmarkOptions, ModelOptions):
    """The options of a benchmark of a config."""

    config: Annotated[str, Option('config of the model (default: yolov4_cspdarknet53)', 'NAME')] = 'yolov4_cspdarknet53'


@dataclass(frozen=True, kw_only=True)
class PassesOptions(NetworkOptions):
    """The options for forward and backward passes."""

    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    keep_memory: Annotated[bool, Option('keep freed memory')] = False


@dataclass(frozen=True, kw_only=True)
class StepOptions(NetworkOptions):
    """The options for the parts of a training step."""

    config: Annotated[str, Option('config of a one-stage detector (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    data: Annotated[
        str | None, Option("data folder, or 'demo' for the drawn demo set (default: drawn photographs)", 'PATH')
    ] = None
    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    workers: Annotated[
        int,
        Option('data-loading processes of each side, whose work is not counted (default: 0)', 'N', minimum=0),
    ] = 0
    cache_gb: CacheSize = None
    amp: Annotated[
        str, Option('precision of our side; the other is in float32 (default: off)', choices=('off', 'bf16'))
    ] = 'off'
    steps: Annotated[int, Option('number of steps per round, which are averaged (default: 5)', 'N', minimum=1)] = 5
    runs: Annotated[int, Option('number of rounds in which each side is measured (default: 10)', 'N', minimum=1)] = 10


@dataclass(frozen=True, kw_only=True)
class ValidationOptions(NetworkOptions):
    """The options for the parts of a validation."""

    config: Annotated[str, Option('config of a one-stage detector (default: yolov4_cspdarknet53_narrow)', 'NAME')] = (
        'yolov4_cspdarknet53_narrow'
    )
    data: Annotated[str, Option("data folder, or 'demo' for the drawn demo set (default: demo)", 'PATH')] = 'demo'
    img_size: Annotated[int, Option('side of the images, in pixels (default: 160)', 'N', minimum=1)] = 160
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    workers: Annotated[int, Option('data-loading processes of each side (default: 2)', 'N', minimum=0)] = 2
    cache_gb: CacheSize = None
    amp: Annotated[
        str | None,
        Option(
            'precision of the epochs on our side; the other is in float32 (default: as in a training)',
            choices=('off', 'bf16'),
        ),
    ] = None
    runs: Annotated[int, Option('number of epochs of each side (default: 10)', 'N', minimum=1)] = 10


@dataclass(frozen=True, kw_only=True)
class TrainBenchmarkOptions(NetworkOptions):
    """The options for whole trainings."""

    config: Annotated[str, Option('config of a detector (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    data: Annotated[str | None, Option('data folder (default: drawn photographs)', 'PATH')] = None
    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    workers: Annotated[int, Option('data-loading processes of each training (default: 0)', 'N', minimum=0)] = 0
    cache_gb: CacheSize = None
    peers: Annotated[
        Sequence[str] | None,
        Option(
            'a training by another program on the same images, without validation and for at least two epochs more '
            'than --runs; may be repeated',
            'NAME=COMMAND',
            flag='peer',
        ),
    ] = None
    epoch_pattern: Annotated[
        str,
        Option(
            'regular expression for the end of an epoch in the output of the other programs; each match must be a '
            'different text (default: epoch N)',
            'REGEX',
        ),
    ] = r'(?i)\bepoch \d+'


#: One network of each family that timm or torchvision also has.
NETWORKS = (
    'vgg16',
    'resnet50-tv',
    'resnext50-32x4d',
    'mobilenetv2-tv',
    'mobilenetv3-large-tv',
    'efficientnet-b0-tv',
    'densenet121-tv',
    'inceptionv3-tv',
    'xception-timm',
    'darknet53',
    'cspdarknet53-timm',
    'vovnetv2-39',
)


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(BenchmarkOptions):
    """The options for networks.

    Attributes:
        names: names of classifiers.
    """

    names: Sequence[str] = NETWORKS
    of: Annotated[
        str,
        Option(
            'forward: folded networks in evaluation mode; training: forward and backward passes; memory: maximum size '
            'of the tensors in these (default: forward)',
            choices=('forward', 'training', 'memory'),
        ),
    ] = 'forward'
    peers: Annotated[
        Sequence[str],
        Option(
            'libraries to compare with, separated by commas (default: timm,torchvision)',
            'NAME',
            choices=('timm', 'torchvision'),
        ),
    ] = ('timm', 'torchvision')
    batch_size: Annotated[
        int | None, Option('images per batch (default: 1, then 8; 16 in training)', 'N', minimum=1)
    ] = None
    img_size: Annotated[
        int | None,
        Option('side of the images, in pixels (default: 299 or 224, according to the network)', 'N', minimum=32),
    ] = None
    folded: Annotated[bool, Option('forward: also measure peers with BatchNorm folded')] = False
    compiled: Annotated[bool, Option("forward: compile all with PyTorch's compiler, with constants frozen")] = False
    compiled_fuse: Annotated[bool, Option('forward: also measure mmcnn.fuse(compile=True)')] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ('folded', 'compiled', 'compiled_fuse'):
            if getattr(self, name) and self.of != 'forward':
                raise UsageError(f'{name} is for of=forward, not for of={self.of}')
        if self.compiled and self.compiled_fuse:
            raise UsageError('compiled and compiled_fuse: give one; with compiled, the peers are compiled as well')


@dataclass(frozen=True, kw_only=True)
class StartOptions(NetworkOptions):
    """The options for the start of programs."""

    config: Annotated[str, Option('config of a detector (default: yolov4_cspdarknet53_narrow)', 'NAME')] = (
        'yolov4_cspdarknet53_narrow'
    )
    img_size: Annotated[int, Option('side of the images of the training, in pixels (default: 160)', 'N', minimum=1)] = (
        160
    )
    peers: Annotated[
        Sequence[str] | None,
        Option('another program, from its start to its end; may be repeated', 'NAME=COMMAND', flag='peer'),
    ] = None
    count: Annotated[
        str,
        Option(
            'seconds, or instructions (by valgrind, which takes minutes per program) (default: seconds)',
            choices=('seconds', 'instructions'),
        ),
    ] = 'seconds'


@dataclass(frozen=True, kw_only=True)
class InferBenchmarkOptions(NetworkOptions):
    """The options for a detector on a folder."""

    config: Annotated[str, Option('config of a detector (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    data: Annotated[str | None, Option('data folder (default: drawn photographs)', 'PATH')] = None
    batch_size: Annotated[int, Option('images per batch (default: 1)', 'N', minimum=1)] = 1
    samples: Annotated[int, Option('number of images per run (default: 32)', 'N', minimum=1)] = 32
    peers: Annotated[
        Sequence[str] | None,
        Option(
            'detection by another program, from its first image to its last; may be repeated',
            'NAME=COMMAND',
            flag='peer',
        ),
    ] = None
    image_pattern: Annotated[
        str,
        Option(
            'regular expression for an image in the output of the other programs; each match must be a different text '
            '(default: image N)',
            'REGEX',
        ),
    ] = r'(?i)\bimage \d+(/\d+ \S+)?'


@dataclass(frozen=True, kw_only=True)
class LoadingOptions(NetworkOptions):
    """The options for reading a checkpoint."""

    checkpoint: Annotated[
        str | None, Option('the file (default: one that is written like that of a training)', 'PATH')
    ] = None


@dataclass(frozen=True, kw_only=True)
class PipelineOptions(BenchmarkOptions):
    """The options for the preparation of training samples."""

    data: Annotated[str | None, Option('data folder (default: drawn photographs)', 'PATH')] = None
    img_size: Annotated[int, Option('side of the samples, in pixels (default: 320)', 'N', minimum=1)] = 320
    cache_gb: Annotated[float, Option('memory for decoded images, in 10^9 bytes (default: 1)', 'G', minimum=0)] = 1.0
    samples: Annotated[int, Option('number of images per run (default: 100)', 'N', minimum=1)] = 100


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(BenchmarkOptions):
    """The options for COCO's evaluation."""

    images: Annotated[
        int, Option('number of synthetic images (default: 5,000, as in COCO val2017)', 'N', minimum=1)
    ] = 5000
    detections: Annotated[int, Option('detections per image (default: 100)', 'N', minimum=1)] = 100


@dataclass(frozen=True, kw_only=True)
class CheckOptions(BenchmarkOptions):
    """The options for the check of a data folder."""

    images: Annotated[int, Option('number of photographs to check (default: 5,000)', 'N', minimum=1)] = 5000
    annotated: Annotated[
        int,
        Option(
            'number of images of which only annotations are checked (default: 118,000, as in COCO train2017)',
            'N',
            minimum=1,
        ),
    ] = 118_000


@dataclass(frozen=True, kw_only=True)
class ScaleOptions(NetworkOptions):
    """The options for many processes on one machine."""

    config: Annotated[str, Option('config whose gradients are exchanged (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    annotated: Annotated[
        int, Option('number of images with annotations (default: 118,000, as in COCO train2017)', 'N', minimum=1)
    ] = 118_000
    ranks: Annotated[int, Option('number of ranks that read them (default: 8)', 'N', minimum=1)] = 8
    workers: Annotated[int, Option('data-loading processes of each rank (default: 8)', 'N', minimum=1)] = 8
    world: Annotated[int, Option('number of ranks that exchange messages (default: 64)', 'N', minimum=2)] = 64


@dataclass(frozen=True, kw_only=True)
class ExportBenchmarkOptions(NetworkOptions):
    """The options for exported files.

    Attributes:
        source: a checkpoint, a network or a config; None: the config.
    """

    source: str | None = None
    img_size: Annotated[int, Option('side of the image, in pixels (default: 320)', 'N', minimum=1)] = 320
    data: Annotated[
        str | None,
        Option('data folder for the calibration of int8 (default: int8 is left out)', 'PATH'),
    ] = None
