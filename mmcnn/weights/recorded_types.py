"""The types that a recorded config may build: parts that are known to be harmless, and those of trusted packages."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache

import mmengine.registry
import mmengine.runner

import mmcnn.registry
from mmcnn.compat import late_imports
from mmcnn.errors import CheckpointError
from mmcnn.ops import NMS_KINDS
from mmcnn.weights.own_modules import is_trusted

#: Scopes whose registries a recorded config may build from.
SCOPES = ('mmengine', 'mmcv', 'mmdet', 'mmcnn')
#: Entries that MMEngine or mmcnn looks up in a registry; so are all whose names end in ``_type``.
TYPE_KEYS = ('type', 'detector', 'constructor')
#: Values of ``type`` that are looked up elsewhere: kinds of NMS and of RoI operator.
KINDS = (*NMS_KINDS, 'nms', 'RoIAlign')
#: Packages and modules whose types work on tensors and images and do no more. MMDetection's trackers evaluate strings
#: of their config, its distilling detectors, language models and other data sets fetch and unpickle files, as do some
#: of its other metrics; that of Cityscapes deletes a folder which its config names.
HARMLESS = (
    'mmcnn',
    'torch',
    'mmcv.cnn.bricks',
    'mmcv.ops',
    'mmcv.transforms',
    'mmengine.dataset',
    'mmengine.evaluator.evaluator',
    'mmengine.hooks',
    'mmengine.model',
    'mmengine.optim',
    'mmengine.runner.log_processor',
    'mmengine.runner.loops',
    'mmengine.utils.dl_utils.parrots_wrapper',
    'mmengine.visualization',
    'mmdet.datasets.coco',
    'mmdet.datasets.dataset_wrappers',
    'mmdet.datasets.samplers',
    'mmdet.datasets.transforms.colorspace',
    'mmdet.datasets.transforms.formatting',
    'mmdet.datasets.transforms.geometric',
    'mmdet.datasets.transforms.loading',
    'mmdet.datasets.transforms.transforms',
    'mmdet.datasets.transforms.wrappers',
    'mmdet.datasets.voc',
    'mmdet.engine.hooks',
    'mmdet.engine.schedulers',
    *(f'mmdet.evaluation.metrics.{name}_metric' for name in ('coco', 'lvis', 'openimages', 'voc')),
    'mmdet.models.backbones',
    'mmdet.models.data_preprocessors',
    'mmdet.models.dense_heads',
    *(
        f'mmdet.models.detectors.{name}'
        for name in ('atss', 'cascade_rcnn', 'faster_rcnn', 'fcos', 'gfl', 'retinanet', 'rtmdet')
    ),
    *(f'mmdet.models.detectors.{name}' for name in ('single_stage', 'two_stage', 'yolo', 'yolof', 'yolox')),
    'mmdet.models.layers',
    'mmdet.models.losses',
    'mmdet.models.necks',
    'mmdet.models.roi_heads',
    'mmdet.models.task_modules.assigners',
    'mmdet.models.task_modules.coders',
    'mmdet.models.task_modules.prior_generators',
    'mmdet.models.task_modules.samplers',
    'mmdet.models.test_time_augs',
    'mmdet.visualization',
)
_PREFIXES = tuple(f'{each}.' for each in HARMLESS)
#: How a type of a package that is not known gets to be built.
_HOW = "if it is your own, import the module that registers it: --import MODULE (imports=['MODULE'])"


class UnknownTypeError(CheckpointError):
    """A type that is not registered here, or belongs to a package that has not been imported.

    Attributes:
        scope: what its dotted name begins with, where that is the name of no package that is known; '': it is not.
    """

    def __init__(self, message: str, where: str, scope: str = '') -> None:
        super().__init__(message)
        self.where = where
        self.scope = scope

    def with_imports(self, names: Sequence[str]) -> CheckpointError:
        """Return the same, where the run had imported these modules, which is told and not done."""
        if self.scope and self.scope not in {name.partition('.')[0] for name in names}:
            return CheckpointError(str(self))  # nothing says that it is a package of types
        recorded = f'; its run had imported {", ".join(names)}, which is not done unasked' if names else ''
        return CheckpointError(f'{self.where} names a type that is not registered; nothing was run; {_HOW}{recorded}')


def check_types(value: dict, node: ast.AST, path: str) -> dict:
    """Return a dict of a recorded config, if all that it would have looked up in a registry is harmless or trusted.

    Args:
        value: the dict.
        node: of it, for the line.
        path: of the file, for messages.

    Raises:
        CheckpointError: it is not; names the entry and the line.
    """
    for key, kind in value.items():
        is_type = key in TYPE_KEYS or str(key).endswith('_type')
        if is_type and isinstance(kind, str) and kind not in KINDS:
            _check_type(key, kind, node, path)
    if value.get('proposal_file'):  # MMDetection unpickles it
        raise refused(node, path, f'proposal_file={value["proposal_file"]!r}')
    return value


def _check_type(key: str, kind: str, node: ast.AST, path: str) -> None:
    scope, _, name = kind.rpartition('.')
    if scope and is_trusted(scope):
        return
    what = f'{key}={kind!r}'
    where = f'the config inside {path} is refused, line {node.lineno}: `{what[:80]}`'
    if scope and scope not in SCOPES:
        raise UnknownTypeError(str(refused(node, path, what)), where, scope.partition('.')[0])
    modules = _modules(name)
    if not modules:
        raise UnknownTypeError('', where)
    harmful = [each for each in sorted(modules) if not (f'{each}.'.startswith(_PREFIXES) or is_trusted(each))]
    own = [each for each in harmful if each.partition('.')[0] not in (*SCOPES, 'torch')]
    if own:
        raise CheckpointError(
            f'{where} is of {own[0]}, which nobody has said to trust; nothing was run; if you do: --import {own[0]} '
            f"(imports=['{own[0]}'])"
        )
    if harmful:
        raise refused(node, path, what)


@cache
def _registries() -> tuple[mmengine.registry.Registry, ...]:
    """Those of MMEngine, MMDetection and mmcnn, with all that their packages register."""
    import mmdet.registry

    packages = (mmengine.registry, mmdet.registry, mmcnn.registry)
    found = [each for package in packages for each in vars(package).values()]
    registries = tuple(each for each in found if isinstance(each, mmengine.registry.Registry))
    for registry in registries:
        registry.import_from_location()
    return registries


def _modules(name: str) -> set[str]:
    """Return the modules of what a name stands for in the registries as they are now; empty: it is not registered."""
    registries = _registries()
    late_imports.load(name)
    parts = (registry.module_dict.get(name) for registry in registries)
    return {getattr(part, 'func', part).__module__ for part in parts if part is not None}


def refused(node: ast.AST, path: str, what: str = '') -> CheckpointError:
    """Return the refusal of a part of a recorded config that is more than data."""
    line = (what or ast.unparse(node)).splitlines()[0][:80]
    return CheckpointError(
        f'the config inside {path} is refused, line {node.lineno}: `{line}` is not plain data and could run code; '
        'nothing was run. Name the config file instead'
    )
