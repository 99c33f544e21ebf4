"""The data sets of a config that ``data`` points at a folder: inside of wrappers, one of several, of another format."""

from __future__ import annotations

from mmengine.config import ConfigDict

from mmcnn.config.parts import inner_datasets
from mmcnn.config.variables import Say


def inner_dataset(loader: ConfigDict) -> ConfigDict:
    """The dataset that reads files, inside the wrappers around it; the first of several."""
    return next(inner_datasets(loader.dataset))


def single_dataset(name: str, loader: ConfigDict, say: Say) -> None:
    """Puts the first of several data sets in the place of a wrapper around them (``datasets=[...]``), and says so."""
    node = loader
    while 'dataset' in node:
        inside = node.dataset
        if 'datasets' in inside:
            several = [*inner_datasets(inside)]
            say(f'note: {name}: data= takes the place of the {len(several)} data sets in {inside.type}')
            node.dataset = several[0]
            return
        node = inside


def read_as_coco(name: str, dataset: ConfigDict, say: Say) -> None:
    """Makes a data set of another format one of COCO's, as which a folder is read, whatever its layout."""
    from mmdet.datasets import CocoDataset
    from mmdet.registry import DATASETS

    kind = DATASETS.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    if isinstance(kind, type) and not issubclass(kind, CocoDataset):
        say(f'note: {name}: data= is read by CocoDataset, in place of {dataset.type}')
        kept = {key: dataset[key] for key in ('pipeline', 'test_mode', 'filter_cfg', 'backend_args') if key in dataset}
        dataset.clear()
        dataset.update(type='CocoDataset', **kept)
