"""The loss of each validation image is the network's loss on the prepared image and its objects."""

import json
import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

import mmcnn
from mmcnn.image_file import read_image_file
from mmcnn.report.analysis import ImageErrors
from mmcnn.report.losses import losses_of_images, with_objects
from mmcnn.report.options import ReportOptions
from mmcnn.report.report import make_report
from mmcnn.report.run_data import config_of_run
from mmcnn.runs.data_sets import inner_dataset


@pytest.fixture(scope='module')
def losses(trained):
    cfg = config_of_run(trained.work_dir)
    return losses_of_images(trained.work_dir / 'best.pth', inner_dataset(cfg.val_dataloader), 'cpu')


def test_losses_are_those_of_objects_that_were_placed_by_hand(losses, trained, shapes):
    coco = json.loads((shapes / 'val.json').read_text())
    detector = mmcnn.Detector(trained.work_dir / 'best.pth', device='cpu')
    assert losses.keys() == {image['id'] for image in coco['images']}
    for image in coco['images']:
        batch = detector.prepare([read_image_file(shapes / 'images' / image['file_name'])])
        (meta,) = [sample.metainfo for sample in batch['data_samples']]
        width, height = meta['scale_factor']
        top, left = meta['pad_param']
        mine = [each for each in coco['annotations'] if each['image_id'] == image['id']]
        boxes = np.array([each['bbox'] for each in mine], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = boxes * np.float32([width, height, width, height]) + np.float32([left, top, left, top])
        ids = [each['id'] for each in sorted(coco['categories'], key=lambda each: each['id'])]
        labels = torch.tensor([ids.index(each['category_id']) for each in mine])
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(bboxes=torch.from_numpy(boxes), labels=labels)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=labels[:0])
        with torch.no_grad():
            parts = detector.model.loss(batch['inputs'], [sample])
        total = sum(float(sum(part) if isinstance(part, list) else part) for part in parts.values())
        assert losses[image['id']] == pytest.approx(total, rel=1e-4)


def test_the_generators_are_as_they_were(trained):
    state = torch.get_rng_state()
    cfg = config_of_run(trained.work_dir)
    losses_of_images(trained.work_dir / 'best.pth', inner_dataset(cfg.val_dataloader), 'cpu')
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_a_report_by_loss_has_the_highest_loss_first(losses, trained, tmp_path):
    options = ReportOptions(work_dir=trained.work_dir, out=tmp_path, device='cpu', images=2, worst='loss')
    analysis, page = make_report(options)
    ranked = sorted(losses, key=losses.get, reverse=True)
    assert [each.image['id'] for each in analysis.images] == ranked
    content = json.loads((tmp_path / 'report.json').read_text())
    assert [each['loss'] for each in content['images']] == pytest.approx([losses[each] for each in ranked])
    assert f'{analysis.images[0].image["file_name"]}: loss {losses[ranked[0]]:.3g}' in page.read_text()


def test_objects_are_loaded_before_the_image_is_resized_as_the_pipeline_loads_them():
    masks = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
    resize, pack, load = dict(type='Resize', scale=(64, 64)), dict(type='PackDetInputs'), dict(type='LoadImageFromFile')
    changed = with_objects(ConfigDict(pipeline=[load, resize, masks, pack]))
    assert changed.pipeline == [load, masks, resize, pack]
    assert with_objects(ConfigDict(pipeline=[load, resize, pack])).pipeline[1].type == 'LoadAnnotations'


def test_images_whose_loss_is_no_number_come_first():
    images = [ImageErrors({}, {}, loss) for loss in (1.0, math.nan, 3.0)]
    assert [each.loss for each in sorted(images, key=lambda each: -each.rank)][1:] == [3.0, 1.0]
    assert ImageErrors({}, {}).rank == 0
