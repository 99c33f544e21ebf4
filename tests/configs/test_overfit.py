"""A narrow form of each recipe overfits a few images: a test before any long run."""

import pytest

from mmcnn.datasets.folders.shapes import make_shapes

IMAGES = 12

PLAIN = ['train_dataloader.dataset.pipeline.0.mosaic_prob=0.0']
#: Config -> options that adapt its recipe to a few hundred steps.
RECIPES = {
    # The class gain is meant for COCO's 80 classes and 300 epochs, and too small for three classes and minutes.
    'yolov4_cspdarknet53': [
        *PLAIN,
        'train_dataloader.dataset.pipeline.0.scale=(0.9,1.1)',
        'model.bbox_head.loss.cls_gain=2.0',
    ],
    'yolov4_cspdarknet53_narrow': [*PLAIN, 'train_dataloader.dataset.pipeline.0.scale=(0.9,1.1)'],
    'yolov5_l': [
        *PLAIN,
        'train_dataloader.dataset.pipeline.0.mixup_prob=0.0',
        'train_dataloader.dataset.pipeline.0.scale=(0.9,1.1)',
        'model.bbox_head.loss.cls_gain=2.0',
        'model.bbox_head.loss.obj_by_area=False',
    ],
    'yolov4_cspdarknet53_darknet': [
        *PLAIN,
        'train_dataloader.dataset.pipeline.0.jitter=0.1',
        'model.data_preprocessor.batch_augments=None',
        'optim_wrapper.optimizer.lr=0.005',
    ],
}


#: Each recipe takes two to five minutes of CPU time; the others are run by hand.
SLOW = ('yolov5_l',)


@pytest.mark.parametrize(
    'config',
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.campaign) for name in RECIPES],
)
def test_learns_twelve_images_by_heart(run_tool, config, tmp_path):
    data = make_shapes(tmp_path / 'data', num_train=IMAGES, num_val=1, size=128)
    arguments = [
        config, '--data', str(data), '--img-size', '128', '--batch-size', '4', '--workers', '0',
        '--epochs', '250', '--device', 'cpu', '--work-dir', str(tmp_path / 'run'), '--cfg-options',
        'model.widen_factor=0.25', 'model.deepen_factor=0.33', 'train_cfg.val_interval=1000',
        'default_hooks.checkpoint.interval=1000', 'custom_hooks.0.warmup_min_iters=30',
        'val_dataloader.dataset.ann_file=train.json', f'val_evaluator.ann_file={data / "train.json"}', *RECIPES[config],
    ]  # fmt: skip
    result = run_tool('train', *arguments)
    assert result.code == 0, result.err
    last = result.out.strip().splitlines()[-1]
    assert last.startswith('AP50 = ')
    assert float(last.removeprefix('AP50 = ')) > 0.9
