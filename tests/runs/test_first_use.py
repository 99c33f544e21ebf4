"""Components that a training first uses in its first validation are tested before its first step."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import MMLogger

from mmcnn.errors import UsageError
from mmcnn.evaluation import CocoMetric
from mmcnn.evaluation.accuracy import TopK
from mmcnn.runs.first_use import FirstUseHook, check_watching_hooks
from mmcnn.runs.results import NAMES


@pytest.fixture
def coco(shapes):
    metric = CocoMetric(str(shapes / 'val.json'))
    metric.dataset_meta = dict(classes=('circle', 'square', 'triangle'))
    return metric


class Foreign:
    """A metric of another library, whose names are unknown."""

    def __init__(self, prefix):
        self.prefix = prefix


def start(*metrics, hooks=(), schedulers=None, val_loop=True):
    evaluator = SimpleNamespace(metrics=list(metrics))
    FirstUseHook().before_train(
        SimpleNamespace(
            val_loop=val_loop or None, val_evaluator=evaluator, hooks=list(hooks), param_schedulers=schedulers
        )
    )


@pytest.mark.parametrize(
    'name', [*NAMES.values(), 'coco/bbox_AP/circle', 'auto', None, ['coco/bbox_mAP', 'coco/bbox_AR@1']]
)
def test_names_that_are_there(coco, name):
    start(coco, hooks=[CheckpointHook(save_best=name, rule='greater')])


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('bbox_mAP', 'did you mean coco/bbox_mAP?'),
        ('AP50', 'did you mean coco/bbox_mAP_50?'),
        ('bbox_AP/circle', 'did you mean coco/bbox_AP/circle'),
        ('coco/mAP', 'did you mean coco/bbox_mAP or '),
        (['coco/bbox_mAP', 'mAP'], 'did you mean coco/bbox_mAP?'),
        ('accuracy/top1', 'known: coco/bbox_AP/circle, '),
    ],
)
def test_a_best_that_no_validation_gives(coco, name, meant):
    wrong = name if isinstance(name, str) else name[-1]
    with pytest.raises(UsageError) as error:
        start(coco, hooks=[CheckpointHook(save_best=name, rule='greater')])
    assert str(error.value).startswith(f'save_best={wrong}: no validation has this metric; {meant}')


def test_early_stopping_and_learning_rates_that_wait_for_a_number(coco):
    with pytest.raises(UsageError, match=r'EarlyStoppingHook\.monitor=mAP: .*did you mean'):
        start(coco, hooks=[EarlyStoppingHook('mAP')])
    plateau = SimpleNamespace(need_val_args=True, monitor='loss')
    for schedulers in ([plateau], {'a': [plateau], 'b': [SimpleNamespace()]}):
        with pytest.raises(UsageError, match=r'SimpleNamespace\.monitor=loss: no validation has this metric'):
            start(coco, schedulers=schedulers)
    plateau.monitor = 'coco/bbox_mAP'
    start(coco, schedulers=[plateau])


def test_the_trial_leaves_no_trace(coco, tmp_path):
    logger = MMLogger.get_instance('first use', log_file=str(tmp_path / 'log'))
    coco.best_f1_score = 0.7
    start(coco, hooks=[CheckpointHook(save_best='coco/bbox_mAP')])
    assert coco.best_f1_score == 0.7 and coco.results == []
    logger.info('after')
    assert len((tmp_path / 'log').read_text().splitlines()) == 1


def test_a_classifier_of_three_classes_has_no_top5():
    metric = TopK()
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    start(metric, hooks=[CheckpointHook(save_best='accuracy/top3')])
    assert metric.topk == (1, 5)
    with pytest.raises(UsageError, match=r'save_best=accuracy/top5: .*did you mean accuracy/top3 or accuracy/top1'):
        start(metric, hooks=[CheckpointHook(save_best='accuracy/top5')])
    with pytest.raises(UsageError, match=r'save_best=top1: .*did you mean accuracy/top1\?'):
        start(metric, hooks=[CheckpointHook(save_best='top1')])


def test_of_metrics_that_cannot_be_asked_the_prefix_counts(coco):
    best = [CheckpointHook(save_best='voc/AP50', rule='greater')]
    start(Foreign('voc'), hooks=best)
    start(coco, Foreign('voc'), hooks=best)
    start(Foreign(None), hooks=best)  # its prefix is unknown
    with pytest.raises(UsageError, match=r'save_best=voc/AP50: .*; the name must begin with coco/'):
        start(Foreign('coco'), hooks=best)
    with pytest.raises(UsageError, match=r'save_best=voc/AP50: .*did you mean coco/'):
        start(coco, Foreign('lvis'), hooks=best)


def test_without_validations_nothing_is_asked(coco):
    start(coco, hooks=[CheckpointHook(save_best='mAP')], val_loop=False)


def test_hooks_whose_rule_is_unknown_are_refused_with_their_place():
    checkpoint = dict(type='mmcnn.AtomicCheckpointHook', save_best='coco/bbox_AP/a')
    cfg = Config(dict(default_hooks=dict(checkpoint=checkpoint)))
    with pytest.raises(UsageError, match=r'^default_hooks\.checkpoint: Cannot infer the rule for key coco/bbox_AP/a'):
        check_watching_hooks(cfg)
    cfg = Config(dict(custom_hooks=[dict(type='IterTimerHook'), dict(type='EarlyStoppingHook', monitr='x')]))
    with pytest.raises(UsageError, match=r'^custom_hooks\.1: .*monitr'):
        check_watching_hooks(cfg)
    check_watching_hooks(Config(dict(default_hooks=dict(logger=dict(type='LoggerHook'), checkpoint=None))))
