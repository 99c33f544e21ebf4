import json
import os
import pickle

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader, Dataset

from mmcnn.datasets import MosaicAffine, MosaicDataset, SeededDataset
from mmcnn.datasets.mosaic import tile_reader
from mmcnn.errors import DataError

MOSAIC = dict(type='mmcnn.MosaicAffine', img_scale=(96, 64), mosaic_prob=0.7, mixup_prob=0.5, flip_prob=0.5)
HSV = dict(type='mmcnn.RandomHSV')
DARKNET = dict(type='mmcnn.DarknetMosaic', img_scale=(96, 64), flip_prob=0.5), dict(type='mmcnn.DarknetHSV')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Twelve images of 400 x 300 pixels, every third a PNG, with boxes, some of which are crowds."""
    root = tmp_path_factory.mktemp('mixed')
    (root / 'images').mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(12):
        image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (400, 300), interpolation=cv2.INTER_CUBIC)
        name = f'{number}.{"jpg" if number % 3 else "png"}'
        cv2.imwrite(str(root / 'images' / name), image)
        images.append(dict(id=100 + number, file_name=name, width=400, height=300))
        for _ in range(number % 4):
            x, y = rng.integers(0, 300), rng.integers(0, 200)
            annotations.append(
                dict(id=len(annotations), image_id=100 + number, category_id=1 + len(annotations) % 2,
                     bbox=[int(x), int(y), 90, 80], area=7200, iscrowd=int(len(annotations) % 5 == 0))
            )  # fmt: skip
    categories = [dict(id=1, name='one'), dict(id=2, name='two')]
    (root / 'train.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return root


@pytest.fixture
def build(folder):
    def build(*pipeline, dataset=(), **kwargs):
        inner = dict(
            type='CocoDataset', data_root=str(folder), ann_file='train.json', data_prefix=dict(img='images/'),
            metainfo=dict(classes=('one', 'two')), filter_cfg=dict(filter_empty_gt=False),
        )  # fmt: skip
        pipeline = [*pipeline] or [MOSAIC, HSV]
        return DATASETS.build(
            dict(type='mmcnn.MosaicDataset', dataset={**inner, **dict(dataset)}, pipeline=pipeline, **kwargs)
        )

    return build


def drawn(dataset, index, seed):
    np.random.seed(seed)
    return dataset[index]


def same(one, other):
    assert torch.equal(one['inputs'], other['inputs'])
    for name in ('gt_instances', 'ignored_instances'):
        first, second = (each['data_samples'].get(name) for each in (one, other))
        assert torch.equal(first.bboxes.tensor, second.bboxes.tensor) and torch.equal(first.labels, second.labels)


@pytest.mark.parametrize('pipeline', [(MOSAIC, HSV), DARKNET], ids=['YOLOv5', 'Darknet'])
def test_a_sample_is_what_pack_det_inputs_makes(build, pipeline):
    from mmdet.structures.bbox import HorizontalBoxes

    dataset, packed = (
        build(*pipeline),
        build(*pipeline, dict(type='PackDetInputs', meta_keys=('img_path', 'img_paths'))),
    )
    crowds = 0
    for index in range(12):
        one, other = drawn(dataset, index, index), drawn(packed, index, index)
        same(one, other)
        sample = one['data_samples']
        assert one['inputs'].shape == (3, 64, 96) and one['inputs'].dtype == torch.uint8
        assert (
            isinstance(sample.gt_instances.bboxes, HorizontalBoxes) and sample.gt_instances.labels.dtype == torch.int64
        )
        assert sample.gt_instances.bboxes.tensor.dtype == torch.float32
        assert (sample.img_shape, sample.ori_shape, sample.img_id) == ((64, 96), (300, 400), 100 + index)
        assert sample.img_path == dataset.get_data_info(index)['img_path']
        assert sample.img_paths == other['data_samples'].img_paths and len(sample.img_paths) in (1, 4, 8)
        assert sample.img_path in sample.img_paths
        crowds += len(sample.ignored_instances)
    assert crowds > 0 and dataset.metainfo['classes'] == ('one', 'two') and len(dataset) == 12


def test_other_transforms_may_follow(build):
    steps = dict(type='Resize', scale=(48, 32), keep_ratio=False), dict(type='PackDetInputs')
    sample = drawn(build(MOSAIC, *steps), 3, 0)
    whole = drawn(build(MOSAIC), 3, 0)
    assert sample['inputs'].shape == (3, 32, 48)
    boxes = whole['data_samples'].gt_instances.bboxes.tensor
    assert torch.allclose(sample['data_samples'].gt_instances.bboxes.tensor, boxes / 2)


def test_a_sample_that_a_transform_gives_up_is_drawn_anew(build):
    dataset = build(MOSAIC, dict(type='PackDetInputs'))
    answers = [None, None, True]
    dataset._of_images.insert(0, lambda results: answers.pop(0) and results)
    given = drawn(dataset, 3, 0)
    assert answers == [] and given['inputs'].shape == (3, 64, 96)
    dataset._of_images[0] = lambda results: None
    with pytest.raises(DataError, match=r'the pipeline returned no sample for .*0\.png in 15 attempts'):
        dataset[0]


@pytest.mark.parametrize('pipeline', [(MOSAIC, HSV), DARKNET], ids=['YOLOv5', 'Darknet'])
def test_the_cache_changes_no_sample(build, pipeline):
    plain, small = build(*pipeline), build(*pipeline, cache_gb=0.0006)
    large = build(*pipeline, cache_gb=0.1)
    for seed in range(3):
        for index in range(12):
            expected = drawn(small, index, seed)
            same(drawn(large, index, seed), expected)
            found = drawn(plain, index, seed)
            # Without a cache, small tiles may be decoded at a lower resolution.
            assert (found['inputs'].float() - expected['inputs'].float()).abs().mean() < 3
            same({**found, 'inputs': expected['inputs']}, expected)
    # A quarter of 400 x 300, that is 100 x 75 pixels, fits 96 x 64.
    assert large.read.cache.used == 12 * (100 * 75 if pipeline[0] is MOSAIC else 400 * 300) * 3
    assert 0 < small.read.cache.used <= 600_000


@pytest.mark.parametrize('pipeline', [(MOSAIC, HSV), DARKNET], ids=['YOLOv5', 'Darknet'])
def test_a_small_data_set_is_cached_by_itself(build, monkeypatch, pipeline):
    given, chosen = build(*pipeline, cache_gb=0.1), build(*pipeline, cache_gb=None)
    for index in range(12):
        same(drawn(chosen, index, index), drawn(given, index, index))
    assert chosen.read.cache.used == given.read.cache.used == 12 * 3 * (7500 if pipeline[0] is MOSAIC else 120_000)
    assert chosen.read.cache.used <= chosen.read.cache.capacity <= chosen.read.cache.used + 8
    monkeypatch.setattr('mmcnn.datasets.mosaic.shared_image_cache.SMALL', chosen.read.cache.used - 1)
    large, plain = build(*pipeline, cache_gb=None), build(*pipeline)
    assert large.read.cache is None
    same(drawn(large, 3, 0), drawn(plain, 3, 0))


class Seeded(Dataset):
    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return drawn(self.dataset, index, 1000 + index)


def batches(dataset, workers, **kwargs):
    return DataLoader(Seeded(dataset), 4, num_workers=workers, collate_fn=pseudo_collate, **kwargs)


@pytest.mark.parametrize('device_augmentation', [False, True])
def test_the_number_of_workers_changes_no_sample(build, device_augmentation):
    runs = []
    for workers in (0, 2):
        dataset = build(cache_gb=0.1, device_augmentation=device_augmentation)
        runs.append(list(batches(dataset, workers)))
    for one, other in zip(*runs, strict=True):
        for first, second in zip(one['data_samples'], other['data_samples'], strict=True):
            assert torch.equal(first.gt_instances.bboxes.tensor, second.gt_instances.bboxes.tensor)
        parts = one['inputs'] if device_augmentation else dict(images=one['inputs'])
        others = other['inputs'] if device_augmentation else dict(images=other['inputs'])
        for name, tensors in parts.items():
            assert all(torch.equal(*pair) for pair in zip(tensors, others[name], strict=True))


def test_workers_share_what_they_decode(build, monkeypatch, tmp_path):
    log, decode = tmp_path / 'decoded', tile_reader.read_image_file

    def logged(path, reduction):
        with open(log, 'a') as file:
            file.write(f'{os.getpid()} {path}\n')
        return decode(path, reduction)

    monkeypatch.setattr(tile_reader, 'read_image_file', logged)
    dataset = build(dict(MOSAIC, mosaic_prob=1.0, mixup_prob=0.0), cache_gb=0.1)
    loader = batches(dataset, 2, persistent_workers=True)
    for _ in loader:
        pass
    lines = log.read_text().splitlines()
    assert len({line.split()[0] for line in lines}) == 2  # both workers decoded
    assert 12 <= len(lines) <= 24 and dataset.read.cache.used == 12 * 100 * 75 * 3
    everything = dict.fromkeys(line.split()[1] for line in lines)
    for _ in loader:
        pass
    del loader
    for _ in batches(dataset, 2):  # new workers
        pass
    assert len(log.read_text().splitlines()) == len(lines) and len(everything) == 12


def test_processes_that_are_not_forked_are_refused(build):
    dataset = build(cache_gb=0.1)
    with pytest.raises(DataError, match='leave out cache_gb'):
        next(iter(batches(dataset, 1, multiprocessing_context='spawn')))


def test_a_cache_that_nobody_asked_for_is_left_out_where_it_cannot_be_shared(build):
    dataset = build(cache_gb=None)
    copied = pickle.loads(pickle.dumps(dataset))
    assert copied.read.cache is None
    for index in range(12):
        same(drawn(copied, index, index), drawn(dataset, index, index))
    assert dataset.read.cache.used > 0


def test_the_device_gets_the_same_boxes_and_no_image(build):
    here, there = build(), build(device_augmentation=True)
    for index in range(12):
        one, other = drawn(here, index, index), drawn(there, index, index)
        assert set(other['inputs']) == {'atlas', 'tiles', 'colours'}
        same(one, {**other, 'inputs': one['inputs']})


def test_what_cannot_work_is_refused(build):
    with pytest.raises(ValueError, match=r'must begin with mmcnn\.MosaicAffine or mmcnn\.DarknetMosaic'):
        build(HSV)
    with pytest.raises(ValueError, match='remove the pipeline of its inner dataset'):
        build(MOSAIC, dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))
    with pytest.raises(ValueError, match='device_augmentation: PackDetInputs needs the drawn image'):
        build(MOSAIC, dict(type='PackDetInputs'), device_augmentation=True)


def test_an_image_that_cannot_be_read_is_named(build, folder, monkeypatch):
    dataset = build(dict(MOSAIC, mosaic_prob=0.0))
    monkeypatch.setattr(dataset.read, 'path', lambda index: f'{folder}/images/gone{index}.jpg')
    with pytest.raises(DataError, match=r'gone5\.jpg cannot be read: No such file or directory'):
        dataset[5]


def test_a_broken_tile_is_counted_and_not_the_image_that_was_asked_for(build, monkeypatch):
    messages = []
    monkeypatch.setattr('mmcnn.engine.seeded_dataset.print_log', lambda line, **_: messages.append(line))
    dataset = build(dict(MOSAIC, mosaic_prob=1.0, mixup_prob=0.0))
    path = dataset.read.path
    monkeypatch.setattr(dataset.read, 'path', lambda index: 'gone.jpg' if index == 7 else path(index))
    seeded = SeededDataset(dataset, seed=0)
    for index in range(7):
        assert 'gone.jpg' not in seeded[index]['data_samples'].img_paths
    assert seeded.num_failed == 1
    assert messages == ['cannot use gone.jpg: DataError: gone.jpg cannot be read: No such file or directory; replaced '
                        'by another sample (1 such files so far)']  # fmt: skip


def test_the_mosaic_of_a_built_data_set_can_be_closed(build):
    dataset = build()
    assert isinstance(dataset, MosaicDataset) and isinstance(dataset.pipeline[0], MosaicAffine)
    dataset.pipeline[0].mosaic_prob = 0.0
    assert all(len(drawn(dataset, index, 0)['data_samples'].img_paths) == 1 for index in range(12))


@pytest.mark.slow
def test_a_run_drawn_by_the_device_with_a_cache(train_tiny, tmp_path):
    result = train_tiny(
        tmp_path,
        'train_dataloader.dataset.device_augmentation=True',
        args=['--epochs', 1, '--cache-gb', 0.1],
        config='yolov5_n_small',
    )
    assert result.code == 0, result.err
    assert 'AP50 = ' in result.out
