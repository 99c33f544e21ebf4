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
#: Entries that MMEngine or mmcnn looks up in a registry, as are all with names that end in ``_type``.
TYPE_KEYS = ('type', 'detector', 'constructor')
#: Values of ``type`` that are not looked up in a registry: kinds of NMS and of RoI operator.
KINDS = (*NMS_KINDS, 'nms', 'RoIAlign')
#: Packages and modules whose types only work on tensors and images. MMDetection's trackers evaluate strings in their
#: config; its distilling detectors, language models, other data sets and some other metrics fetch and unpickle files;
#: its Cityscapes metric deletes a folder that its config names.
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
#: How to build a type of an unknown package.
_HOW = "if it is your own type, import the module that registers it: --import MODULE (imports=['MODULE'])"


class UnknownTypeError(CheckpointError):
    """A type that is not registered here, or belongs to a package that has not been imported.

    Attributes:
        scope: the first part of its dotted name, if that is not a known package; '' otherwise.
    """

    def __init__(self, message: str, where: str, scope: str = '') -> None:
        super().__init__(message)
        self.where = where
        self.scope = scope

    def with_imports(self, names: Sequence[str]) -> CheckpointError:
        """Return the same error with the modules that the run had imported, which are reported and not imported."""
        if self.scope and self.scope not in {name.partition('.')[0] for name in names}:
            return CheckpointError(str(self))  # nothing suggests that it is a package of types
        recorded = f'; its run had imported {", ".join(names)}, which is not imported unless asked for' if names else ''
        return CheckpointError(f'{self.where} names a type that is not registered; nothing was run; {_HOW}{recorded}')


def check_types(value: dict, node: ast.AST, path: str) -> dict:
    """Return a dict of a recorded config if everything in it that is looked up in a registry is harmless or trusted.

    Args:
        value: the dict.
        node: its node, for the line number.
        path: path of the file, for messages.

    Raises:
        CheckpointError: something in it is not; the message gives the entry and the line.
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
    where = f'the config inside {path} was rejected, line {node.lineno}: `{what[:80]}`'
    if scope and scope not in SCOPES:
        raise UnknownTypeError(str(refused(node, path, what)), where, scope.partition('.')[0])
    modules = _modules(name)
    if not modules:
        raise UnknownTypeError('', where)
    harmful = [each for each in sorted(modules) if not (f'{each}.'.startswith(_PREFIXES) or is_trusted(each))]
    own = [each for each in harmful if each.partition('.')[0] not in (*SCOPES, 'torch')]
    if own:
        raise CheckpointError(
            f'{where} is in the package {own[0]}, which is not trusted; nothing was run; to trust it, use '
            f"--import {own[0]} (imports=['{own[0]}'])"
        )
    if harmful:
        raise refused(node, path, what)


@cache
def _registries() -> tuple[mmengine.registry.Registry, ...]:
    """Return the registries of MMEngine, MMDetection and mmcnn, with everything that their packages register."""
    import mmdet.registry

    packages = (mmengine.registry, mmdet.registry, mmcnn.registry)
    found = [each for package in packages for each in vars(package).values()]
    registries = tuple(each for each in found if isinstance(each, mmengine.registry.Registry))
    for registry in registries:
        registry.import_from_location()
    return registries


def _modules(name: str) -> set[str]:
    """Return the modules of what a name refers to in the registries at present; empty if it is not registered."""
    registries = _registries()
    late_imports.load(name)
    parts = (registry.module_dict.get(name) for registry in registries)
    return {getattr(part, 'func', part).__module__ for part in parts if part is not None}


def refused(node: ast.AST, path: str, what: str = '') -> CheckpointError:
    """Return the error for a part of a recorded config that is more than data."""
    line = (what or ast.unparse(node)).splitlines()[0][:80]
    return CheckpointError(
        f'the config inside {path} was rejected, line {node.lineno}: `{line}` is not plain data and could run code; '
        'nothing was run. Give the config file instead'
    )
