"""Registries of mmcnn: children of MMEngine's, under the scope ``mmcnn``.

A type is written with its scope, ``dict(type='mmcnn.YOLOv4PAN')``, so that configs keep
``default_scope='mmdet'`` and MMDetection's own parts go by their bare names. MMEngine imports this module by
itself when it meets the prefix, and the ``locations`` when it looks something up.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry as MMEngineRegistry

from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

if TYPE_CHECKING:
    from mmcnn.models.backbones.base import Backbone

    BackboneClass = TypeVar('BackboneClass', bound=type[Backbone])


class Registry(MMEngineRegistry):
    """MMEngine's registry, with an error that lists the nearest names for one that it does not hold."""

    def get(self, key: str) -> Any:
        found = super().get(key)
        scope, name = self.split_scope_key(key)
        if found is None and scope in (None, self.scope):
            known = nearest(name, self.module_dict, prefix=f'{self.scope}.')
            raise KeyError(f"no {self.name} is called '{self.scope}.{name}'; {known}")
        return found


def _child(parent: MMEngineRegistry, location: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='mmcnn', locations=[location])


# MMEngine's BACKBONES and NECKS are this one registry.
MODELS = _child(MMENGINE_MODELS, 'mmcnn.models')
TASK_UTILS = _child(MMENGINE_TASK_UTILS, 'mmcnn.models')
DATASETS = _child(MMENGINE_DATASETS, 'mmcnn.datasets')
TRANSFORMS = _child(MMENGINE_TRANSFORMS, 'mmcnn.datasets')
METRICS = _child(MMENGINE_METRICS, 'mmcnn.evaluation')
HOOKS = _child(MMENGINE_HOOKS, 'mmcnn.engine')
LOOPS = _child(MMENGINE_LOOPS, 'mmcnn.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'mmcnn.engine')

#: Short name of every variant -> its family's class, in order of registration.
BACKBONE_FAMILIES: dict[str, type[Backbone]] = {}

# MMEngine splits a type at its first dot, so a name with one could never be found.
_SHORT_NAME = re.compile(r'[a-z0-9]+([-_][a-z0-9]+)*')


def backbone_families() -> dict[str, type[Backbone]]:
    """Short name of every variant to its family's class, all registered."""
    import mmcnn.models.backbones  # noqa: F401  registers them

    return BACKBONE_FAMILIES


def register_backbone(cls: BackboneClass) -> BackboneClass:
    """Registers a backbone family and each row of its ``variants`` table under the row's short name.

    ``dict(type='mmcnn.CSPDarknet', variant='cspdarknet53')`` and ``dict(type='mmcnn.cspdarknet53')`` build the same.

    Raises:
        UsageError: a short name is malformed or taken.
    """
    MODELS.register_module(module=cls)
    for name in cls.variants:
        if not _SHORT_NAME.fullmatch(name):
            raise UsageError(f"{cls.__name__}: '{name}' is no short name; it has to match {_SHORT_NAME.pattern}")
        if name in BACKBONE_FAMILIES:
            raise UsageError(f"{cls.__name__}: '{name}' is already a row of {BACKBONE_FAMILIES[name].__name__}")
        BACKBONE_FAMILIES[name] = cls
        MODELS.register_module(name=name, module=partial(cls, variant=name))
    return cls
