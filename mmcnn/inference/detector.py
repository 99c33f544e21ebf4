"""A trained detector that is created and applied in one call each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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
from mmcnn.errors import CheckpointError
from mmcnn.inference.base_detector import BATCH_SIZE, BaseDetector, arrays_of, checked_score
from mmcnn.inference.detections import Detections
from mmcnn.inference.images import read_image
from mmcnn.inference.precision import dtype_called
from mmcnn.inference.score_threshold import boxes_from
from mmcnn.models.fuse import fuse
from mmcnn.models.mixed_precision import use_mixed_precision
from mmcnn.models.wiring import is_classifier, set_num_classes, wire
from mmcnn.weights.checkpoint import Checkpoint, classes_in
from mmcnn.weights.loading import load_state, load_weights
from mmcnn.weights.own_modules import import_modules
from mmcnn.weights.recorded_config import other_normalisation

__all__ = ['BATCH_SIZE', 'Detections', 'Detector', 'classes_of', 'read_image', 'test_pipeline']


class Detector(BaseDetector):
    """A detector with the weights, classes and test pipeline of a checkpoint, or with published weights.

    Examples: ``Detector('best.pth')('street.jpg').boxes``, ``Detector('yolov5s.pt')``, ``Detector('yolov4.weights')``.
    Config and classes come from the file unless they are given; :func:`~mmcnn.config.of_weights.config_of` lists the
    files for which this works. Weights have to fit exactly.

    Args:
        checkpoint: a file, opened or not: a checkpoint of mmcnn or of MMEngine's Runner, a converted file, or a file of
            another library.
        config: a config (its path, the name of a shipped one, or a loaded one) for the number of classes in the file;
            None: the one inside a checkpoint, otherwise the one of ours that fits the file.
        device: 'cpu', 'cuda', 'cuda:1' or 1, ...; None: a GPU if there is one.
        score_thr: detections with a lower score are dropped.
        classes: names of the classes for a file that does not hold them: a list, ``'cat,dog'``, or a text file with one
            name per line.
        say: takes a sentence about the origin of the settings, for a file without a config.
        imports: modules of your own that register what the checkpoint's config names, and that you trust.
        amp: mixed precision: 'bf16', 'fp16' (on a GPU), or 'auto' (the same as True): bf16 if the device has
            instructions for it, otherwise fp16 on a GPU and float32 on a CPU; None: float32.

    Attributes:
        classes: tuple of the class names.
        model: the network, with BatchNorm folded into the convolutions (:func:`mmcnn.fuse`). In mixed precision, call
            only the whole network; its parts would need autocast.
        num_parameters: number of parameters before the folding, without BatchNorm's statistics.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, no config is known for it, it does not fit the model,
            or its classes have no names.
        UsageError: the config, device, score, module or precision is invalid, or ``classes`` does not have as many
            names as the file has classes.
    """

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint,
        config: str | Path | Config | None = None,
        device: str | int | torch.device | None = None,
        score_thr: float = 0.25,
        classes: str | Path | Sequence[str] | None = None,
        say: Say = print,
        imports: Sequence[str] | None = None,
        amp: bool | str | None = None,
    ) -> None:
        import_modules(imports)
        self.score_thr = checked_score(score_thr)
        target = torch.device(get_device()) if device is None else device_called(device)
        dtype = dtype_called(amp, target, say)
        file = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
        named = class_names(classes) if classes is not None else ()
        if config is None:
            config, named = config_of(file, named or None, say)
        elif not isinstance(config, Config):
            config = load_config(config, say=say)
        if is_classifier(config.model):
            raise CheckpointError(
                f'{file.path} holds a classifier, which does not detect boxes; its backbone can initialize that of a '
                "detector: init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')"
            )
        self.classes = named or file.classes or classes_of({'meta': file.meta}, config, str(file.path))
        # The data preprocessor is a registered type as well, so the scope has to cover the whole construction.
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = wire(config.model)
            set_num_classes(model, len(self.classes))
            model.backbone.pop('init_cfg', None)  # the checkpoint has the weights
            if warning := other_normalisation(model.get('data_preprocessor'), {'meta': file.meta}, file.path):
                warnings.warn(warning.removeprefix('warning: '), stacklevel=2)
            network = MODELS.build(model)
            _load(network, file, say)
            file.release()
            self.pipeline = Compose(test_pipeline(config))
        self.num_parameters = sum(parameter.numel() for parameter in network.parameters())
        self.model = fuse(network.to(target))
        if dtype is not None:
            use_mixed_precision(self.model, dtype)

    def prepare(self, images: Sequence[object]) -> dict:
        """Return images as the network takes them: ``inputs`` (N, 3, H, W), normalised, and ``data_samples``."""
        return self._collated([self._fit(image) for image in arrays_of(images)])

    def _fit(self, image: np.ndarray) -> dict:
        return self.pipeline(
            dict(img=image, img_id=0, img_path=None, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        )

    def _collated(self, samples: Sequence[dict]) -> dict:
        return self.model.data_preprocessor(pseudo_collate(samples), False)

    def _detect_fitted(self, fitted: list[dict], given: Sequence[object]) -> list[Detections]:
        if not fitted:
            return []
        with torch.no_grad(), boxes_from(self.model, self.score_thr):
            results = self.model(**self._collated(fitted), mode='predict')
        found = [result.pred_instances for result in results]
        return [
            self._detections(*(part.cpu().numpy() for part in (of.bboxes.float(), of.scores.float(), of.labels)), each)
            for of, each in zip(found, given, strict=True)
        ]


def _load(network: nn.Module, file: Checkpoint, say: Say) -> None:
    """Load a whole file into a network, whichever library's names it has, and report what was adapted."""
    is_run = isinstance(file.meta.get('cfg'), str)
    if is_run and network.state_dict().keys() == file.state_dict.keys():
        load_state(network, file.state_dict, file.path)
        if file.notes:
            say(f'note: {file.path}: {"; ".join(file.notes)}')
        return
    report = load_weights(network, file)
    if report.absent:  # a network that was truncated for Darknet
        reasons = ', '.join(report.absent)
        raise CheckpointError(f'{file.path} holds only a part of the detector; it lacks everything {reasons}')
    if is_run:
        say(f'note: {file.path}: {report}')


@renamed_arguments(source='path')
def classes_of(checkpoint: dict, config: Config, path: str) -> tuple[str, ...]:
    """Return the class names of a checkpoint: those recorded by the run, otherwise those of the config's data set.

    Raises:
        CheckpointError: neither has them.
    """
    classes = classes_in(checkpoint.get('meta', {}))
    if not classes:
        dataset = config.get('test_dataloader', {}).get('dataset', {})
        classes = (dataset.get('metainfo') or {}).get('classes')
    if not classes:
        raise CheckpointError(
            f'{path} does not name its classes (meta.dataset_meta.classes): use classes=a,b,c or a file '
            'with one name per line (--classes FILE.names)'
        )
    return (classes,) if isinstance(classes, str) else tuple(classes)


def test_pipeline(config: Config) -> list[dict]:
    """Return the config's test pipeline for an image that is already in memory and has no annotations."""
    pipeline = config.test_dataloader.dataset.pipeline
    return [
        step for step in pipeline if step['type'].rpartition('.')[2] not in ('LoadImageFromFile', 'LoadAnnotations')
    ]
