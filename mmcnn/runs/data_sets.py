"""The data sets of a config that ``data`` redirects to a folder: inside wrappers, one of several, of other formats."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dataset import ClassBalancedDataset

from mmcnn.config.load import dicts_in
from mmcnn.config.parts import inner_datasets, loaders_of
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError


def inner_dataset(loader: ConfigDict) -> ConfigDict:
    """Return the data set that reads files, inside its wrappers; the first of several."""
    return next(inner_datasets(loader.dataset))


def single_dataset(name: str, loader: ConfigDict, say: Say) -> None:
    """Replace a wrapper around several data sets (``datasets=[...]``) by the first of them, with a note."""
    node = loader
    while 'dataset' in node:
        inside = node.dataset
        if 'datasets' in inside:
            several = [*inner_datasets(inside)]
            say(f'note: {name}: data= replaces the {len(several)} data sets in {inside.type}')
            node.dataset = several[0]
            return
        node = inside


def check_balanced(cfg: Config) -> None:
    """Refuse a wrapper that balances images by their classes around a data set that does not provide these.

    Raises:
        UsageError: names the entry, and where the wrapper would work.
    """
    for name, loader in loaders_of(cfg).items():
        _check_balanced(f'{name}.dataset', loader.dataset)


def _check_balanced(where: str, node: Any) -> None:
    if not isinstance(node, dict):
        return
    kind, inside = _kind(node), node.get('dataset')
    if isinstance(kind, type) and issubclass(kind, ClassBalancedDataset) and isinstance(inside, dict):
        inner = _kind(inside)
        if isinstance(inner, type) and not hasattr(inner, 'get_cat_ids'):
            within = 'each of the data sets' if 'datasets' in inside else 'the data set'
            raise UsageError(
                f'{where}: {kind.__name__} counts the classes of every image, but {inner.__name__} does not provide '
                f'them (it has no get_cat_ids): put it around {within} inside {inner.__name__}'
            )
    _check_balanced(f'{where}.dataset', inside)
    for number, each in enumerate(node.get('datasets') or ()):
        _check_balanced(f'{where}.datasets.{number}', each)


def read_as_coco(name: str, dataset: ConfigDict, say: Say) -> None:
    """Turn a data set of another format into a COCO data set, which reads a folder of any layout."""
    from mmdet.datasets import CocoDataset

    kind = _kind(dataset)
    if isinstance(kind, type) and not issubclass(kind, CocoDataset):
        say(f'note: {name}: data= is read by CocoDataset instead of {dataset.type}')
        kept = {key: dataset[key] for key in ('pipeline', 'test_mode', 'filter_cfg', 'backend_args') if key in dataset}
        dataset.clear()
        dataset.update(type='CocoDataset', **kept)
        for step in dicts_in(dataset):
            if 'image_level_labels' in (step.get('meta_keys') or ()):  # OpenImages also has classes of whole images
                step['meta_keys'] = tuple(key for key in step['meta_keys'] if key != 'image_level_labels')


def measure_as_coco(where: str, metric: Any, say: Say) -> None:
    """Replace MMDetection's COCO metric for boxes by this package's, which has the AP of each class, in place.

    It also gives an AP of 0 where MMDetection's gives nothing: if nothing was detected. OpenImages' metric is replaced,
    too, because it needs the class hierarchy of that data set.
    """
    from mmdet.evaluation import CocoMetric, OpenImagesMetric
    from mmdet.registry import METRICS

    kind = metric.get('type')
    kind = METRICS.get(kind) if isinstance(kind, str) else kind
    if isinstance(kind, type) and issubclass(kind, OpenImagesMetric):
        say(f'note: {where}: data= is evaluated by CocoMetric instead of {kind.__name__}, which needs a class '
            'hierarchy')  # fmt: skip
        metric.clear()
        metric.update(type='mmcnn.CocoMetric', metric='bbox')
    elif kind is CocoMetric and metric.get('metric', 'bbox') in ('bbox', ['bbox'], ('bbox',)):
        metric['type'] = 'mmcnn.CocoMetric'


def _kind(dataset: dict) -> Any:
    """Return the class of a data set; None: no class has this name."""
    from mmdet.registry import DATASETS

    kind = dataset.get('type')
    return DATASETS.get(kind) if isinstance(kind, str) else kind
