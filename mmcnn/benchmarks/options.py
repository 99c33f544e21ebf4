"""What each benchmark can be told. Nothing here imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcnn.errors import UsageError
from mmcnn.runs.options import ModelOptions, Option, Options


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """What every benchmark can be told."""

    runs: Annotated[int, Option('rounds that each side is measured in (default: 3)', 'N', minimum=1)] = 3
    json: Annotated[
        str | Path | None, Option('also write all figures, ratios and the machine into this file', 'FILE')
    ] = None
    plot: Annotated[str | Path | None, Option('also plot the ratios into this file', 'PNG')] = None


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(BenchmarkOptions, ModelOptions):
    """What a benchmark of a config can be told."""

    config: Annotated[str, Option('config of the model (default: yolov4_cspdarknet53)', 'NAME')] = 'yolov4_cspdarknet53'


@dataclass(frozen=True, kw_only=True)
class PassesOptions(NetworkOptions):
    """Of forward and backward passes."""

    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    keep_memory: Annotated[bool, Option('keep freed memory')] = False


@dataclass(frozen=True, kw_only=True)
class StepOptions(NetworkOptions):
    """Of the parts of a training step."""

    config: Annotated[str, Option('config of a one-stage detector (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    data: Annotated[
        str | None, Option("a data folder, or 'demo' for the drawn demo set (default: drawn photographs)", 'PATH')
    ] = None
    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    workers: Annotated[
        int,
        Option('data-loading processes of each side, whose work is then not counted (default: 0)', 'N', minimum=0),
    ] = 0
    cache_gb: Annotated[
        float, Option('memory for decoded images of ours, in 10^9 bytes (default: 0)', 'G', minimum=0)
    ] = 0.0
    steps: Annotated[int, Option('steps of a round, whose mean is taken (default: 5)', 'N', minimum=1)] = 5
    runs: Annotated[int, Option('rounds that each side is measured in (default: 10)', 'N', minimum=1)] = 10


@dataclass(frozen=True, kw_only=True)
class TrainBenchmarkOptions(NetworkOptions):
    """Of whole trainings."""

    config: Annotated[str, Option('config of a detector (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    data: Annotated[str | None, Option('a data folder (default: drawn photographs)', 'PATH')] = None
    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    workers: Annotated[int, Option('data-loading processes of each training (default: 0)', 'N', minimum=0)] = 0
    cache_gb: Annotated[
        float, Option('memory for decoded images of ours, in 10^9 bytes (default: 0)', 'G', minimum=0)
    ] = 0.0
    peers: Annotated[
        Sequence[str] | None,
        Option(
            'a training by another program, on the same images, for at least two epochs more than --runs, validation '
            'left out; may be repeated',
            'NAME=COMMAND',
            flag='peer',
        ),
    ] = None
    epoch_pattern: Annotated[
        str,
        Option(
            'regular expression that finds the end of an epoch in what the other programs print; each match has to '
            'be another text (default: epoch N)',
            'REGEX',
        ),
    ] = r'(?i)\bepoch \d+'


#: One network of each family that timm or torchvision has, too.
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
    """Of networks.

    Attributes:
        names: of classifiers.
    """

    names: Sequence[str] = NETWORKS
    of: Annotated[
        str,
        Option(
            'forward: folded networks in evaluation mode; training: forward and backward passes; memory: most bytes of '
            'tensors that these hold at once (default: forward)',
            choices=('forward', 'training', 'memory'),
        ),
    ] = 'forward'
    peers: Annotated[
        Sequence[str],
        Option(
            'a library to compare with, several with commas (default: timm,torchvision)',
            'NAME',
            choices=('timm', 'torchvision'),
        ),
    ] = ('timm', 'torchvision')
    batch_size: Annotated[
        int | None, Option('images of a batch (default: 1, then 8; but 16 in training)', 'N', minimum=1)
    ] = None
    img_size: Annotated[
        int | None,
        Option('side of the images, in pixels (default: 299 where the row says so, else 224)', 'N', minimum=32),
    ] = None
    folded: Annotated[bool, Option('forward: peers with BatchNorm folded, too')] = False
    compiled: Annotated[bool, Option("forward: all by PyTorch's compiler, with constants frozen")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ('folded', 'compiled'):
            if getattr(self, name) and self.of != 'forward':
                raise UsageError(f'{name} is for of=forward, not for of={self.of}')


@dataclass(frozen=True, kw_only=True)
class StartOptions(NetworkOptions):
    """Of starting programs."""

    config: Annotated[str, Option('config of a detector (default: yolov4_cspdarknet53_narrow)', 'NAME')] = (
        'yolov4_cspdarknet53_narrow'
    )
    img_size: Annotated[int, Option('side of the images of the training, in pixels (default: 160)', 'N', minimum=1)] = (
        160
    )
    count: Annotated[
        str,
        Option(
            'seconds, or instructions by valgrind, which takes minutes for each program (default: seconds)',
            choices=('seconds', 'instructions'),
        ),
    ] = 'seconds'


@dataclass(frozen=True, kw_only=True)
class InferBenchmarkOptions(NetworkOptions):
    """Of a detector on a folder."""

    config: Annotated[str, Option('config of a detector (default: yolov5_n)', 'NAME')] = 'yolov5_n'
    data: Annotated[str | None, Option('a data folder (default: drawn photographs)', 'PATH')] = None
    batch_size: Annotated[int, Option('images that go through the network at once (default: 1)', 'N', minimum=1)] = 1
    samples: Annotated[int, Option('images of a run (default: 32)', 'N', minimum=1)] = 32


@dataclass(frozen=True, kw_only=True)
class LoadingOptions(NetworkOptions):
    """Of reading a checkpoint."""

    checkpoint: Annotated[
        str | None, Option('the file (default: one that is written as a training of the config does)', 'PATH')
    ] = None


@dataclass(frozen=True, kw_only=True)
class PipelineOptions(BenchmarkOptions):
    """Of what prepares samples for training."""

    data: Annotated[str | None, Option('a data folder (default: drawn photographs)', 'PATH')] = None
    img_size: Annotated[int, Option('side of the samples, in pixels (default: 320)', 'N', minimum=1)] = 320
    cache_gb: Annotated[float, Option('memory for decoded images, in 10^9 bytes (default: 1)', 'G', minimum=0)] = 1.0
    samples: Annotated[int, Option('images of a run (default: 100)', 'N', minimum=1)] = 100


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(BenchmarkOptions):
    """Of COCO's evaluation."""

    images: Annotated[int, Option('images that are drawn (default: 5,000, as COCO val2017)', 'N', minimum=1)] = 5000
    detections: Annotated[int, Option('detections of each image (default: 100)', 'N', minimum=1)] = 100


@dataclass(frozen=True, kw_only=True)
class CheckOptions(BenchmarkOptions):
    """Of the check of a data folder."""

    images: Annotated[int, Option('photographs that are checked (default: 5,000)', 'N', minimum=1)] = 5000
    annotated: Annotated[
        int, Option('images whose annotations alone are checked (default: 118,000, as COCO train2017)', 'N', minimum=1)
    ] = 118_000


@dataclass(frozen=True, kw_only=True)
class ExportBenchmarkOptions(NetworkOptions):
    """Of exported files.

    Attributes:
        source: a checkpoint, a network or a config; None: the config.
    """

    source: str | None = None
    img_size: Annotated[int, Option('side of the image, in pixels (default: 320)', 'N', minimum=1)] = 320
    data: Annotated[
        str | None,
        Option('a data folder on whose images int8 is calibrated (default: int8 is left out)', 'PATH'),
    ] = None
