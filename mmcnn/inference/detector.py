"""A trained detector in one call."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.compat.moved import renamed_arguments
from mmcnn.config.class_names import class_names
from mmcnn.config.load import Say, load_config
from mmcnn.config.of_weights import config_of
from mmcnn.device import device_called
from mmcnn.errors import CheckpointError, DataError, UsageError
from mmcnn.inference.detections import Detections
from mmcnn.inference.images import as_image, read_image
from mmcnn.inference.sources import DetectedFrame, Sources, find_sources
from mmcnn.models.fuse import fuse
from mmcnn.models.wiring import is_classifier, set_num_classes, wire
from mmcnn.nearest import as_share
from mmcnn.weights.checkpoint import Checkpoint, classes_in
from mmcnn.weights.loading import load_state, load_weights
from mmcnn.weights.recorded_config import other_normalisation

__all__ = ['BATCH_SIZE', 'Detections', 'Detector', 'classes_of', 'read_image', 'test_pipeline']

#: Images of a list that go through the network at once.
BATCH_SIZE = 8


class Detector:
    """A detector with the weights, classes and test pipeline of a checkpoint, or of published weights.

    ``Detector('best.pth')('street.jpg').boxes``, ``Detector('yolov5s.pt')``, ``Detector('yolov4.weights')``. Config and
    classes come from the file unless they are given; :func:`~mmcnn.config.of_weights.config_of` says of which files.
    Weights have to fit exactly.

    Args:
        checkpoint: a file, opened or not: of a run of mmcnn or MMEngine's Runner, a conversion, or of another library.
        config: a config (its path, the name of one that comes with mmcnn, or loaded), for as many classes as
            the file has; None: the one inside a checkpoint, else the one of ours that holds the file.
        device: 'cpu', 'cuda', 'cuda:1' or 1, ...; None: a GPU where there is one.
        score_thr: detections below it are left out.
        classes: names of the classes of a file that does not say them: a list, ``'cat,dog'``, or a file with one on
            each line.
        say: takes a sentence about what was taken from where, where a file has no config inside.

    Attributes:
        classes: tuple of the class names.
        model: the network, with BatchNorm folded into the convolutions (:func:`mmcnn.fuse`).
        num_parameters: of the network before the folding, without BatchNorm's statistics.

    Raises:
        CheckpointError: the file is missing, broken or unsafe, no config is known for it, it does not fit the model, or
            nothing says what its classes are called.
        UsageError: there is no such config, device or score, or ``classes`` are not as many as the file has.
    """

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint,
        config: str | Path | Config | None = None,
        device: str | int | torch.device | None = None,
        score_thr: float = 0.25,
        classes: str | Path | Sequence[str] | None = None,
        say: Say = print,
    ) -> None:
        if not 0 <= score_thr <= 1:
            raise UsageError(f'score_thr={score_thr}: the value must be between 0 and 1{as_share(score_thr)}')
        target = get_device() if device is None else device_called(device)
        file = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
        named = class_names(classes) if classes is not None else ()
        if config is None:
            config, named = config_of(file, named or None, say)
        elif not isinstance(config, Config):
            config = load_config(config, say=say)
        if is_classifier(config.model):
            raise CheckpointError(
                f'{file.path} holds a classifier, which finds no boxes; its backbone can start that of a detector: '
                "init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')"
            )
        self.score_thr = score_thr
        self.classes = named or file.classes or classes_of({'meta': file.meta}, config, str(file.path))
        # The data preprocessor is a registered type too, so the scope has to hold while anything is built.
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = wire(config.model)
            set_num_classes(model, len(self.classes))
            model.backbone.init_cfg = None  # the checkpoint has the weights
            if warning := other_normalisation(model.get('data_preprocessor'), {'meta': file.meta}, file.path):
                warnings.warn(warning.removeprefix('warning: '), stacklevel=2)
            network = MODELS.build(model)
            _load(network, file, say)
            file.release()
            self.pipeline = Compose(test_pipeline(config))
        self.num_parameters = sum(parameter.numel() for parameter in network.parameters())
        self.model = fuse(network).to(target)

    def __call__(self, image: object) -> Detections | list[Detections]:
        """Detects in one image, or in each of a list.

        ``detector('street.jpg')``, ``detector(cv2.imread('street.jpg'))``, ``detector(['a.jpg', 'b.jpg'])``. NumPy
        arrays are (H, W, 3) in BGR order, as OpenCV reads them; PyTorch tensors are (3, H, W) in RGB order and PIL
        images in whatever order their mode says, as those libraries have them.

        Args:
            image: a path, an array, a PIL image, a tensor, the bytes of an image file, or a list or tuple of these.
                :func:`mmcnn.inference.images.as_image` says which arrays are converted: grey ones, with alpha, with the
                channels first, of floats from 0 to 1, of 16 bits ...

        Returns:
            the detections; of a list, a list of them in the same order, :data:`BATCH_SIZE` images at once.

        Raises:
            UsageError: it is nothing of these, or an array that is no image; the message says what would be right.
            DataError: a file that cannot be read; also a FileNotFoundError where there is no such file.
        """
        if not isinstance(image, list | tuple):
            return self._detect([as_image(image)], [image])[0]
        found = []
        for start in range(0, len(image), BATCH_SIZE):
            some = image[start : start + BATCH_SIZE]
            found += self._detect(_arrays(some, start), some)
        return found

    def batch(self, images: Sequence[object]) -> list[Detections]:
        """Detects in several images, all at once; see :meth:`__call__`."""
        return self._detect(_arrays(images), images)

    def stream(
        self,
        source: str | os.PathLike | int | Sequence[str | os.PathLike | int] | Sources,
        batch_size: int = 1,
        max_frames: int | None = None,
        on_skip: Callable[[DataError], None] | None = None,
    ) -> Iterator[DetectedFrame]:
        """Detects in all images of a folder, a video or a camera, one after the other.

        ``for frame in detector.stream('clip.mp4'): print(frame.time, frame.found)``. No more than ``batch_size`` images
        are in memory. The video or camera is released when the generator is exhausted or closed.

        Args:
            source: a folder, a pattern such as ``'day*/*.jpg'``, an image or video file, the number of a camera, or a
                list of these; see :func:`mmcnn.inference.sources.find_sources`. Videos are turned upright.
            batch_size: images that go through the network at once.
            max_frames: frames that are read of each video and camera at most; None: all.
            on_skip: is told of each file that cannot be read, and of each video that ends early because it is damaged;
                None: a warning is given. The stream goes on with the next file.

        Yields:
            for each image or frame the detections (``found``), the ``image`` (H, W, 3) uint8 BGR, and where it comes
            from (``path``, ``index``, ``time`` in seconds).

        Raises:
            UsageError: at once: the source does not exist or holds no images, or a number is below 1; at the first
                frame: there is no such camera.
            DataError: no file could be read at all.
        """
        for name, value in (('batch_size', batch_size), ('max_frames', max_frames)):
            if value is not None and value < 1:
                raise UsageError(f'{name}={value}: the value must be at least 1')
        sources = source if isinstance(source, Sources) else find_sources(source)
        return self._stream(sources, batch_size, max_frames, on_skip or _warn)

    def _stream(
        self, sources: Sources, batch_size: int, max_frames: int | None, on_skip: Callable[[DataError], None]
    ) -> Iterator[DetectedFrame]:
        with contextlib.closing(sources.read(on_skip, max_frames)) as frames:
            while batch := list(itertools.islice(frames, batch_size)):
                files = [None if frame.source.is_video else frame.path for frame in batch]
                for frame, found in zip(batch, self._detect([frame.image for frame in batch], files), strict=True):
                    yield DetectedFrame(frame.source, frame.image, frame.index, frame.time, frame.fps, found=found)

    def prepare(self, images: Sequence[object]) -> dict:
        """Images as the network takes them: ``inputs`` (N, 3, H, W), normalised, and ``data_samples``."""
        samples = [
            dict(img=image, img_id=0, img_path=None, img_shape=image.shape[:2], ori_shape=image.shape[:2])
            for image in _arrays(images)
        ]
        return self.model.data_preprocessor(pseudo_collate([self.pipeline(sample) for sample in samples]), False)

    def _detect(self, arrays: list[np.ndarray], given: Sequence[object]) -> list[Detections]:
        """Detections in images (H, W, 3) uint8 BGR, which were given as paths or anything else."""
        if not arrays:
            return []
        with torch.no_grad():
            results = self.model(**self.prepare(arrays), mode='predict')
        return [
            self._detections(result.pred_instances, Path(each) if isinstance(each, str | os.PathLike) else None)
            for result, each in zip(results, given, strict=True)
        ]

    def _detections(self, found: object, path: Path | None) -> Detections:
        # What a network that has just begun places outside of the image has no area once it is clipped.
        sure = (found.scores >= self.score_thr) & (found.bboxes[:, 2:] > found.bboxes[:, :2]).all(dim=1)
        labels = found.labels[sure].cpu().numpy()
        return Detections(
            found.bboxes[sure].float().cpu().numpy(),
            found.scores[sure].float().cpu().numpy(),
            labels,
            [self.classes[label] for label in labels],
            path,
        )


def _load(network: nn.Module, file: Checkpoint, say: Say) -> None:
    """All of a file into a network, under the names of whatever library it is of; says what was read otherwise."""
    is_run = isinstance(file.meta.get('cfg'), str)
    if is_run and network.state_dict().keys() == file.state_dict.keys():
        load_state(network, file.state_dict, file.path)
        if file.notes:
            say(f'note: {file.path}: {"; ".join(file.notes)}')
        return
    report = load_weights(network, file)
    if report.absent:  # of a network that Darknet cut off
        reasons = ', '.join(report.absent)
        raise CheckpointError(f'{file.path} holds a part of the detector only; what is {reasons} is not in it')
    if is_run:
        say(f'note: {file.path}: {report}')


def _arrays(images: Sequence[object], first: int = 0) -> list[np.ndarray]:
    return [as_image(image, f'images[{number}]') for number, image in enumerate(images, start=first)]


def _warn(error: DataError) -> None:
    warnings.warn(f'left out: {error}', stacklevel=2)


@renamed_arguments(source='path')
def classes_of(checkpoint: dict, config: Config, path: str) -> tuple[str, ...]:
    """Class names of a checkpoint: as recorded by the run, else those of the config's data set.

    Raises:
        CheckpointError: neither knows them.
    """
    classes = classes_in(checkpoint.get('meta', {}))
    if not classes:
        dataset = config.get('test_dataloader', {}).get('dataset', {})
        classes = (dataset.get('metainfo') or {}).get('classes')
    if not classes:
        raise CheckpointError(
            f'{path} does not say what its classes are (meta.dataset_meta.classes): name them, classes=a,b,c or a file '
            'with a name on each line (--classes FILE.names)'
        )
    return (classes,) if isinstance(classes, str) else tuple(classes)


def test_pipeline(config: Config) -> list[dict]:
    """The config's test pipeline for an image that is already in memory and has no annotations."""
    pipeline = config.test_dataloader.dataset.pipeline
    return [
        step for step in pipeline if step['type'].rpartition('.')[2] not in ('LoadImageFromFile', 'LoadAnnotations')
    ]
