"""The registries of mmcnn: children of MMEngine's in the scope ``mmcnn``.

A type is written with its scope, ``dict(type='mmcnn.YOLOv4PAN')``, so that configs keep
``default_scope='mmdet'`` and MMDetection's own parts need no prefix. MMEngine imports this module when it finds the
prefix, and the ``locations`` when it looks up a name.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mmcnn import compat
from mmcnn.compat.moved import moved_names
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

compat.check()  # before the import of MMEngine, whose error does not say what to install

from mmengine import registry as mmengine_registry  # noqa: E402

if TYPE_CHECKING:
    from mmcnn.models.backbones.base import Backbone

    BackboneClass = TypeVar('BackboneClass', bound=type[Backbone])


class Registry(mmengine_registry.Registry):
    """MMEngine's registry with an error that lists similar names for an unknown one."""

    def get(self, key: str) -> Any:
        """Return the object registered under a name; KeyError lists similar names."""
        found = super().get(key)
        scope, name = self.split_scope_key(key)
        if found is None and scope in (None, self.scope):
            known = nearest(name, self.module_dict, prefix=f'{self.scope}.')
            raise KeyError(f"no {self.name} is called '{self.scope}.{name}'; {known}")
        return found


def _child(parent: mmengine_registry.Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='mmcnn', locations=[*locations])


# MMEngine's BACKBONES and NECKS are both this registry.
MODELS = _child(mmengine_registry.MODELS, 'mmcnn.models')
TASK_UTILS = _child(mmengine_registry.TASK_UTILS, 'mmcnn.models')
DATASETS = _child(mmengine_registry.DATASETS, 'mmcnn.datasets')
TRANSFORMS = _child(mmengine_registry.TRANSFORMS, 'mmcnn.datasets')
METRICS = _child(mmengine_registry.METRICS, 'mmcnn.evaluation')
HOOKS = _child(mmengine_registry.HOOKS, 'mmcnn.engine', 'mmcnn.recipes', 'mmcnn.datasets')
LOOPS = _child(mmengine_registry.LOOPS, 'mmcnn.engine')
VISBACKENDS = _child(mmengine_registry.VISBACKENDS, 'mmcnn.engine')
WEIGHT_INITIALIZERS = _child(mmengine_registry.WEIGHT_INITIALIZERS, 'mmcnn.weights.initializer')
OPTIM_WRAPPERS = _child(mmengine_registry.OPTIM_WRAPPERS, 'mmcnn.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS, 'mmcnn.recipes')

#: Short name of every variant -> class of its family, in order of registration.
BACKBONE_FAMILIES: dict[str, type[Backbone]] = {}

# MMEngine splits a type at its first dot, so it could never find a name with one.
_SHORT_NAME = re.compile(r'[a-z0-9]+([-_][a-z0-9]+)*')


def register_backbone(cls: BackboneClass) -> BackboneClass:
    """Register a backbone family and each row of its ``variants`` table under the row's short name.

    ``dict(type='mmcnn.CSPDarknet', variant='cspdarknet53')`` and ``dict(type='mmcnn.cspdarknet53')`` build the same.

    Raises:
        UsageError: a short name is malformed or taken.
    """
    MODELS.register_module(module=cls)
    for name in cls.variants:
        if not _SHORT_NAME.fullmatch(name):
            raise UsageError(f"{cls.__name__}: '{name}' is not a valid short name; it must match {_SHORT_NAME.pattern}")
        if name in BACKBONE_FAMILIES:
            raise UsageError(f"{cls.__name__}: '{name}' is already a variant of {BACKBONE_FAMILIES[name].__name__}")
        BACKBONE_FAMILIES[name] = cls
        MODELS.register_module(name=name, module=partial(cls, variant=name))
    return cls


__getattr__ = moved_names(__name__)
