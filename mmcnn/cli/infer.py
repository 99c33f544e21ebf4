"""Finds objects in images, folders, videos or a camera.

SOURCE is an image, a folder (with its subfolders), a pattern in quotes ('day*/*.jpg'), a text file with one path per
line (.txt), a video, or the number of a camera (0), which is read until Ctrl-C or for --max-frames N. The output folder
gets each image and video with its boxes, and detections.json: for each image a list of bbox (x1, y1, x2, y2 in
pixels), score, label and name. Existing files are not overwritten. Config, backbone and classes come from the
checkpoint unless CONFIG is given. CHECKPOINT may also be published weights, whose config is found automatically:
YOLOv5 (.pt), YOLOv3 and YOLOv4 (Darknet's .weights), MMDetection's YOLOv3 and Faster R-CNN, torchvision's Faster R-CNN
(.pth). Files that mmcnn export has written, .onnx or .xml, run without PyTorch.

  mmcnn infer work_dirs/RUN/best.pth street.jpg holiday/ clip.mp4
  mmcnn infer yolov5s.pt street.jpg
  mmcnn infer cards.weights table.jpg --classes cards.names
  mmcnn infer yolov5s.onnx street.jpg
  mmcnn infer work_dirs/RUN/best.pth new_images/ --format yolo --score-thr 0.4 --out labels_to_check
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.compat.packaged_configs import is_packaged
from mmcnn.config.files import own_configs
from mmcnn.console.layout import number
from mmcnn.errors import DependencyError, UsageError
from mmcnn.exported_file import RUNNABLE
from mmcnn.runs.options import InferOptions

_SHOWN = 20  # skipped files to list
#: What drawing needs in addition to mmcnn.runtime: module -> package.
_DRAWING = {'matplotlib': 'matplotlib', 'PIL': 'pillow', 'yaml': 'pyyaml'}
#: Suffixes of files of weights and of exported networks.
WEIGHTS = ('.pth', '.pt', '.weights', '.safetensors', *RUNNABLE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn infer``."""
    parser.usage = '%(prog)s [CONFIG] CHECKPOINT SOURCE [SOURCE ...] [options]'
    # Two arguments, so that options may follow the first: CHECKPOINT --out D SOURCE.
    parser.add_argument('first', metavar='[CONFIG] CHECKPOINT', help='checkpoint, optionally preceded by a config')
    parser.add_argument('rest', metavar='SOURCE', nargs='+', help='image, folder, pattern, video or camera number')
    add_options(parser, InferOptions)


def run(args: argparse.Namespace) -> int:
    """Detect on the sources."""
    config, checkpoint, sources = split_arguments([args.first, *args.rest])
    options = options_from(args, InferOptions, config=config, checkpoint=checkpoint, sources=sources)

    # FFmpeg prints its own messages about damaged videos; OpenCV reads this variable when it first opens a video.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    try:
        from mmcnn.runs.infer import infer
    except ModuleNotFoundError as error:
        if error.name not in _DRAWING:
            raise
        packages = ' '.join(_DRAWING.values())
        raise DependencyError(
            f'mmcnn infer draws boxes with {error.name}, which is not installed: pip install {packages}'
        ) from error

    result = infer(options)
    for line in result.left_out[:_SHOWN]:
        print(f'left out: {line}')
    if len(result.left_out) > _SHOWN:
        print(f'left out: {len(result.left_out) - _SHOWN} more')
    places, drawn = [], []
    if result.images:
        places.append(number(result.images, 'image'))
        drawn.append('images')
    if result.frames:
        places.append(f'{number(result.frames, "frame")} of {number(result.videos, "video")}')
        drawn.append('videos')
    print(f'{number(result.objects, "object")} in {" and ".join(places)}; the drawn {" and ".join(drawn)} and '
          f'detections.json are in {result.folder}')  # fmt: skip
    return 0


def split_arguments(names: Sequence[str]) -> tuple[str | None, str, list[str]]:
    """Return config or None, checkpoint and sources.

    The first argument is a config if it ends in .py or names one that comes with mmcnn or another package. A missing
    file before a file of weights counts as a config, so that the error says that there is no such config.

    Raises:
        UsageError: no source is left.
    """
    first = names[0]
    own = first.removeprefix('configs/') in own_configs() or is_packaged(first)
    follows = not Path(first).exists() and names[1].endswith(WEIGHTS) and Path(names[1]).is_file()
    config, *others = names if first.endswith('.py') or own or follows else (None, *names)
    checkpoint, *sources = others
    if not sources and config is not None and not checkpoint.endswith(WEIGHTS):
        raise UsageError(f'CHECKPOINT is missing: name a file of weights between {config} and {checkpoint}')
    if not sources:
        raise UsageError(f'SOURCE is missing: name an image, a folder or a video after {checkpoint}')
    return config, checkpoint, sources
