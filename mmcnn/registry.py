"""Registries of mmcnn: children of MMEngine's, under the scope ``mmcnn``.

A type is written with its scope, ``dict(type='mmcnn.YOLOv4PAN')``, so that configs keep
``default_scope='mmdet'`` and MMDetection's own parts go by their bare names. MMEngine imports this module by
itself when it meets the prefix, and the ``locations`` when it looks something up.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmcnn', locations=['mmcnn.models'])
TASK_UTILS = Registry('task util', parent=MMENGINE_TASK_UTILS, scope='mmcnn', locations=['mmcnn.models'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='mmcnn', locations=['mmcnn.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='mmcnn', locations=['mmcnn.datasets'])
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='mmcnn', locations=['mmcnn.evaluation'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='mmcnn', locations=['mmcnn.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mmcnn',
    locations=['mmcnn.engine'],
)
