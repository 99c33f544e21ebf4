from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from mmcnn.datasets.mosaic.plan import Source
from mmcnn.datasets.mosaic.render import Renderer


@pytest.fixture(autouse=True)
def _default_scope():
    """Find MMDetection's transforms by their plain names, whatever scope an earlier test has left."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def sample():
    """Return an image in memory with its annotations: ``sample(image, boxes, labels, ignore)``."""

    def make(image, boxes=(), labels=None, ignore=None):
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        labels = np.arange(len(boxes)) if labels is None else np.array(labels, np.int64)
        ignore = np.zeros(len(boxes), bool) if ignore is None else np.array(ignore, bool)
        return SimpleNamespace(image=image, boxes=boxes, labels=labels, ignore_flags=ignore)

    return make


@pytest.fixture(scope='session')
def plan_of():
    """Return the plan of a mosaic of samples: ``plan_of(transform, samples)``."""

    def plan(transform, samples):
        return transform.plan([
            Source(number, each.image.shape[1::-1], each.boxes, each.labels, each.ignore_flags)
            for number, each in enumerate(samples)
        ])  # fmt: skip

    return plan


@pytest.fixture(scope='session')
def mix(sample, plan_of):
    """Mix samples and render the result as a sample: ``mix(transform, samples)``. Images are read at reduced size."""
    render = Renderer()

    def read(image, reduction):
        size = [-(-side // reduction) for side in image.shape[1::-1]]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def mixed(transform, samples):
        plan = plan_of(transform, samples)
        image = render(plan, lambda tile, _: read(samples[tile.index].image, tile.reduction))
        return sample(image, plan.boxes, plan.labels, plan.ignore_flags)

    return mixed
