"""Packing of a pipeline's results for a classifier."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement

from mmcnn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackClassifierInputs(BaseTransform):
    """Packs an image and its label for :class:`~mmcnn.models.classifiers.Classifier`.

    Args:
        meta_keys: Entries to include in the sample's metainfo, if they exist.
    """

    def __init__(self, meta_keys: tuple[str, ...] = ('img_path', 'ori_shape', 'img_shape')) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Return ``dict(inputs, data_samples)``: the BGR image, (3, H, W) uint8, and a sample with ``gt_label``."""
        sample = BaseDataElement(metainfo={key: results[key] for key in self.meta_keys if key in results})
        if 'gt_label' in results:
            sample.set_data(dict(gt_label=int(results['gt_label'])))
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
