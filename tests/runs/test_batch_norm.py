"""One small image gives BatchNorm a single value: refused, or dropped from each epoch, before the first step."""

import pytest
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.errors import UsageError
from mmcnn.runs.batch_norm import check_batch_norm
from mmcnn.runs.img_size import set_img_size


def config(name='yolov5_n', size=32, batch=1, **options):
    small = {} if 'classification' in name else {'model.widen_factor': 0.125, 'model.deepen_factor': 0.1}
    cfg = load_config(name, (small if name == 'yolov5_n' else {}) | options, say=lambda note: None)
    set_img_size(cfg, size)
    cfg.train_dataloader.batch_size = batch
    wire_model(cfg)
    return cfg


@pytest.mark.parametrize('name', ['yolov5_n', 'classification/darknet53'])
def test_batches_of_one_value_are_refused(name):
    with pytest.raises(UsageError, match=r'^batches of one image of 32 x 32 px: .* use a batch_size of at least 2'):
        check_batch_norm(config(name), 'none', None, print)
    check_batch_norm(config(name, size=64), 'none', None, print)
    check_batch_norm(config(name, batch=2), 'none', None, print)


def test_that_is_what_pytorch_would_say_at_the_first_step():
    import torch

    from mmcnn.config.model import build_on_meta

    model = build_on_meta(config()).train()
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        model.extract_feat(torch.empty(1, 3, 32, 32, device='meta'))


@pytest.mark.parametrize(('images', 'batch', 'left_out'), [(9, 4, True), (8, 4, False), (10, 4, False)])
def test_a_last_batch_of_one_is_left_out_and_said(images, batch, left_out):
    said = []
    cfg = config(batch=batch)
    check_batch_norm(cfg, 'none', images, said.append)
    assert bool(cfg.train_dataloader.get('drop_last')) is left_out
    assert (
        said
        == [
            'note: 9 images in batches of 4 leave one image, and BatchNorm cannot train on one image of 32 x 32 '
            'px: each epoch drops one image'
        ]
        * left_out
    )


def test_a_batch_sampler_leaves_it_out_itself():
    """PyTorch's loader does not accept drop_last together with a batch sampler."""
    cfg, said = config('yolov3_darknet53', batch=2, **{'model.backbone.init_cfg': None}), []
    check_batch_norm(cfg, 'none', 127, said.append)
    assert len(said) == 1 and cfg.train_dataloader.batch_sampler.drop_last
    plain = dict(dataset=[None] * 127, num_workers=0, collate_fn=list, persistent_workers=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        loader = Runner.build_dataloader({**cfg.train_dataloader, **plain})
    assert loader.batch_sampler.drop_last and loader.batch_sampler.batch_size == 2


def test_one_image_in_all_is_refused():
    with pytest.raises(UsageError, match=r'batches of one image .*\(and as many images\)'):
        check_batch_norm(config(batch=4), 'none', 1, print)


def test_frozen_batch_norm_takes_one_value():
    check_batch_norm(config('faster_rcnn_resnet50_fpn'), 'none', None, print)


def test_sizes_that_change_count_with_the_smallest():
    sizes = {'model.data_preprocessor.batch_augments': [dict(type='BatchSyncRandomResize', random_size_range=(32, 96))]}
    cfg = config(size=64, **sizes)
    cfg.model.data_preprocessor.batch_augments[0].random_size_range = (32, 96)
    with pytest.raises(UsageError, match='32 x 32 px'):
        check_batch_norm(cfg, 'none', None, print)
