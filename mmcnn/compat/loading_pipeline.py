"""Makes MMDetection's tools accept trainings without loading transforms, which our mosaics do not need.

``analyze_results`` shows test images as the training loads them. ``get_loading_pipeline`` of mmdet 3.3.0 takes these
transforms from the training's pipeline, and fails with an AssertionError if there are not exactly two of them.
``mmcnn.MosaicDataset`` reads images and boxes itself.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

#: Transforms that read the same images and boxes.
LOADING = (dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True))


def install() -> None:
    """Replace MMDetection's ``get_loading_pipeline`` where it is looked up, once; its module has been imported.

    Does nothing while the module is being imported: then mmcnn is imported by ``mmcv/_ext.py``
    (:mod:`mmcnn.compat.extension_file`), for a program that already holds the original.
    """
    utils = sys.modules['mmdet.datasets.utils']
    original = getattr(utils, 'get_loading_pipeline', None)
    if original is None or hasattr(original, 'knows_mosaics'):
        return

    @functools.wraps(original)
    def get_loading_pipeline(pipeline: list[dict]) -> list[dict]:
        if pipeline and _draws(pipeline[0]):
            return [dict(step) for step in LOADING]
        return original(pipeline)

    get_loading_pipeline.knows_mosaics = True
    for module in (utils, sys.modules.get('mmdet.datasets')):
        if hasattr(module, 'get_loading_pipeline'):
            module.get_loading_pipeline = get_loading_pipeline


def _draws(step: Any) -> bool:
    """Return whether a transform is one of our mosaics, which plan an image before anything is read."""
    from mmdet.registry import TRANSFORMS

    return hasattr(TRANSFORMS.get(step['type']), 'plan')
