"""Non-finite values, and the initial weights of a training."""

import copy
import shutil
import zipfile

import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs.options import TestOptions, TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runs.training import check_initial_weights, set_on_nan, set_patience, use_own_parts
from mmcnn.weights.checkpoint import Checkpoint

CONFIG = 'yolov4_cspdarknet53'


def run_config(work_dir, **entries):
    """Return a config with the entries that define the start of a run."""
    return Config(dict(work_dir=str(work_dir), train_cfg=dict(max_epochs=2), **entries))


def test_a_config_of_mmdetection_gets_the_loop_and_the_checkpoints_of_this_package():
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco')
    before = copy.deepcopy(cfg)
    use_own_parts(cfg)
    assert cfg.train_cfg == dict(before.train_cfg, type='mmcnn.ResumableTrainLoop')
    hook = dict(type='mmcnn.AtomicCheckpointHook', interval=1, save_best='auto')
    assert cfg.default_hooks == dict(before.default_hooks, checkpoint=hook)
    lazy = copy.deepcopy(before)
    lazy.train_cfg.type, lazy.default_hooks.checkpoint.type = EpochBasedTrainLoop, CheckpointHook
    use_own_parts(lazy)
    assert lazy.train_cfg == cfg.train_cfg and lazy.default_hooks == cfg.default_hooks


@pytest.mark.parametrize(
    ('entries', 'loop', 'hook'),
    [
        ({'default_hooks.checkpoint.save_best': None}, True, dict(type='mmcnn.AtomicCheckpointHook', save_best=None)),
        ({'val_evaluator': None}, True, dict(type='mmcnn.AtomicCheckpointHook')),
        ({'val_evaluator.type': 'CocoPanopticMetric'}, True, dict(type='mmcnn.AtomicCheckpointHook')),
        ({'val_evaluator.type': CocoMetric}, True, dict(type='mmcnn.AtomicCheckpointHook', save_best='auto')),
        ({'default_hooks.checkpoint.out_dir': 's3://a'}, True, dict(type='CheckpointHook', out_dir='s3://a')),
        ({'default_hooks.checkpoint.type': 'mmengine.CheckpointHook'}, True, dict(type='mmengine.CheckpointHook')),
        ({'train_cfg.type': 'mmengine.EpochBasedTrainLoop'}, False, dict(type='CheckpointHook')),
        ({'train_cfg.type': 'IterBasedTrainLoop'}, False, dict(type='CheckpointHook')),
    ],
)
def test_parts_that_a_config_chose_itself_stay(entries, loop, hook):
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco')
    cfg.merge_from_dict(entries)
    use_own_parts(cfg)
    assert (cfg.train_cfg.type == 'mmcnn.ResumableTrainLoop') == loop
    assert cfg.default_hooks.checkpoint == dict(interval=1, **hook)


@pytest.mark.slow
def test_a_run_of_mmdetection_s_config_keeps_its_best_checkpoint_and_has_an_ap(shapes, tmp_path):
    result = mmcnn.train(
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco',
        backbone='mobilenetv2', data=shapes, img_size=64, epochs=1, batch_size=4, workers=0, work_dir=tmp_path / 'run',
    )  # fmt: skip
    assert result.best.name == 'best.pth' and result.best.resolve().name == 'best_coco_bbox_mAP_epoch_1.pth'
    assert result.last.resolve().name == 'epoch_1.pth'
    assert {'AP', 'AP50'} <= result.metrics.keys()
    assert mmcnn.evaluate(result.best).metrics['AP'] == result.metrics['AP']


def test_on_nan():
    cfg = load_config(CONFIG)
    set_on_nan(cfg, None)
    assert 'on_nan' not in cfg.train_cfg
    set_on_nan(cfg, 'skip')
    assert cfg.train_cfg.on_nan == 'skip'
    cfg.train_cfg.type = 'EpochBasedTrainLoop'
    with pytest.raises(UsageError, match=r'on_nan=stop needs train_cfg\.type=mmcnn\.ResumableTrainLoop, .* has Epoch'):
        set_on_nan(cfg, 'stop')


@pytest.mark.parametrize(
    ('config', 'options', 'monitor'),
    [
        (CONFIG, {}, 'coco/bbox_mAP'),
        (CONFIG, {'default_hooks.checkpoint.save_best': 'auto'}, 'coco/bbox_mAP'),
        (CONFIG, {'default_hooks.checkpoint.save_best': ['coco/bbox_mAP_50', 'coco/bbox_mAP']}, 'coco/bbox_mAP_50'),
        (CONFIG, {'default_hooks.checkpoint': None}, 'coco/bbox_mAP'),
        ('classification/darknet53', {}, 'accuracy/top1'),
        ('classification/darknet53', {'default_hooks.checkpoint.save_best': None}, 'accuracy/top1'),
    ],
)
def test_patience_watches_what_the_best_is_saved_by(config, options, monitor):
    cfg = load_config(config, options)
    before = list(cfg.get('custom_hooks') or [])
    set_patience(cfg, None)
    assert list(cfg.get('custom_hooks') or []) == before
    said = []
    set_patience(cfg, 3, said.append)
    assert cfg.custom_hooks[:-1] == before
    assert cfg.custom_hooks[-1] == dict(type='mmcnn.ResumableEarlyStoppingHook', monitor=monitor, patience=3)
    assert said == []


def test_patience_that_has_nothing_to_look_at_or_no_time():
    cfg = load_config(CONFIG, {'default_hooks.checkpoint.rule': 'less'})
    cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval, said = 30, 3, []
    set_patience(cfg, 9, said.append)
    assert cfg.custom_hooks[-1].rule == 'less' and said == []
    set_patience(cfg, 10, said.append)
    assert said == ['note: patience=10 cannot end a run of 10 validations (one after every 3 epochs)']
    cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval = 1, 1
    set_patience(cfg, 1, said.append)
    assert said[1] == 'note: patience=1 cannot end a run of 1 validation (one after every epoch)'
    cfg.val_evaluator = None
    with pytest.raises(UsageError, match=r'patience=3: the config has no validation'):
        set_patience(cfg, 3)


@pytest.mark.parametrize(
    ('checkpoint', 'error', 'words'),
    [
        ('torchvision://resnet51', CheckpointError, 'torchvision://resnet51: unknown name; did you mean'),
        ('/not/there.pth', CheckpointError, '/not/there.pth does not exist'),
    ],
)
def test_pretrained_backbones_are_looked_at_first(checkpoint, error, words):
    cfg = load_config(CONFIG, {'model.backbone.init_cfg': dict(type='Pretrained', checkpoint=checkpoint)})
    with pytest.raises(error, match=words):
        check_initial_weights(cfg)


def test_nothing_to_resume_leaves_load_from(trained, tmp_path, capsys):
    cfg = Config(
        dict(work_dir=str(tmp_path), load_from=str(trained.checkpoint), resume=False, train_cfg=dict(max_epochs=2))
    )
    check_initial_weights(cfg, True)
    assert 'the run starts from the beginning' in capsys.readouterr().out
    assert (cfg.resume, cfg.load_from) == (False, str(trained.checkpoint))
    check_initial_weights(cfg, str(trained.checkpoint))
    assert (cfg.resume, cfg.load_from) == (True, str(trained.checkpoint))


def test_resume_option_is_the_same_as_the_flag(trained):
    for load_from in (None, str(trained.checkpoint)):
        cfg = Config(
            dict(work_dir=str(trained.work_dir), load_from=load_from, resume=True, train_cfg=dict(max_epochs=2))
        )
        check_initial_weights(cfg)
        assert (cfg.resume, cfg.load_from) == (True, str(trained.checkpoint))


def test_a_damaged_last_checkpoint_is_passed_over_and_said_so(trained, tmp_path, capsys):
    shutil.copytree(trained.work_dir, tmp_path / 'run')
    torn = tmp_path / 'run' / 'epoch_2.pth'
    torn.write_bytes(torn.read_bytes()[:-1000])
    cfg = run_config(tmp_path / 'run')
    check_initial_weights(cfg, True)
    older = tmp_path / 'run' / 'epoch_1.pth'
    assert (cfg.resume, cfg.load_from) == (True, str(older))
    assert capsys.readouterr().out == (
        f'note: {torn} is truncated: the end of the file is missing; the run continues from {older} instead\n'
        f'continuing from {older}: 1 of 2 epochs in total are done\n'
    )


def test_a_named_one_that_torch_cannot_build_is_refused_before_the_run(trained, tmp_path):
    path = tmp_path / 'x.pth'
    content = dict(state_dict={'a': torch.ones(3)}, optimizer=dict(m=torch.ones(500)), meta=dict(epoch=1))
    torch.save(content, path)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo('x/data/1').header_offset
    with path.open('r+b') as file:
        file.seek(start)
        file.write(bytes(30))
    with pytest.raises(CheckpointError, match=r"x\.pth was rejected: the header of 'x/data/1' in it is damaged$"):
        check_initial_weights(run_config(tmp_path), str(path))
    torch.save({**content, 'state_dict': {'a': 3}}, path)
    with pytest.raises(CheckpointError, match=r'x\.pth: the checkpoint has a state_dict that is not a dict of tensors'):
        check_initial_weights(run_config(tmp_path), str(path))


def test_an_earlier_run_s_checkpoints_are_pointed_out(tmp_path, capsys):
    (tmp_path / 'epoch_7.pth').touch()
    cfg = run_config(tmp_path)
    check_initial_weights(cfg, True)
    assert cfg.resume is False
    assert (
        'note: epoch_7.pth are from an earlier run; to continue from one of them, use resume=FILE'
        in capsys.readouterr().out
    )


@pytest.mark.parametrize('options', [TestOptions, TrainOptions])
def test_other_images_are_found_before_a_run_starts(trained, tmp_path, options):
    weights = dict(checkpoint=trained.checkpoint) if options is TestOptions else dict(resume=trained.checkpoint)
    other = {'model.data_preprocessor.mean': [1.0, 1.0, 1.0]}
    with kept_process_state():
        run = prepare(
            options(
                config=Checkpoint.open(trained.checkpoint).config,
                work_dir=tmp_path / 'run',
                cfg_options=other,
                **weights,
            )
        )
    assert run.warnings[-1] == (
        f'warning: {trained.checkpoint} was trained with mean=[0.0, 0.0, 0.0] in model.data_preprocessor, but this '
        'config has mean=[1.0, 1.0, 1.0]: the results will be wrong; use the values of the training'
    )
