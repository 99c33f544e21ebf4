"""Data sets inside wrappers, metrics in every form, and arguments of classes."""

import pytest
from mmengine.config import Config
from torch.utils.data import DataLoader

from mmcnn.config.parts import inner_datasets, loaders_of, metrics_of, takes, validates

FILES = [dict(type='A', ann_file=name) for name in 'abc']


@pytest.mark.parametrize(
    ('dataset', 'count'),
    [
        (FILES[0], 1),
        (dict(type='Repeat', times=3, dataset=FILES[0]), 1),
        (dict(type='Mosaic', dataset=dict(type='Concat', datasets=FILES)), 3),
        (dict(type='Concat', datasets=[dict(type='Repeat', dataset=FILES[0]), dict(type='Concat', datasets=FILES)]), 4),
    ],
)
def test_data_sets_that_read_files(dataset, count):
    found = list(inner_datasets(Config(dict(x=dataset)).x))
    assert len(found) == count and all(each in FILES for each in found)


@pytest.mark.parametrize(
    ('evaluator', 'names'),
    [
        (dict(type='A'), ['x']),
        ([dict(type='A'), dict(type='B')], ['x.0', 'x.1']),
        (dict(type='Evaluator', metrics=[dict(type='A')]), ['x.metrics.0']),
        (dict(metrics=dict(type='A')), ['x.metrics']),
        (None, []),
    ],
)
def test_metrics(evaluator, names):
    assert [name for name, _ in metrics_of(Config(dict(x=evaluator)), 'x')] == names


def test_loaders():
    cfg = Config(dict(train_dataloader=dict(a=1), val_dataloader=None))
    assert [*loaders_of(cfg)] == ['train_dataloader'] and not validates(cfg)


def test_arguments_of_a_class_and_its_bases():
    from mmdet.datasets import CocoDataset

    assert {'ann_file', 'pipeline', 'backend_args'} <= takes(CocoDataset)  # arguments of three classes
    assert 'prefetch_factor' in takes(DataLoader) and 'self' not in takes(DataLoader)

    class Open(CocoDataset):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)

    assert takes(Open) is None and takes(len) is None
