"""New locations of names that have moved since release 0.1: kept for one release, with a warning.

The finder (:mod:`mmcnn.compat.finder`) creates each module in :data:`MODULES` when it is imported. A module in
:data:`NAMES` still exists and contains ``__getattr__ = moved_names(__name__)``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: A module, or ``module:name`` (``module:class.name``) if the name has changed.
Place = str


def _files(source: str, *names: str) -> dict[str, Place]:
    """Return places of tables of published files, which are now next to the rules of the same names."""
    return {name: f'mmcnn.weights.sources.{source}:{name}_FILES' for name in names}


#: Removed module -> the module that has all its names, or the place of each; '*': the place of all that are not
#: listed.
MODULES: dict[str, Place | dict[str, Place]] = {
    'mmcnn.cli.batches': 'mmcnn.runs.batches',
    'mmcnn.cli.data': 'mmcnn.runs.data',
    'mmcnn.cli.device': 'mmcnn.runs.device',
    'mmcnn.cli.img_size': 'mmcnn.runs.img_size',
    'mmcnn.cli.model': 'mmcnn.config.model',
    'mmcnn.cli.training': {'set_amp': 'mmcnn.runs.precision', '*': 'mmcnn.runs.training'},
    'mmcnn.comparison': {
        **dict.fromkeys(('AP', 'AP50', 'OUTPUT', 'RECORD', 'Run', 'typed'), 'mmcnn.compare.run'),
        '*': 'mmcnn.compare.trainings',
    },
    'mmcnn.comparison_table': {
        'Row': 'mmcnn.compare.table',
        'Table': 'mmcnn.compare.results:Comparison',
        'WARM_UP': 'mmcnn.compare.costs',
        'collect': 'mmcnn.compare.collect',
        'latencies': 'mmcnn.compare.costs:measured',
        'medians': 'mmcnn.interleaved:in_turn',
        'BUBBLE': 'mmcnn.plots.comparison',
        'COLOURS': 'mmcnn.plots.palette:LINE_COLOURS',
    },
    'mmcnn.conversion': {
        'ENDINGS': 'mmcnn.weights.convert',
        'KEY': 'mmcnn.weights.record',
        'convert': 'mmcnn.runs.convert',
    },
    'mmcnn.data_picture': 'mmcnn.plots.data',
    'mmcnn.datasets.annotation_check': 'mmcnn.datasets.check.annotations',
    'mmcnn.datasets.cache_folder': 'mmcnn.datasets.folders.cache_folder',
    'mmcnn.datasets.class_check': 'mmcnn.datasets.check.classifier',
    'mmcnn.datasets.class_folder': {
        **dict.fromkeys(
            ('ClassData', 'ClassFolder', 'DATASETS', 'images_of_classes', 'read_class_folder'),
            'mmcnn.datasets.folders.classes',
        ),
        'IMAGE_SUFFIXES': 'mmcnn.image_file',
    },
    'mmcnn.datasets.coco_folder': 'mmcnn.datasets.folders.coco',
    'mmcnn.datasets.data_check': {
        'LAYOUTS': 'mmcnn.datasets.folders.layouts',
        'YOLO_FILE': 'mmcnn.datasets.folders.yolo_settings:FILE',
        'check_data': 'mmcnn.datasets.check.detector',
        'is_detector_folder': 'mmcnn.datasets.folders.layouts',
    },
    'mmcnn.datasets.data_part': {'DataPart': 'mmcnn.datasets.folders.split:DataSplit'},
    'mmcnn.datasets.data_report': 'mmcnn.datasets.check.report',
    'mmcnn.datasets.findings': 'mmcnn.datasets.folders.findings',
    'mmcnn.datasets.flat_annotations': 'mmcnn.datasets.mosaic.flat_annotations',
    'mmcnn.datasets.image_cache': {'ImageCache': 'mmcnn.datasets.mosaic.shared_image_cache:SharedImageCache'},
    'mmcnn.datasets.image_check': 'mmcnn.datasets.check.images',
    'mmcnn.datasets.image_file': dict.fromkeys(
        ('IMAGE_SUFFIXES', 'decode_image', 'read_image_file'), 'mmcnn.image_file'
    ),
    'mmcnn.datasets.image_memory': {
        'CHUNK': 'mmcnn.datasets.check.image_records',
        'ImageMemory': 'mmcnn.datasets.check.image_records:ImageRecords',
    },
    'mmcnn.datasets.image_reader': {
        'ImageReader': 'mmcnn.datasets.mosaic.tile_reader:TileReader',
        'decode': 'mmcnn.image_file:read_image_file',
    },
    'mmcnn.datasets.jpeg_header': dict.fromkeys(('JpegHeader', 'read_jpeg_header'), 'mmcnn.jpeg_header'),
    'mmcnn.datasets.mosaic_dataset': 'mmcnn.datasets.mosaic.mosaic_dataset',
    'mmcnn.datasets.seeded_dataset': 'mmcnn.engine.seeded_dataset',
    'mmcnn.datasets.shapes': 'mmcnn.datasets.folders.shapes',
    'mmcnn.datasets.transforms.darknet_mosaic': 'mmcnn.datasets.mosaic.darknet_mosaic',
    'mmcnn.datasets.transforms.mosaic_affine': 'mmcnn.datasets.mosaic.mosaic_affine',
    'mmcnn.datasets.transforms.plan': 'mmcnn.datasets.mosaic.plan',
    'mmcnn.datasets.transforms.render': 'mmcnn.datasets.mosaic.render',
    'mmcnn.datasets.transforms.tiles': 'mmcnn.datasets.mosaic.tiles',
    'mmcnn.datasets.voc_folder': 'mmcnn.datasets.folders.voc',
    'mmcnn.datasets.yolo_folder': {
        'FILE': 'mmcnn.datasets.folders.yolo_settings',
        'IMAGE_SUFFIXES': 'mmcnn.image_file',
        'read_yolo_folder': 'mmcnn.datasets.folders.yolo',
    },
    'mmcnn.detector': {
        'Detections': 'mmcnn.inference.detections',
        'Detector': 'mmcnn.inference.detector',
        'classes_of': 'mmcnn.inference.detector',
        'read_image': 'mmcnn.inference.images',
        'test_pipeline': 'mmcnn.inference.detector',
    },
    'mmcnn.engine.hooks': {
        'AtomicCheckpointHook': 'mmcnn.engine.atomic_checkpoint_hook',
        'CloseMosaicHook': 'mmcnn.datasets.mosaic.close_mosaic_hook',
        'StepEMAHook': 'mmcnn.recipes.step_ema_hook',
        **dict.fromkeys(('ScheduleHook', 'lr_factor', 'warmup_iters', 'warmup_value'), 'mmcnn.recipes.schedule_hook'),
    },
    'mmcnn.engine.hooks.atomic_checkpoint_hook': 'mmcnn.engine.atomic_checkpoint_hook',
    'mmcnn.engine.hooks.close_mosaic_hook': 'mmcnn.datasets.mosaic.close_mosaic_hook',
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
    'mmcnn.models.zoo_plot': {
        'COLOURS': 'mmcnn.plots.palette:LINE_COLOURS',
        **dict.fromkeys(('GAP', 'MARKERS'), 'mmcnn.plots.zoo'),
        **dict.fromkeys(('MARGIN', 'PLACES', 'place_labels'), 'mmcnn.plots.style'),
        **dict.fromkeys(('GIGA', 'MEGA'), 'mmcnn.zoo.table'),
        'plot': 'mmcnn.plots.zoo:plot_zoo',
    },
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
    'mmcnn.weights.catalog': 'mmcnn.weights.sources.catalog',
    'mmcnn.weights.catalog.darknet': 'mmcnn.weights.sources.darknet',
    'mmcnn.weights.catalog.keras': {
        '*': 'mmcnn.weights.sources.keras',
        **_files('keras', 'DENSENET', 'EFFICIENTNET', 'INCEPTION', 'MOBILENET', 'MOBILENET_V2', 'MOBILENET_V2_WIDTHS'),
        **_files('keras', 'MOBILENET_V3', 'MOBILENET_WIDTHS', 'RESNET', 'RESNET_50', 'RESNET_V2', 'VGG', 'XCEPTION'),
    },
    'mmcnn.weights.catalog.mmdet': {
        '*': 'mmcnn.weights.sources.mmdet',
        'SOURCE': 'mmcnn.weights.sources.mmdet:RESULTS',
    },
    'mmcnn.weights.catalog.published': 'mmcnn.weights.sources.published',
    'mmcnn.weights.catalog.timm': {
        '*': 'mmcnn.weights.sources.timm',
        **_files('timm', 'DARKNET', 'INCEPTION', 'RESNEXT', 'RESNEXT_INSTAGRAM', 'RESNEXT_YFCC', 'VOVNET'),
        'SOURCE': 'mmcnn.weights.sources.timm:RESULTS',
    },
    'mmcnn.weights.catalog.torchvision': {
        '*': 'mmcnn.weights.sources.torchvision',
        **_files('torchvision', 'BATCH_NORM', 'EFFICIENTNET', 'EFFICIENTNET_LARGE', 'INCEPTION_V1', 'INCEPTION_V3'),
        **_files('torchvision', 'MOBILENET_V2', 'MOBILENET_V3', 'VGG'),
        'SOURCE': 'mmcnn.weights.sources.torchvision:RESULTS',
    },
    'mmcnn.weights.catalog.ultralytics': 'mmcnn.weights.sources.ultralytics',
    'mmcnn.weights.darknet': {
        '*': 'mmcnn.weights.formats.darknet_file',
        **dict.fromkeys(('PUBLIC', 'UNBUILT', 'read_darknet', 'write_darknet'), 'mmcnn.weights.sources.darknet'),
    },
    'mmcnn.weights.darknet_order': 'mmcnn.weights.sources.darknet',
    'mmcnn.weights.files': {
        'KEY': 'mmcnn.weights.record',
        'WORLDS': 'mmcnn.weights.names:SOURCES',
        'WeightFile': 'mmcnn.weights.checkpoint:Checkpoint',
        'format_of': 'mmcnn.weights.checkpoint',
        'open_weights': 'mmcnn.weights.checkpoint:Checkpoint.open',
    },
    'mmcnn.weights.keras': {'*': 'mmcnn.weights.sources.keras', 'WORLD': 'mmcnn.weights.sources.keras:SOURCE'},
    'mmcnn.weights.keras_arrays': 'mmcnn.weights.sources.keras',
    'mmcnn.weights.keras_file': 'mmcnn.weights.formats.keras_file',
    'mmcnn.weights.mmdet': {'*': 'mmcnn.weights.sources.mmdet', 'WORLD': 'mmcnn.weights.sources.mmdet:SOURCE'},
    'mmcnn.weights.restricted_unpickler': 'mmcnn.weights.formats.restricted_unpickler',
    'mmcnn.weights.safetensors_file': 'mmcnn.weights.formats.safetensors_file',
    'mmcnn.weights.timm': {'*': 'mmcnn.weights.sources.timm', 'WORLD': 'mmcnn.weights.sources.timm:SOURCE'},
    'mmcnn.weights.torch_file': 'mmcnn.weights.formats.torch_file',
    'mmcnn.weights.torchvision': {
        '*': 'mmcnn.weights.sources.torchvision',
        'WORLD': 'mmcnn.weights.sources.torchvision:SOURCE',
    },
    'mmcnn.weights.translate': {
        '*': 'mmcnn.weights.sources.translate',
        'World': 'mmcnn.weights.sources.translate:Source',
    },
    'mmcnn.weights.ultralytics': 'mmcnn.weights.sources.ultralytics',
    'mmcnn.weights.ultralytics_file': 'mmcnn.weights.formats.ultralytics_file',
    'mmcnn.visualization': {
        **dict.fromkeys(('CURVES', 'SCORE_MARKERS', 'plot_curves', 'read_scalars'), 'mmcnn.plots.curves'),
        **dict.fromkeys(('INK', 'PAGE', 'PALETTE'), 'mmcnn.plots.palette'),
        **dict.fromkeys(('draw_boxes', 'prediction_grid'), 'mmcnn.plots.boxes'),
    },
    'mmcnn.weights.worlds': {
        '*': 'mmcnn.weights.loading',
        **dict.fromkeys(('CLASS_LAYERS', 'is_backbone', 'is_detector'), 'mmcnn.weights.names'),
        **dict.fromkeys(('TOP', 'UNBUILT'), 'mmcnn.weights.sources.darknet'),
    },
    'mmcnn.weights.whole_file': {
        'PART': 'mmcnn.engine.atomic_file',
        'check_writable': 'mmcnn.runs.work_dirs',
        'checkpoints_in': 'mmcnn.runs.checkpoints',
        'last_checkpoint': 'mmcnn.runs.checkpoints',
        'read_resumable': 'mmcnn.runs.checkpoints',
        'write_whole': 'mmcnn.engine.atomic_file',
    },
}

#: Module that still exists -> the places of names that have moved out of it.
NAMES: dict[str, dict[str, Place]] = {
    'mmcnn.models.wiring': {'MODELS': 'mmcnn.registry'},
    'mmcnn.cli': {
        'UsageError': 'mmcnn.errors',
        'check_classes': 'mmcnn.runs.data',
        'check_initial_weights': 'mmcnn.runs.training',
        'config_and_checkpoint': 'mmcnn.config.of_weights',
        'describe_batches': 'mmcnn.runs.batches',
        'friendly_errors': 'mmcnn.cli.errors',
        'inner_dataset': 'mmcnn.runs.data_sets',
        'is_classifier': 'mmcnn.config.model',
        'load_config': 'mmcnn.config.load',
        'merge_options': 'mmcnn.config.entries',
        'set_amp': 'mmcnn.runs.precision',
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
        'config_and_checkpoint': 'mmcnn.config.of_weights',
        'config_folder': 'mmcnn.config.files',
        'dicts_in': 'mmcnn.config.load',
        'load_config': 'mmcnn.config.load',
        'merge_options': 'mmcnn.config.entries',
    },
    'mmcnn.cli.errors': {'UsageError': 'mmcnn.errors'},
    'mmcnn.datasets.transforms': {
        'DarknetMosaic': 'mmcnn.datasets.mosaic.darknet_mosaic',
        'MosaicAffine': 'mmcnn.datasets.mosaic.mosaic_affine',
    },
    'mmcnn.models.losses': {'LevelOutput': 'mmcnn.models.task_modules'},
    'mmcnn.models.losses.yolo_loss': {'LevelOutput': 'mmcnn.models.task_modules'},
    'mmcnn.weights.checkpoint': {
        **dict.fromkeys(('MAX_FILE', 'first_line', 'refuse_enormous'), 'mmcnn.weights.formats'),
        'NAMED_KEYS': 'mmcnn.weights.report',
    },
    'mmcnn.weights.loading': {
        **dict.fromkeys(('TOP', 'UNBUILT'), 'mmcnn.weights.sources.darknet'),
        **dict.fromkeys(('CLASS_LAYERS', 'is_backbone'), 'mmcnn.weights.names'),
        'WORLDS': 'mmcnn.weights.names:SOURCES',
    },
    'mmcnn.weights.recorded_config': {
        **dict.fromkeys(('HARMLESS', 'KINDS', 'SCOPES', 'TYPE_KEYS'), 'mmcnn.weights.recorded_types'),
        'NMS_KINDS': 'mmcnn.ops',
    },
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
    """Return a ``__getattr__`` for a module whose names have partly moved; it warns whenever one is requested."""
    places = MODULES.get(module) or NAMES[module]

    def find(name: str) -> Any:
        place = places if isinstance(places, str) else places.get(name, places.get('*'))
        if place is not None and not name.startswith('__'):
            new, _, renamed = place.partition(':')
            found = importlib.import_module(new)
            for part in (renamed or name).split('.'):
                found = getattr(found, part, None)
            if found is not None:
                as_what = f' as {renamed}' if renamed else ''
                warnings.warn(f'{module}.{name} has moved to {new}{as_what}', DeprecationWarning, stacklevel=2)
                return found
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    return find


def renamed_attribute(old: str, new: str) -> property:
    """Return a property for the old name of an attribute; it warns."""

    def get(self: Any) -> Any:
        warnings.warn(f'{type(self).__name__}.{old} is now called {new}', DeprecationWarning, stacklevel=2)
        return getattr(self, new)

    return property(get)


def renamed_arguments(**names: str) -> Callable[[Callable], Callable]:
    """Accept keywords of a function, or of the constructor of a class, under their old names, with a warning.

    Args:
        **names: old name -> new name. If the old name is now another argument, it is taken for the old one unless the
            new one is given.
    """

    def decorate(function: Callable) -> Callable:
        if isinstance(function, type):
            function.__init__ = decorate(function.__init__)
            return function
        called = function.__qualname__.removesuffix('.__init__').rpartition('.')[2]
        parameters = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old, new in names.items():
                given = new in kwargs or parameters.index(new) < len(args)
                if old in kwargs and not (given and old in parameters):
                    warnings.warn(f'{called}({old}=) is now called {new}', DeprecationWarning, stacklevel=2)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


class MovedLoader:
    """Creates a module of :data:`MODULES`; it imports nothing before a name is requested."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation of the module to Python."""
        return None  # noqa: RET501  (the import system expects a value)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module a ``__getattr__`` that finds the names that have moved."""
        module.__getattr__ = moved_names(module.__name__)
