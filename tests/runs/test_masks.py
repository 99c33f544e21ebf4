"""Instance masks and semantic maps: data folders without them are refused if a config reads them."""

import json

import pytest

from mmcnn.config.load import load_config
from mmcnn.errors import DataError, UsageError
from mmcnn.runs.data import set_data

MASK_RCNN = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco'
POLYGON = [[1, 1, 9, 1, 9, 9, 1, 9]]
RLE = dict(size=[64, 64], counts=[0, 10, 4086])


@pytest.fixture
def folder(shapes, tmp_path):
    """Write a data folder with segmentations: ``folder(train=POLYGON, val=RLE, one=[])``; ``one`` is that of the first
    training box."""

    def write(train=None, val=None, one=None):
        for split, mask in (('train', train), ('val', val)):
            coco = json.loads((shapes / f'{split}.json').read_text())
            for number, box in enumerate(coco['annotations']):
                box.pop('segmentation', None)
                value = one if one is not None and split == 'train' and number == 0 else mask
                if value is not None:
                    box['segmentation'] = value
            (tmp_path / f'{split}.json').write_text(json.dumps(coco))
        if not (tmp_path / 'images').exists():
            (tmp_path / 'images').symlink_to(shapes / 'images')
        return tmp_path

    return write


def test_masks_are_used_where_they_are(folder):
    cfg = load_config(MASK_RCNN)
    path = folder(POLYGON, RLE)
    set_data(cfg, path)
    assert cfg.train_dataloader.dataset.ann_file == 'train.json'
    assert cfg.model.roi_head.mask_head.num_classes == 3


@pytest.mark.parametrize(
    ('splits', 'words'),
    [
        (
            dict(),
            r'train_dataloader: LoadAnnotations\(with_mask=True\) reads masks, and (\d+) boxes of \1 in .*train.json',
        ),
        (
            dict(train=POLYGON),
            r'val_dataloader: .*with_mask=True.* in .*val.json have no segmentation: give each a polygon',
        ),
        (dict(train=[[1, 2, 3, 4]], val=RLE), 'train.json have no segmentation'),  # no polygon: ignored by MMDetection
        (dict(train=dict(size=[2, 2]), val=RLE), 'train.json have no segmentation'),
    ],
)
def test_masks_that_are_missing(folder, splits, words):
    with pytest.raises(DataError, match=words):
        set_data(load_config(MASK_RCNN), folder(**splits), say=lambda line: None)


def test_one_box_without_a_mask_is_named(folder):
    with pytest.raises(DataError, match=r'and 1 box of [\d,]+ in .*no segmentation, the first one with id 1:'):
        set_data(load_config(MASK_RCNN), folder(POLYGON, POLYGON, one=[]))


def test_a_metric_of_masks_needs_them_too(folder):
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco', {'val_evaluator.metric': ['bbox', 'segm']})
    with pytest.raises(DataError, match=r"val_evaluator: CocoMetric\(metric='segm'\) reads masks"):
        set_data(cfg, folder(), say=lambda line: None)


def test_boxes_are_enough_where_nothing_else_is_read(folder):
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco')
    set_data(cfg, folder(), say=lambda line: None)
    assert cfg.model.bbox_head.num_classes == 3


@pytest.mark.parametrize(
    ('config', 'reader'),
    [
        ('maskformer/maskformer_r50_ms-16xb1-75e_coco', 'LoadPanopticAnnotations'),
        ('htc/htc_r50_fpn_1x_coco', r'LoadAnnotations\(with_seg=True\)'),
    ],
)
def test_classes_of_pixels_are_in_no_folder(folder, config, reader):
    with pytest.raises(UsageError, match=f'^train_dataloader: {reader} reads the class of every pixel'):
        set_data(load_config(f'mmdet::{config}'), folder(POLYGON, POLYGON), say=lambda line: None)
