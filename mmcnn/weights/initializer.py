"""``init_cfg=dict(type='Pretrained', ...)`` of our backbones."""

from __future__ import annotations

import inspect
import os
from typing import Any

from mmengine.logging import print_log

from mmcnn.errors import CheckpointError
from mmcnn.models.backbones import Backbone
from mmcnn.nearest import nearest
from mmcnn.registry import WEIGHT_INITIALIZERS
from mmcnn.weights.loading import load_weights


@WEIGHT_INITIALIZERS.register_module()
class Pretrained:
    """Loads weights into a backbone, completely or not at all, and logs the result.

    A backbone uses it if its ``init_cfg`` is of MMEngine's type 'Pretrained'.

    Args:
        checkpoint: a path, an https address, a name of the catalog (``mmcnn://resnet50-tv/torchvision-v1``), or
            ``torchvision://resnet50`` and ``open-mmlab://darknet53``, in any of the formats that
            :func:`~mmcnn.weights.loading.load_weights` reads.
        **settings: further arguments of ``load_weights`` (``prefix``, ``source``, ``adapt_input``).
    """

    def __init__(self, checkpoint: str | os.PathLike | None = None, **settings: Any) -> None:
        self.checkpoint = checkpoint
        self.settings = settings

    def __call__(self, module: Backbone) -> None:
        """Load the weights; raise CheckpointError if they do not fit, or for an unknown setting."""
        known = {'checkpoint', *inspect.signature(load_weights).parameters} - {'model', 'path'}
        for name in self.settings:
            if name not in known:
                raise CheckpointError(f"init_cfg of {module.variant}: unknown setting '{name}'; {nearest(name, known)}")
        if not isinstance(self.checkpoint, str | os.PathLike):
            raise CheckpointError(f"init_cfg of {module.variant}: 'Pretrained' needs checkpoint=, a path or an address")
        report = load_weights(module, self.checkpoint, **self.settings)
        print_log(f'{module.variant}: {report}', logger='current')
