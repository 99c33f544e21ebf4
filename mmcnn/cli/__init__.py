"""What the tools share: their arguments, what these change in a config, clear errors instead of tracebacks."""

from mmcnn.cli.arguments import (
    add_backbone_argument,
    add_common_arguments,
    add_data_arguments,
    add_model_arguments,
    at_least,
    options_of,
)
from mmcnn.cli.errors import friendly_errors
from mmcnn.cli.files import find_images, write_between_marks
from mmcnn.errors import UsageError
from mmcnn.runs.anchors import train_box_sizes, warn_of_anchors
from mmcnn.runs.batches import describe_batches, set_batches
from mmcnn.runs.configs import config_and_checkpoint, default_work_dir, load_config, merge_options
from mmcnn.runs.data import check_classes, inner_dataset, set_cache, set_data
from mmcnn.runs.device import use_device
from mmcnn.runs.img_size import set_img_size
from mmcnn.runs.model import is_classifier, wire_model
from mmcnn.runs.training import check_initial_weights, set_amp, set_on_nan

__all__ = [
    'UsageError',
    'add_backbone_argument',
    'add_common_arguments',
    'add_data_arguments',
    'add_model_arguments',
    'at_least',
    'check_classes',
    'check_initial_weights',
    'config_and_checkpoint',
    'default_work_dir',
    'describe_batches',
    'find_images',
    'friendly_errors',
    'inner_dataset',
    'is_classifier',
    'load_config',
    'merge_options',
    'options_of',
    'set_amp',
    'set_batches',
    'set_cache',
    'set_data',
    'set_img_size',
    'set_on_nan',
    'train_box_sizes',
    'use_device',
    'warn_of_anchors',
    'wire_model',
    'write_between_marks',
]
