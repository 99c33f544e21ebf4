"""The training loss of each validation image."""

from __future__ import annotations

import contextlib
import copy
import io
from pathlib import Path

import torch
from mmdet.registry import DATASETS
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmcnn.inference.detector import Detector


def losses_of_images(checkpoint: Path, dataset: ConfigDict, device: str | int | None = None) -> dict[int, float]:
    """Return the sum of a detector's training losses for each image by itself.

    The network is in evaluation mode and the images are prepared as for a validation, so the losses of a training, with
    its augmentation and its batches, are others. Samplers draw the same numbers for every image.

    Args:
        checkpoint: of a detector.
        dataset: config of a validation dataset in COCO format.
        device: 'cpu', 'cuda', 'cuda:N' or N; None: a GPU if there is one.

    Returns:
        image id -> loss.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """
    found = {}
    with torch.random.fork_rng(), torch.no_grad():
        model = Detector(checkpoint, device=device).model
        with DefaultScope.overwrite_default_scope('mmdet'), contextlib.redirect_stdout(io.StringIO()):
            # pycocotools prints what it does.
            samples = DATASETS.build(with_objects(dataset))
        for sample in samples:
            torch.manual_seed(0)
            batch = model.data_preprocessor(pseudo_collate([sample]), False)
            loss, _ = model.parse_losses(model(**batch, mode='loss'))
            found[sample['data_samples'].img_id] = float(loss)
    return found


def with_objects(dataset: ConfigDict) -> ConfigDict:
    """Return the config of a validation dataset whose objects lie where the prepared image has them.

    Test pipelines load the objects after they have resized the image, as metrics compare in the original image.
    """
    changed = copy.deepcopy(dataset)
    objects = [step for step in changed.pipeline if step['type'].endswith('LoadAnnotations')]
    load, *others = [step for step in changed.pipeline if step not in objects]
    # That of the pipeline: it also loads masks where the losses need them.
    changed.pipeline = [load, *(objects or [dict(type='LoadAnnotations', with_bbox=True)]), *others]
    return changed
