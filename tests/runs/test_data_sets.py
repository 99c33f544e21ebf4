"""Unusable wrappers around data sets are recognised before anything is built."""

import pytest
from mmengine.config import Config
from mmengine.dataset import ClassBalancedDataset

import mmcnn  # noqa: F401  registers the data sets
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.registry import DATASETS, METRICS
from mmcnn.runs.data import set_data
from mmcnn.runs.data_sets import check_balanced, measure_as_coco
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state


def coco(shapes, split='train'):
    return dict(
        type='CocoDataset', data_root=str(shapes), ann_file=f'{split}.json', data_prefix=dict(img='images/'),
        metainfo=dict(classes=('circle', 'square', 'triangle')),
    )  # fmt: skip


def balanced(dataset, kind='ClassBalancedDataset'):
    return dict(type=kind, oversample_thr=0.5, dataset=dataset)


def two(*datasets):
    return dict(type='ConcatDataset', datasets=list(datasets))


def test_openimages_is_replaced_with_its_metric(shapes, tmp_path):
    """A data folder has neither a class hierarchy nor image-level classes."""
    cfg = load_config('mmdet::openimages/retinanet_r50_fpn_32xb2-1x_openimages', say=lambda line: None)
    said = []
    folder = set_data(cfg, shapes, say=said.append)
    assert 'note: val_dataloader: data= is read by CocoDataset instead of OpenImagesDataset' in said
    words = 'data= is evaluated by CocoMetric instead of OpenImagesMetric, which needs a class hierarchy'
    assert f'note: val_evaluator: {words}' in said
    assert cfg.val_evaluator == dict(type='mmcnn.CocoMetric', metric='bbox', ann_file=str(folder.root / 'val.json'))
    dataset = DATASETS.build(dict(cfg.val_dataloader.dataset, _scope_='mmdet'))
    assert dataset[0]['data_samples'].img_shape and cfg.model.bbox_head.num_classes == 3


@pytest.mark.parametrize('metric', ['bbox', ['bbox'], None])
def test_boxes_are_measured_by_the_metric_with_the_ap_of_each_class(metric, shapes):
    entries = {} if metric is None else dict(metric=metric)
    measured = dict(type='CocoMetric', format_only=False, **entries)
    measure_as_coco('val_evaluator', measured, print)
    assert measured == dict(type='mmcnn.CocoMetric', format_only=False, **entries)
    METRICS.build(dict(measured, ann_file=str(shapes / 'val.json')))


@pytest.mark.parametrize(
    'metric', [dict(type='VOCMetric', metric='mAP'), dict(type='CocoMetric', metric=['bbox', 'segm'])]
)
def test_other_metrics_stay(metric):
    before = dict(metric)
    measure_as_coco('val_evaluator', metric, print)
    assert metric == before


@pytest.mark.parametrize('kind', ['ClassBalancedDataset', ClassBalancedDataset])
@pytest.mark.parametrize(
    ('wrap', 'message'),
    [
        (
            lambda one, kind: balanced(two(one, one), kind),
            r'^train_dataloader\.dataset: ClassBalancedDataset counts the classes of every image, but ConcatDataset '
            r'does not provide them \(it has no get_cat_ids\): put it around each of the data sets inside Concat',
        ),
        (
            lambda one, kind: two(one, balanced(dict(type='RepeatDataset', times=2, dataset=one), kind)),
            r'^train_dataloader\.dataset\.datasets\.1: ClassBalancedDataset .*: put it around the data set inside Rep',
        ),
    ],
)
def test_classes_that_nobody_tells(shapes, wrap, kind, message):
    dataset = wrap(coco(shapes), kind)
    with pytest.raises(UsageError, match=message):
        check_balanced(Config(dict(train_dataloader=dict(dataset=dataset))))


def test_classes_that_are_told(shapes):
    """The advice of the message works: the data set builds and repeats images."""
    dataset = two(balanced(coco(shapes)), balanced(coco(shapes)))
    check_balanced(Config(dict(train_dataloader=dict(dataset=dataset))))
    dataset['datasets'] = [each | dict(oversample_thr=1.0) for each in dataset['datasets']]
    assert len(DATASETS.build(dict(dataset, _scope_='mmdet'))) > 16


def test_it_is_found_before_the_run(shapes, tmp_path):
    cfg = load_config('faster_rcnn_resnet50_fpn')
    pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset = balanced(two(coco(shapes) | dict(pipeline=pipeline)))
    cfg.val_dataloader.dataset.update(coco(shapes, 'val'))
    cfg.test_dataloader.dataset.update(coco(shapes, 'val'))
    cfg.model.roi_head.bbox_head.num_classes = 3
    cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = str(shapes / 'val.json')
    with kept_process_state(), pytest.raises(UsageError, match='ClassBalancedDataset counts the classes'):
        prepare(TrainOptions(config=cfg, device='cpu', work_dir=tmp_path / 'run'))
