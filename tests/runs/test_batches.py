"""Batch sizes, accumulation and learning rates, on any number of GPUs."""

import json

import pytest

from mmcnn.config.load import load_config
from mmcnn.runs.batches import describe_batches, drop_of_workers, images_of_own_data, set_batches
from mmcnn.runs.options import RunOptions

CONFIG = 'yolov4_cspdarknet53'


def batches(cfg, batch_size=None, launcher='none', num_images=None, workers=None):
    args = RunOptions(batch_size=batch_size, launcher=launcher, workers=workers)
    set_batches(cfg, args, num_images)
    return describe_batches(cfg, launcher), cfg.optim_wrapper.accumulative_counts


@pytest.mark.parametrize(('launcher', 'variable'), [('pytorch', 'WORLD_SIZE'), ('slurm', 'SLURM_NTASKS')])
@pytest.mark.parametrize(
    ('processes', 'batch', 'counts'), [(1, 16, 4), (2, 16, 2), (4, 16, 1), (8, 8, 1), (16, 4, 1), (32, 2, 1)]
)
def test_a_step_sees_64_images_on_any_number_of_gpus(launcher, variable, processes, batch, counts, monkeypatch):
    monkeypatch.setenv(variable, str(processes))
    cfg = load_config(CONFIG)
    line, found = batches(cfg, launcher=launcher, num_images=118_287)
    assert (cfg.train_dataloader.batch_size, found) == (batch, counts)
    images = batch * processes
    every = f'{images} images per iteration, {counts} iterations per step: ' if counts > 1 else ''
    assert line == f'{every}64 images per step'


def test_a_typed_batch_that_changes_the_recipe_is_said(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '8')
    line, counts = batches(load_config(CONFIG), batch_size=16, launcher='pytorch')
    assert counts == 1 and line.startswith('128 images per step (')
    assert line.endswith('(the config is for 64 images per step: this run has 0.5 times as many steps)')


def test_processes_of_another_launcher_do_not_count(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '8')
    assert batches(load_config(CONFIG), batch_size=16)[1] == 4


@pytest.mark.parametrize(
    ('epochs', 'images', 'counts'),
    [
        (30, 200, 1),  # 390 iterations
        (100, 310, 2),  # 2,000 iterations
        (300, 160, 3),  # 3,000 iterations
        (300, 320, 4),  # 6,000 iterations; the maximum is 64 images
    ],
)
def test_small_data_keeps_its_steps(epochs, images, counts):
    cfg = load_config(CONFIG)
    cfg.train_cfg.max_epochs = epochs
    found = batches(cfg, batch_size=16, num_images=images)[1]
    iterations = epochs * -(-images // 16)
    assert found == counts
    assert found == 1 or iterations // found >= 1000


def test_workers_and_batch_sizes_of_all_loaders(monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 4)
    cfg = load_config(CONFIG)
    batches(cfg, batch_size=3, workers=9)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (3, 4, True)
    batches(cfg, workers=0)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (3, 0, False)


def test_recipe_without_nominal_batch_is_left_alone():
    cfg = load_config(CONFIG)
    cfg.pop('nominal_batch_size')
    assert batches(cfg, batch_size=1) == ('1 image per iteration, 4 iterations per step: 4 images per step', 4)


@pytest.mark.parametrize(
    ('batch', 'images', 'processes', 'counts', 'rate'),
    [
        (None, 1_281_167, 1, 4, 0.1),  # 64 images, four times
        (None, 1_281_167, 16, 1, 0.1),  # 16 per process
        (32, 1_281_167, 1, 8, 0.1),
        (None, 1000, 1, 1, 0.025),  # 1,600 steps of 64 images
        (16, 1000, 1, 6, 0.0375),  # 6,300 iterations, 1,050 steps of 96
        (4, 40, 1, 1, 0.1 / 64),
    ],
)
def test_rate_of_a_classifier_follows_the_images_of_a_step(batch, images, processes, counts, rate, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = load_config('classification/darknet53')
    line, found = batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
    assert found == counts
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert line.endswith(f'images per step, learning rate {rate:.3g}')
    # The recorded config describes the same recipe, so it gives the same result.
    batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
    assert (cfg.optim_wrapper.accumulative_counts, cfg.optim_wrapper.optimizer.lr) == (counts, pytest.approx(rate))


@pytest.mark.parametrize(
    ('batch', 'images', 'processes', 'counts', 'rate', 'larger'),
    [
        (None, 118_287, 1, 8, 1e-3, 1),  # 8 images, eight times
        (None, 118_287, 8, 1, 1e-3, 1),  # MMDetection's 8 x 8
        (None, 118_287, 4, 2, 1e-3, 1),
        (None, 118_287, 16, 1, 1e-3 * 8 / 4, 4 / 8),  # 4 per process: sums are half as large
        (16, 118_287, 1, 4, 1e-3 * 8 / 16, 16 / 8),
        (16, 118_287, 8, 1, 1e-3 * 128 / 64 * 8 / 16, 16 / 8),  # images and sums are doubled
        (64, 118_287, 1, 1, 1e-3 * 8 / 64, 64 / 8),
        (None, 29, 1, 1, 1e-3 * 8 / 64, 1),  # 273 epochs of 4 iterations: 1,092 steps of 8 images
        (16, 29, 1, 1, 1e-3 * 16 / 64 * 8 / 16, 16 / 8),
    ],
)
def test_rate_of_summed_losses(batch, images, processes, counts, rate, larger, monkeypatch):
    """YOLOv3 has 1e-3 for 64 images, 8 of which are summed; decay 5e-4 and clipping at 35 are for such sums."""
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = load_config('yolov3_darknet53')
    for _ in range(2):  # the recorded config gives the same result
        line, found = batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
        assert found == counts
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.lr, optimizer.weight_decay) == pytest.approx((rate, 5e-4 * larger))
        assert cfg.optim_wrapper.clip_grad.max_norm == pytest.approx(35 * larger)
        assert line.endswith(f'images per step, learning rate {rate:.3g}')


def test_what_summed_losses_do_not_have_is_left_out():
    cfg = load_config('yolov3_darknet53', {'optim_wrapper.clip_grad': None})
    cfg.optim_wrapper.optimizer.pop('weight_decay')
    batches(cfg, batch_size=16)
    assert cfg.optim_wrapper.clip_grad is None
    assert 'weight_decay' not in cfg.optim_wrapper.optimizer


@pytest.mark.parametrize(
    ('batch', 'images', 'processes', 'counts', 'rate'),
    [
        (None, 118_287, 1, 8, 0.02),  # 2 images, eight times
        (None, 118_287, 8, 1, 0.02),  # MMDetection's 8 x 2
        (1, 118_287, 1, 16, 0.02),
        (None, 118_287, 32, 1, 0.02 * 32 / 16),  # at least one image per process
        (16, 118_287, 8, 1, 0.02 * 128 / 16),
        (2, 200, 1, 1, 0.02 * 2 / 16),  # 1,200 iterations
    ],
)
def test_rate_of_faster_rcnn(batch, images, processes, counts, rate, monkeypatch):
    """0.02 is for 16 images. The losses are means, so decay does not depend on the batch size."""
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = load_config('faster_rcnn_resnet50_fpn')
    for _ in range(2):
        line, found = batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
        assert found == counts
        assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == pytest.approx((rate, 1e-4))
        assert line.endswith(f'images per step, learning rate {rate:.3g}')


def test_what_is_for_workers_goes_with_them():
    said = []
    cfg = load_config(CONFIG)
    batches(cfg, workers=2)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=True, prefetch_factor=2, timeout=30)  # by the user
    drop_of_workers(cfg, {'train_dataloader.num_workers', 'train_dataloader.prefetch_factor'}, said.append)
    loader = cfg.train_dataloader
    assert not {'persistent_workers', 'prefetch_factor', 'timeout'} & {*loader}
    assert (cfg.val_dataloader.num_workers, cfg.val_dataloader.persistent_workers) == (2, True)
    assert said == ['note: train_dataloader: prefetch_factor=2 needs worker processes, but num_workers=0: dropped']


def test_a_training_without_validation_has_one_loader():
    cfg = load_config(CONFIG, dict(val_dataloader=None, test_dataloader=None))
    batches(cfg, batch_size=3, workers=0)
    assert (cfg.train_dataloader.batch_size, cfg.val_dataloader, cfg.test_dataloader) == (3, None, None)


@pytest.mark.parametrize(('images', 'processes', 'drop'), [(17, 1, True), (18, 1, False), (33, 2, True), (1, 1, False)])
def test_a_batch_of_one_image_is_left_out(images, processes, drop, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = load_config('classification/darknet53')
    batches(cfg, batch_size=16, launcher='pytorch', num_images=images)
    assert cfg.train_dataloader.drop_last is drop
    cfg = load_config(CONFIG)
    batches(cfg, batch_size=16, launcher='pytorch', num_images=images)
    assert 'drop_last' not in cfg.train_dataloader


def test_small_data_of_a_config_s_own_is_counted(tmp_path):
    for name, count in (('a', 10), ('b', 20)):
        images = [dict(id=number, file_name='x.png') for number in range(count)]
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(images=images, annotations=[], categories=[])))
    cfg = load_config(CONFIG)
    a, b = (dict(type='CocoDataset', data_root=str(tmp_path), ann_file=f'{name}.json') for name in 'ab')
    cfg.train_dataloader.dataset.dataset = dict(
        type='ConcatDataset', datasets=[a, dict(type='RepeatDataset', times=3, dataset=b)]
    )
    assert images_of_own_data(cfg) == 70
    cfg.train_cfg.max_epochs = 10
    assert batches(cfg, batch_size=4, num_images=images_of_own_data(cfg))[1] == 1  # 180 iterations


def test_data_of_another_kind_or_of_many_images_is_not_counted(tmp_path, monkeypatch):
    cfg = load_config(CONFIG)
    assert images_of_own_data(cfg) is None  # COCO does not exist
    (tmp_path / 'a.json').write_text('{"images": [], "annotations": [], "categories": []}')
    cfg.train_dataloader.dataset.dataset = dict(type='CocoDataset', ann_file=str(tmp_path / 'a.json'))
    assert images_of_own_data(cfg) == 0
    monkeypatch.setattr('mmcnn.runs.batches.LARGE', 10)
    assert images_of_own_data(cfg) is None
    cfg.train_dataloader.dataset.dataset = dict(type='XMLDataset', data_root=str(tmp_path), ann_file='a.txt')
    assert images_of_own_data(cfg) is None
