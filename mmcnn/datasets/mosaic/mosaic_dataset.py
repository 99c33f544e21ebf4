"""A data set of images that are mixed from several images of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS
from mmengine.structures import InstanceData

from mmcnn.datasets.mosaic.flat_annotations import FlatAnnotations
from mmcnn.datasets.mosaic.plan import Plan
from mmcnn.datasets.mosaic.render import Renderer, pack
from mmcnn.datasets.mosaic.shared_image_cache import SharedImageCache, cache_of_all
from mmcnn.datasets.mosaic.tile_reader import TileReader
from mmcnn.engine.collection import no_collection
from mmcnn.errors import DataError
from mmcnn.registry import DATASETS

if TYPE_CHECKING:
    from mmdet.structures import DetDataSample

_TRIES = 15


@DATASETS.register_module()
class MosaicDataset:
    """Mixes images of a data set: it plans first, then reads only what is visible and draws it onto the output.

    It replaces MMDetection's ``MultiImageMixDataset``, which copies every image several times. The inner data set
    provides only annotations; images are read here. Masks are not read: if the inner data set is MMDetection's
    ``CocoDataset``, its polygons are dropped while the file is parsed.

    All random numbers come from NumPy's global generator, so that a sample depends only on its state, not on the
    cache, the process or earlier samples.

    Args:
        dataset: Config of an MMDetection data set of boxes, without a ``pipeline``.
        pipeline: A mosaic (``mmcnn.MosaicAffine``, ``mmcnn.DarknetMosaic``); then transforms that change its plan
            (``mmcnn.RandomHSV``, ``mmcnn.DarknetHSV``). MMDetection's may follow: they get ``img``, ``img_shape``,
            ``gt_bboxes``, ``gt_bboxes_labels`` and ``gt_ignore_flags`` as from its loading transforms, and the last
            one must be its ``PackDetInputs``. Without them, the sample is packed here.
        cache_gb: Maximum size of the cache of decoded images on this machine, in 10^9 bytes; 0: no cache. None: a cache
            of all images if they need little memory, and no cache otherwise. See
            :mod:`~mmcnn.datasets.mosaic.shared_image_cache`.
        device_augmentation: Whether samples are packed for the model's ``mmcnn.PlanPreprocessor`` to draw, on the
            device and for the whole batch, instead of being drawn here.

    Raises:
        ValueError: The pipeline does not begin with a mosaic, or has transforms of images although the device draws; or
            the inner data set has a pipeline.
        DataError: An image has no size, or the cache cannot be allocated.
    """

    @no_collection()
    def __init__(
        self, dataset: dict, pipeline: list[dict], cache_gb: float | None = 0.0, device_augmentation: bool = False
    ) -> None:
        if dataset.get('pipeline'):
            raise ValueError('MosaicDataset reads the images itself: remove the pipeline of its inner dataset')
        from mmcnn.datasets.mosaic.boxes_only import (
            without_masks,
        )  # takes seconds, because it imports all of MMDetection

        self.dataset = MMDET_DATASETS.build(without_masks(dataset))
        self.dataset.full_init()
        self.pipeline = [MMDET_TRANSFORMS.build(step) for step in pipeline]
        if not self.pipeline or not hasattr(self.pipeline[0], 'plan'):
            raise ValueError('the pipeline of MosaicDataset must begin with mmcnn.MosaicAffine or mmcnn.DarknetMosaic')
        first_of_images = next(
            (i for i, step in enumerate(self.pipeline) if i and not hasattr(step, 'change')), len(self.pipeline)
        )
        self._changes, self._of_images = self.pipeline[1:first_of_images], self.pipeline[first_of_images:]
        if device_augmentation and self._of_images:
            raise ValueError(
                f'device_augmentation: {type(self._of_images[0]).__name__} needs the drawn image, which then only '
                'exists on the device; remove the transform, or turn device_augmentation off'
            )
        self.device_augmentation = device_augmentation
        self.annotations = FlatAnnotations(self.dataset)
        if cache_gb is None:
            cache = cache_of_all(self.annotations.sizes(), getattr(self.pipeline[0], 'reduction', lambda size: 1))
        else:
            cache = SharedImageCache(len(self.annotations), cache_gb) if cache_gb else None
        self.read = TileReader(self.annotations.path, cache, optional=cache_gb is None)
        self.render = Renderer()

    @property
    def metainfo(self) -> dict:
        """Metainfo of the inner data set."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Do nothing: the data set is complete when it is built."""

    def get_data_info(self, index: int) -> dict:
        """Return the annotations of an image, like the inner data set, without masks."""
        return self.dataset.get_data_info(index)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a training sample: ``inputs`` and ``data_samples``, as MMDetection's ``PackDetInputs`` makes them.

        ``inputs`` is a (3, H, W) uint8 BGR tensor, or the data from which the device draws
        (:func:`~mmcnn.datasets.mosaic.render.pack`). ``data_samples.metainfo`` has ``img_path`` of image ``index``
        and ``img_paths`` of all images in it.

        Raises:
            DataError: An image cannot be read; the message names it.
        """
        for _ in range(_TRIES):
            plan = self._plan(index)
            if self.device_augmentation:
                return dict(inputs=pack(plan, self.read), data_samples=self._packed(plan, index))
            image = self.render(plan, self.read)
            if not self._of_images:
                # A view: planes are made when the batch is stacked, on the device.
                inputs = torch.from_numpy(image).permute(2, 0, 1)
                return dict(inputs=inputs, data_samples=self._packed(plan, index))
            results = self._results(image, plan, index)
            for step in self._of_images:
                results = step(results)
                if results is None:
                    break
            else:
                return results
        raise DataError(f'the pipeline returned no sample for {self.annotations.path(index)} in {_TRIES} attempts')

    def _plan(self, index: int) -> Plan:
        mosaic = self.pipeline[0]
        partners = mosaic.partners(len(self))
        plan = mosaic.plan([self.annotations[each] for each in (index, *partners)])
        for step in self._changes:
            step.change(plan)
        return plan

    def _meta(self, plan: Plan, index: int) -> dict[str, Any]:
        return dict(
            img_id=self.annotations.image_id(index),
            img_path=self.annotations.path(index),
            img_paths=[self.annotations.path(each) for each in plan.sources()],
            ori_shape=self.annotations[index].size[::-1],
            img_shape=plan.size[::-1],
            flip=plan.flipped,
            flip_direction='horizontal' if plan.flipped else None,
        )

    def _results(self, image: np.ndarray, plan: Plan, index: int) -> dict[str, Any]:
        """Return a drawn plan like MMDetection's loading transforms."""
        from mmdet.structures.bbox import HorizontalBoxes  # takes a second, and not every program needs it

        return dict(
            img=image,
            gt_bboxes=HorizontalBoxes(plan.boxes, clone=False),
            gt_bboxes_labels=plan.labels,
            gt_ignore_flags=plan.ignore_flags,
            **self._meta(plan, index),
        )

    def _packed(self, plan: Plan, index: int) -> DetDataSample:
        """Return the annotations of a plan, like MMDetection's PackDetInputs."""
        from mmdet.structures import DetDataSample
        from mmdet.structures.bbox import HorizontalBoxes

        # Field by field: the constructors copy deeply and compare lengths, which takes longer than everything else
        # here.
        sample = DetDataSample()
        for name, value in self._meta(plan, index).items():
            sample.set_field(value, name, field_type='metainfo')
        ignored = plan.ignore_flags
        for name, chosen in (('gt_instances', ~ignored), ('ignored_instances', ignored)):
            instances = InstanceData()
            instances.set_field(HorizontalBoxes(torch.from_numpy(plan.boxes[chosen]), clone=False), 'bboxes')
            instances.set_field(torch.from_numpy(plan.labels[chosen]), 'labels')
            setattr(sample, name, instances)
        return sample
