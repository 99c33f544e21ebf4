"""Where everything went that stood elsewhere up to release 0.1: kept for one release, with a warning.

The finder (:mod:`mmcnn.compat.finder`) makes a module of each of :data:`MODULES` when it is imported. A module of
:data:`NAMES` is still there and says ``__getattr__ = moved_names(__name__)``.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: A module, or ``module:name`` where the name is another now.
Place = str

#: Module that is gone -> the module that holds all its names, or the place of each.
MODULES: dict[str, Place | dict[str, Place]] = {
    'mmcnn.cli.batches': 'mmcnn.runs.batches',
    'mmcnn.cli.data': 'mmcnn.runs.data',
    'mmcnn.cli.device': 'mmcnn.runs.device',
    'mmcnn.cli.img_size': 'mmcnn.runs.img_size',
    'mmcnn.cli.model': 'mmcnn.config.model',
    'mmcnn.cli.training': 'mmcnn.runs.training',
    'mmcnn.comparison': 'mmcnn.compare.comparison',
    'mmcnn.comparison_table': 'mmcnn.compare.table',
    'mmcnn.conversion': 'mmcnn.weights.convert',
    'mmcnn.data_picture': 'mmcnn.plots.data',
    'mmcnn.datasets.seeded_dataset': 'mmcnn.engine.seeded_dataset',
    'mmcnn.detector': {
        'Detections': 'mmcnn.inference.detections',
        'Detector': 'mmcnn.inference.detector',
        'classes_of': 'mmcnn.inference.detector',
        'read_image': 'mmcnn.inference.images',
        'test_pipeline': 'mmcnn.inference.detector',
    },
    'mmcnn.engine.hooks': {
        'AtomicCheckpointHook': 'mmcnn.engine.atomic_checkpoint_hook',
        'CloseMosaicHook': 'mmcnn.datasets.close_mosaic_hook',
        'StepEMAHook': 'mmcnn.recipes.step_ema_hook',
        **dict.fromkeys(('ScheduleHook', 'lr_factor', 'warmup_iters', 'warmup_value'), 'mmcnn.recipes.schedule_hook'),
    },
    'mmcnn.engine.hooks.atomic_checkpoint_hook': 'mmcnn.engine.atomic_checkpoint_hook',
    'mmcnn.engine.hooks.close_mosaic_hook': 'mmcnn.datasets.close_mosaic_hook',
    'mmcnn.engine.hooks.schedule_hook': 'mmcnn.recipes.schedule_hook',
    'mmcnn.engine.hooks.step_ema_hook': 'mmcnn.recipes.step_ema_hook',
    'mmcnn.engine.loops': 'mmcnn.engine.resumable_train_loop',
    'mmcnn.engine.loops.resumable_train_loop': 'mmcnn.engine.resumable_train_loop',
    'mmcnn.engine.optimizers': 'mmcnn.recipes.yolo_optim_constructor',
    'mmcnn.engine.optimizers.yolo_optim_constructor': 'mmcnn.recipes.yolo_optim_constructor',
    'mmcnn.engine.training': 'mmcnn.runs.execution',
    'mmcnn.engine.watch': {
        'RankWatch': 'mmcnn.engine.rank_watch',
        **dict.fromkeys(('StopSignals', 'end_now'), 'mmcnn.engine.stop_signals'),
        **dict.fromkeys(('guard_workers', 'worker_death'), 'mmcnn.engine.data_workers'),
    },
    'mmcnn.engine.watch.data_workers': 'mmcnn.engine.data_workers',
    'mmcnn.engine.watch.rank_watch': 'mmcnn.engine.rank_watch',
    'mmcnn.engine.watch.stop_signals': 'mmcnn.engine.stop_signals',
    'mmcnn.matrix': 'mmcnn.zoo.matrix',
    'mmcnn.models.cost_study': 'mmcnn.zoo.cost_study',
    'mmcnn.models.reference_table': 'mmcnn.zoo.reference_table',
    'mmcnn.models.zoo_plot': 'mmcnn.plots.zoo',
    'mmcnn.models.zoo_table': {
        **dict.fromkeys(
            ('SORT_COLUMNS', 'GIGA', 'HEADER', 'MEGA', 'NOTES', 'Network', 'aligned', 'as_json', 'as_markdown'),
            'mmcnn.zoo.table',
        ),
        **dict.fromkeys(('as_text', 'markdown_line', 'natural', 'ordered', 'verdict'), 'mmcnn.zoo.table'),
        **dict.fromkeys(
            ('StageLine', 'build', 'describe', 'image_size', 'stage_lines', 'stages_as_text'), 'mmcnn.zoo.measure'
        ),
    },
    'mmcnn.random_state': 'mmcnn.engine.random_state',
    'mmcnn.shared_memory': 'mmcnn.engine.shared_memory',
    'mmcnn.training_error': 'mmcnn.errors',
    'mmcnn.visualization': 'mmcnn.plots.visualization',
    'mmcnn.weights.whole_file': {
        'PART': 'mmcnn.engine.atomic_file',
        'check_writable': 'mmcnn.runs.work_dirs',
        'checkpoints_in': 'mmcnn.runs.checkpoints',
        'last_checkpoint': 'mmcnn.runs.checkpoints',
        'read_resumable': 'mmcnn.runs.checkpoints',
        'write_whole': 'mmcnn.engine.atomic_file',
    },
}

#: Module that is still there -> the places of names that it held.
NAMES: dict[str, dict[str, Place]] = {
    'mmcnn.cli': {
        'UsageError': 'mmcnn.errors',
        'check_classes': 'mmcnn.runs.data',
        'check_initial_weights': 'mmcnn.runs.training',
        'config_and_checkpoint': 'mmcnn.config.load',
        'describe_batches': 'mmcnn.runs.batches',
        'friendly_errors': 'mmcnn.cli.errors',
        'inner_dataset': 'mmcnn.runs.data',
        'is_classifier': 'mmcnn.config.model',
        'load_config': 'mmcnn.config.load',
        'merge_options': 'mmcnn.config.load',
        'set_amp': 'mmcnn.runs.training',
        'set_batches': 'mmcnn.runs.batches',
        'set_cache': 'mmcnn.runs.data',
        'set_data': 'mmcnn.runs.data',
        'set_img_size': 'mmcnn.runs.img_size',
        'set_on_nan': 'mmcnn.runs.training',
        'train_box_sizes': 'mmcnn.runs.anchors',
        'use_device': 'mmcnn.runs.device',
        'warn_of_anchors': 'mmcnn.runs.anchors',
        'wire_model': 'mmcnn.config.model',
        'write_between_marks': 'mmcnn.cli.files',
    },
    'mmcnn.cli.anchors': dict.fromkeys(('MIN_RECALL', 'train_box_sizes', 'warn_of_anchors'), 'mmcnn.runs.anchors'),
    'mmcnn.cli.configs': {
        'BACKBONE': 'mmcnn.config.load',
        'PACKAGE': 'mmcnn.config.files',
        'config_and_checkpoint': 'mmcnn.config.load',
        'config_folder': 'mmcnn.config.files',
        'dicts_in': 'mmcnn.config.load',
        'load_config': 'mmcnn.config.load',
        'merge_options': 'mmcnn.config.load',
    },
    'mmcnn.cli.errors': {'UsageError': 'mmcnn.errors'},
    'mmcnn.engine': {
        'ScheduleHook': 'mmcnn.recipes.schedule_hook',
        'StepEMAHook': 'mmcnn.recipes.step_ema_hook',
        'YOLOOptimWrapperConstructor': 'mmcnn.recipes.yolo_optim_constructor',
    },
    'mmcnn.registry': dict.fromkeys(
        ('backbone_families', 'build_backbone', 'list_backbones'), 'mmcnn.models.families'
    ),
}  # fmt: skip


def moved_names(module: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module some or all of whose names stand elsewhere; each warns when it is asked for."""
    places = MODULES.get(module) or NAMES[module]

    def find(name: str) -> Any:
        place = places if isinstance(places, str) else places.get(name)
        if place is not None and not name.startswith('__'):
            new, _, renamed = place.partition(':')
            found = getattr(importlib.import_module(new), renamed or name, find)
            if found is not find:
                as_what = f' as {renamed}' if renamed else ''
                warnings.warn(f'{module}.{name} has moved to {new}{as_what}', DeprecationWarning, stacklevel=2)
                return found
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    return find


class MovedLoader:
    """Makes a module of :data:`MODULES`; it imports nothing before a name is asked for."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = moved_names(module.__name__)
