"""A trained detector in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope

from mmcnn.errors import CheckpointError
from mmcnn.models.fuse import fuse
from mmcnn.models.wiring import is_classifier, set_num_classes, wire
from mmcnn.weights.checkpoint import read_checkpoint, state_dict_of
from mmcnn.weights.loading import load_state
from mmcnn.weights.recorded_config import recorded_config


class Detections(NamedTuple):
    """What was found in one image, best first, K boxes."""

    boxes: np.ndarray  # (K, 4) float32: x1, y1, x2, y2 in pixels of the image as given
    scores: np.ndarray  # (K,) float32 in [0, 1]
    labels: np.ndarray  # (K,) int64 index of the class
    names: list[str]  # of the K classes


class Detector:
    """A detector with the weights, classes and test pipeline of a checkpoint.

    ``Detector('best.pth')('street.jpg').boxes``. Config and classes come from the checkpoint unless a config is given.
    Weights have to fit exactly.

    Args:
        checkpoint: a .pth file that tools/train.py or MMEngine's Runner wrote.
        config: a config (its path, or loaded), for as many classes as the checkpoint has; None: the one inside the
            checkpoint.
        device: 'cpu', 'cuda', 'cuda:1', ...; None: a GPU where there is one.
        score_thr: detections below it are left out.

    Attributes:
        classes: tuple of the class names.
        model: the network, with BatchNorm folded into the convolutions (:func:`mmcnn.fuse`).
        num_parameters: of the network before the folding, without BatchNorm's statistics.

    Raises:
        CheckpointError: the file is missing, broken or unsafe, holds no config, or does not fit the model.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: str | Path | Config | None = None,
        device: str | None = None,
        score_thr: float = 0.25,
    ) -> None:
        content = read_checkpoint(checkpoint)
        if config is None:
            config = recorded_config(content, str(checkpoint))
        elif not isinstance(config, Config):
            config = Config.fromfile(config)
        if is_classifier(config.model):
            raise CheckpointError(
                f'{checkpoint} holds a classifier, which finds no boxes; its backbone can start that of a detector: '
                "init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')"
            )
        self.score_thr = score_thr
        self.classes = classes_of(content, config, str(checkpoint))
        # The data preprocessor is a registered type too, so the scope has to hold while anything is built.
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = wire(config.model)
            set_num_classes(model, len(self.classes))
            model.backbone.init_cfg = None  # the checkpoint has the weights
            network = MODELS.build(model)
            load_state(network, state_dict_of(content), source=str(checkpoint))
            self.pipeline = Compose(test_pipeline(config))
        self.num_parameters = sum(parameter.numel() for parameter in network.parameters())
        self.model = fuse(network).to(device or get_device())

    def __call__(self, image: str | Path | np.ndarray) -> Detections:
        """Detects in one image.

        Args:
            image: a file, or (H, W, 3) uint8 in BGR order as OpenCV reads it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no image, or an array of another shape or type.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[str | Path | np.ndarray]) -> list[Detections]:
        """Detects in several images at once; see :meth:`__call__`."""
        with torch.no_grad():
            results = self.model(**self.prepare(images), mode='predict')
        return [self._detections(result.pred_instances) for result in results]

    def prepare(self, images: Sequence[str | Path | np.ndarray]) -> dict:
        """Images as the network takes them: ``inputs`` (N, 3, H, W), normalised, and ``data_samples``."""
        samples = [self.pipeline(self._loaded(image)) for image in images]
        return self.model.data_preprocessor(pseudo_collate(samples), False)

    @staticmethod
    def _loaded(image: str | Path | np.ndarray) -> dict:
        if not isinstance(image, np.ndarray):
            image = read_image(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f'an image is (H, W, 3) of uint8 in BGR order, got {image.shape} of {image.dtype}')
        return dict(img=image, img_id=0, img_path=None, img_shape=image.shape[:2], ori_shape=image.shape[:2])

    def _detections(self, found: object) -> Detections:
        sure = found.scores >= self.score_thr
        labels = found.labels[sure].cpu().numpy()
        return Detections(
            found.bboxes[sure].float().cpu().numpy(),
            found.scores[sure].float().cpu().numpy(),
            labels,
            [self.classes[label] for label in labels],
        )


def read_image(path: str | Path) -> np.ndarray:
    """A picture file as (H, W, 3) uint8 in BGR order, turned upright by its EXIF orientation.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture that OpenCV can read.
    """
    import cv2

    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no image {path}')
    # Not cv2.imread: it cannot open non-ASCII names everywhere.
    image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR) if Path(path).stat().st_size else None
    if image is None:
        raise ValueError(f'{path} is no image that OpenCV can read')
    return image


def classes_of(checkpoint: dict, config: Config, source: str) -> tuple[str, ...]:
    """Class names of a checkpoint: as recorded by the run, else those of the config's data set.

    Raises:
        CheckpointError: neither knows them.
    """
    recorded = checkpoint.get('meta', {}).get('dataset_meta') or {}
    classes = recorded.get('classes') or recorded.get('CLASSES')
    if not classes:
        dataset = config.get('test_dataloader', {}).get('dataset', {})
        classes = (dataset.get('metainfo') or {}).get('classes')
    if not classes:
        raise CheckpointError(f'{source} does not say what its classes are (meta.dataset_meta.classes)')
    return (classes,) if isinstance(classes, str) else tuple(classes)


def test_pipeline(config: Config) -> list[dict]:
    """The config's test pipeline for an image that is already in memory and has no annotations."""
    pipeline = config.test_dataloader.dataset.pipeline
    return [
        step for step in pipeline if step['type'].rpartition('.')[2] not in ('LoadImageFromFile', 'LoadAnnotations')
    ]
