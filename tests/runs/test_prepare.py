"""The order in which a config is completed: user options, derived values, and contradictions."""

import pytest
import torch

from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs.options import TestOptions, TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from tests.weights.conftest import yolov5  # noqa: F401  the fixture that stands in for ultralytics

NARROW = {'model.widen_factor': 0.125, 'model.deepen_factor': 0.1}
NO_VALIDATION = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


@pytest.fixture
def finished(shapes, tmp_path):
    """Prepare the run of a tiny detector: ``finished({'cfg option': value}, epochs=3)``."""

    def finish(cfg_options=(), config='yolov4_cspdarknet53_narrow', **options):
        defaults = dict(data=shapes, work_dir=tmp_path / 'run', device='cpu', img_size=64, batch_size=2, workers=0)
        small = NARROW if config.startswith('yolov4') else {}
        with kept_process_state():
            return prepare(TrainOptions(config=config, cfg_options=small | dict(cfg_options), **defaults | options))

    return finish


def test_an_option_to_a_variable_wins_over_what_is_worked_out(finished):
    run = finished({'img_scale': (96, 96), 'max_epochs': 7, 'train_pipeline.0.mosaic_prob': 0}, epochs=3)
    mosaic = run.cfg.train_dataloader.dataset.pipeline[0]
    assert (mosaic.img_scale, mosaic.mosaic_prob, run.cfg.train_cfg.max_epochs) == ((96, 96), 0, 7)
    assert len([note for note in run.notes if 'is only a variable of the config' in note]) == 3


def test_two_places_for_the_data_contradict_each_other(finished, shapes):
    with pytest.raises(UsageError, match=rf'^data={shapes} and cfg_options data_root both set the data'):
        finished({'data_root': '/elsewhere'})


def test_workers_that_are_typed_away(finished):
    run = finished({'train_dataloader.num_workers': 0, 'train_dataloader.prefetch_factor': 4}, workers=1)
    loader = run.cfg.train_dataloader
    assert loader.num_workers == 0 and not {'persistent_workers', 'prefetch_factor'} & {*loader}
    assert any('prefetch_factor=4 needs worker processes' in note for note in run.notes)


def test_a_training_without_validation(finished):
    run = finished(NO_VALIDATION)
    assert run.data.num_train == 8 and run.data.num_val is None and run.cfg.val_dataloader is None
    with pytest.raises(UsageError, match=r'^val_cfg is None or missing, but not val_dataloader and val_evaluator'):
        finished(dict(val_cfg=None))
    none = dict(test_cfg=None, test_dataloader=None, test_evaluator=None)
    assert finished(NO_VALIDATION | none).cfg.test_dataloader is None


def test_metrics_that_are_typed_get_the_data(finished, shapes):
    metrics = [dict(type='mmcnn.CocoMetric'), dict(type='VOCMetric', metric='mAP')]
    cfg = finished(dict(val_evaluator=metrics)).cfg
    assert cfg.val_evaluator[0].ann_file == str(shapes / 'val.json') and 'ann_file' not in cfg.val_evaluator[1]


def test_a_loss_scale_needs_mixed_precision(finished):
    with pytest.raises(UsageError, match=r"loss_scale={'init_scale': 512}: a loss scale needs mixed precision"):
        finished({'optim_wrapper.loss_scale.init_scale': 512})


def test_another_optimizer_and_its_rate(finished):
    run = finished({'optim_wrapper.optimizer.type': 'AdamW', 'optim_wrapper.optimizer.lr': 2e-3})
    assert run.cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=2e-3, weight_decay=5e-4)
    assert any('dropped momentum=0.937, nesterov=True, which AdamW does not take' in note for note in run.notes)


def test_weights_for_the_backbone_alone(finished, tmp_path):
    path = tmp_path / 'c.pth'
    torch.save(dict(state_dict={'a': torch.ones(3)}), path)
    run = finished(backbone_weights=path)
    assert run.cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=str(path))
    swapped = finished(config='faster_rcnn_resnet50_fpn', backbone='resnet18', backbone_weights=path)
    assert swapped.cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=str(path))
    assert swapped.cfg.model.backbone.frozen_stages == 2  # as with any other weights
    for other in (dict(resume=True), dict(load_from=path), dict(cfg_options={'model.backbone.init_cfg.type': 'x'})):
        with pytest.raises(UsageError, match=r'^backbone_weights=\S+c\.pth and .* both set the initial weights'):
            finished(backbone_weights=path, **other)
    with pytest.raises(CheckpointError, match=r'gone\.pth does not exist'):
        finished(backbone_weights=tmp_path / 'gone.pth')


@pytest.mark.parametrize('hooks', [[], (), None, [dict(type='mmcnn.StepEMAHook')]])
def test_patience_beside_hooks_that_are_typed(finished, hooks):
    run = finished(dict(custom_hooks=hooks), patience=2)
    *typed, last = run.cfg.custom_hooks
    assert typed == list(hooks or []) and (last.type, last.patience) == ('mmcnn.ResumableEarlyStoppingHook', 2)


def test_patience_is_compared_with_the_length_that_is_typed(finished):
    run = finished({'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 2}, patience=1, epochs=30)
    assert 'note: patience=1 cannot end a run of 1 validation (one after every 2 epochs)' in run.notes


def test_a_typed_optimizer_without_a_rate_is_warmed(finished):
    typed = {'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW')}
    run = finished(typed, recipe='warm-start')
    assert run.cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=pytest.approx(1e-3 / 4))


def test_an_environment_that_the_runner_cannot_set_up(finished):
    with pytest.raises(UsageError, match=r"^env_cfg\.mp_cfg has no entry 'start_method'"):
        finished({'env_cfg.mp_cfg.start_method': 'fork'})
    with pytest.raises(UsageError, match=r"^env_cfg\.mp_cfg\.mp_start_method='frok': did you mean"):
        finished({'env_cfg.mp_cfg.mp_start_method': 'frok'})


@pytest.mark.parametrize('config', [None, 'yolov5_n'])
def test_data_is_evaluated_by_the_classes_that_the_weights_name(config, yolov5, shapes, tmp_path):  # noqa: F811
    """A named config changes nothing; the data have another order of classes, which could not be detected otherwise."""
    peer = yolov5.model('n', focus=False, nc=3)
    peer.names = ['triangle', 'circle', 'square']
    path = yolov5.save(peer, tmp_path / 'yolov5n.pt')
    options = dict(data=shapes, work_dir=tmp_path / 'run', device='cpu', workers=0)
    with kept_process_state():
        run = prepare(TestOptions(checkpoint=path, config=config, **options))
        assert run.data.classes == ('triangle', 'circle', 'square')
        peer.names = ['triangle', 'circle', 'ring']
        path = yolov5.save(peer, tmp_path / 'other.pt')
        with pytest.raises(UsageError, match=r"was trained on the classes \('triangle', 'circle', 'ring'\), but"):
            prepare(TestOptions(checkpoint=path, config=config, **options))
