"""Statistics of young runs, compared with those computed from the training batches."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmcnn.engine import BNStatisticsHook, bn_statistics_hook

BATCH, EPOCH = 8, 5


class Net(BaseModel):
    """A BatchNorm that is trained, a frozen one, one with a cumulative average and one without statistics."""

    def __init__(self, momentum=0.03):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2, momentum=momentum)
        self.frozen = nn.BatchNorm2d(2)
        self.cumulative = nn.BatchNorm2d(2, momentum=None)
        self.none = nn.BatchNorm2d(2, track_running_stats=False)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, inputs, mode='tensor'):
        x = self.conv(inputs)
        normed = self.none(self.norm(x))
        if mode == 'predict':
            return [normed]
        return {'loss': ((normed + self.frozen(normed) + self.cumulative(x)) * x - 3 * inputs).square().mean()}


class Batches(Hook):
    """Record the batches of the last epoch."""

    def before_train_epoch(self, runner):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(data_batch['inputs'].clone())


class Mean(BaseMetric):
    """A metric, since a validation needs one."""

    def process(self, data_batch, data_samples):
        self.results.append(1.0)

    def compute_metrics(self, results):
        return dict(mean=sum(results) / len(results))


def train(work_dir, model, *hooks, epochs=2, ema=False, checkpoint=(), file=None, loop=(), validates=False, **kwargs):
    images = torch.randn(BATCH * EPOCH, 1, 4, 4, generator=torch.Generator().manual_seed(1)) + 2
    data = [{'inputs': image} for image in images]
    if validates:
        kwargs |= dict(val_dataloader=DataLoader(data, batch_size=BATCH), val_cfg={}, val_evaluator=[Mean()])
    averages = [dict(type='mmcnn.StepEMAHook', momentum=0.3, gamma=2)] if ema else []
    runner = Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=DataLoader(data, batch_size=BATCH, sampler=DefaultSampler(data, seed=3)),
        train_cfg=dict(type='mmcnn.ResumableTrainLoop', max_epochs=epochs) | dict(loop),
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01}},
        custom_hooks=[*averages, *hooks],
        default_hooks=dict(checkpoint=dict(type='mmcnn.AtomicCheckpointHook', interval=1) | dict(checkpoint)),
        randomness=dict(seed=3),
        experiment_name=f'{work_dir} {epochs}',
        **kwargs,
    )
    runner.train()
    return torch.load(f'{work_dir}/{file or f"epoch_{epochs}.pth"}', weights_only=False)


@pytest.mark.parametrize('ema', [False, True], ids=['raw', 'averaged'])
@pytest.mark.parametrize('num_images, count', [(1, 1), (17, 3), (1000, EPOCH)])
def test_what_is_saved_has_the_statistics_of_its_own_weights(tmp_path, ema, num_images, count):
    batches = Batches()
    saved = train(tmp_path, Net(), BNStatisticsHook(num_images), batches, ema=ema)['state_dict']
    anew = Net()
    anew.load_state_dict(saved)
    with torch.no_grad():
        outputs = [anew.conv(inputs) for inputs in batches.seen[:count]]
    mean = torch.stack([each.mean(dim=(0, 2, 3)) for each in outputs]).mean(dim=0)
    var = torch.stack([each.var(dim=(0, 2, 3)) for each in outputs]).mean(dim=0)
    torch.testing.assert_close(saved['norm.running_mean'], mean)
    torch.testing.assert_close(saved['norm.running_var'], var)


@pytest.mark.parametrize('ema', [False, True], ids=['raw', 'averaged'])
def test_nothing_else_changes(tmp_path, ema):
    without = train(tmp_path / 'without', Net(), ema=ema)
    measured = train(tmp_path / 'measured', Net(), BNStatisticsHook(), ema=ema)
    differ = {
        key for key, value in measured['state_dict'].items() if not torch.equal(value, without['state_dict'][key])
    }
    assert differ == {'norm.running_mean', 'norm.running_var'}
    if ema:  # the raw weights keep running statistics
        for key, value in measured['ema_state_dict'].items():
            assert torch.equal(value, without['ema_state_dict'][key]), key


@pytest.mark.parametrize(
    'ema, options, epochs',
    [
        (True, {}, [5]),
        (False, {}, [5]),
        (True, dict(validates=True, loop=dict(val_interval=2)), [2, 4, 5]),
        (True, dict(validates=True, loop=dict(val_interval=2, val_begin=3)), [4, 5]),
        (True, dict(validates=True, loop=dict(val_interval=3, dynamic_intervals=[(4, 1)])), [3, 4, 5]),
        (True, dict(loop=dict(val_interval=2)), [5]),
        (True, dict(loop=dict(until_epoch=2)), [2]),
        (True, dict(checkpoint=dict(interval=2)), [2, 4, 5]),
        (True, dict(checkpoint=dict(max_keep_ckpts=-1)), [1, 2, 3, 4, 5]),
    ],
)
def test_a_network_is_measured_where_it_is_used(tmp_path, monkeypatch, ema, options, epochs):
    measured, measure = [], bn_statistics_hook._measure
    monkeypatch.setattr(
        bn_statistics_hook,
        '_measure',
        lambda runner, *args: (measured.append(runner.epoch + 1), measure(runner, *args)),
    )
    validated = []

    class Validated(Hook):
        def before_val_epoch(self, runner):
            validated.append(runner.epoch)

    last = epochs[-1]
    options = dict(options, checkpoint=dict(max_keep_ckpts=2) | options.get('checkpoint', {}))
    train(tmp_path, Net(), BNStatisticsHook(), Validated(), epochs=5, ema=ema, file=f'epoch_{last}.pth', **options)
    assert measured == epochs
    assert validated == (epochs if options.get('validates') else [])


@pytest.mark.parametrize('ema', [False, True], ids=['raw', 'averaged'])
@pytest.mark.parametrize('windows', [30, 1.6, 3.1, 0])  # all, 1, 2 and none of the epochs can be measured
def test_the_result_does_not_depend_on_a_pause(tmp_path, ema, windows):
    options = dict(epochs=3, ema=ema, checkpoint=dict(max_keep_ckpts=2))
    whole = train(tmp_path / 'whole', Net(0.3), BNStatisticsHook(windows=windows), **options)
    paused = dict(options, loop=dict(until_epoch=1), file='epoch_1.pth')
    train(tmp_path / 'rest', Net(0.3), BNStatisticsHook(windows=windows), **paused)
    rest = train(tmp_path / 'rest', Net(0.3), BNStatisticsHook(windows=windows), **options, resume=True)
    assert ('ema_state_dict' in whole) == ema
    for part in {'state_dict', 'ema_state_dict'} & whole.keys():
        for key, value in whole[part].items():
            assert torch.equal(value, rest[part][key]), (part, key)


def test_layers_keep_their_momentum(tmp_path):
    model = Net()
    train(tmp_path, model, BNStatisticsHook())
    assert (model.norm.momentum, model.frozen.momentum, model.cumulative.momentum) == (0.03, 0.1, None)
    assert model.norm.num_batches_tracked == 2 * EPOCH


@pytest.mark.parametrize(
    'momentum, windows, young', [(0.03, 30, True), (0.3, 1.4, False), (0.3, 1.6, True), (0.03, 0, False)]
)
def test_a_run_is_young_for_some_windows_of_the_average(tmp_path, momentum, windows, young):
    without = train(tmp_path / 'without', Net(momentum))['state_dict']
    measured = train(tmp_path / 'measured', Net(momentum), BNStatisticsHook(windows=windows))['state_dict']
    # The first epoch has 5 iterations: 1.5 windows of 1 / 0.3.
    assert torch.equal(measured['norm.running_mean'], without['norm.running_mean']) != young


def test_a_resumed_run_measures_the_same(tmp_path):
    whole = train(tmp_path / 'whole', Net(), BNStatisticsHook(), epochs=3, ema=True)
    train(tmp_path / 'part', Net(), BNStatisticsHook(), epochs=1, ema=True)
    resumed = train(tmp_path / 'part', Net(), BNStatisticsHook(), epochs=3, ema=True, resume=True)
    for part in ('state_dict', 'ema_state_dict'):
        for key, value in whole[part].items():
            assert torch.equal(value, resumed[part][key]), (part, key)


def test_statistics_that_are_not_finite_are_not_taken(tmp_path):
    class Breaks(Hook):
        priority = 'VERY_HIGH'

        def after_train_epoch(self, runner):
            runner.model.conv.bias.data[0] = float('inf')

    measured = train(tmp_path, Net(), Breaks(), BNStatisticsHook(), epochs=1)['state_dict']
    assert measured['norm.running_mean'].isfinite().all() and measured['norm.running_var'].isfinite().all()


@pytest.fixture
def other_rank(monkeypatch):
    """Simulate a second rank whose statistics are all 7; gathered rows are recorded."""
    gathered = []

    def mean(data, op):
        assert op == 'mean'
        data.copy_((data + 7) / 2)

    monkeypatch.setattr(bn_statistics_hook, 'get_world_size', lambda: 2)
    monkeypatch.setattr(bn_statistics_hook, 'all_reduce', mean)
    monkeypatch.setattr(bn_statistics_hook, 'all_gather_object', lambda own: gathered.append(own) or [own, own])
    return gathered


STATISTICS = [f'{layer}.running_{what}' for layer in ('norm', 'cumulative') for what in ('mean', 'var')]


INSIDE = dict(checkpoint=dict(by_epoch=False, interval=3), file='iter_3.pth')


@pytest.mark.parametrize('when', [{}, INSIDE], ids=['after an epoch', 'inside of it'])
@pytest.mark.parametrize('ema', [False, True], ids=['raw', 'averaged'])
def test_ranks_validate_and_save_the_mean_of_their_statistics(tmp_path, other_rank, ema, when):
    alone = train(tmp_path / 'alone', Net(), ema=ema, epochs=1, **when)
    both = train(tmp_path / 'both', Net(), BNStatisticsHook(windows=0), ema=ema, epochs=1, **when)
    for part, prefix in [('state_dict', ''), *([('ema_state_dict', 'module.')] if ema else [])]:
        for name, value in alone[part].items():
            is_mean = name.removeprefix(prefix) in STATISTICS
            torch.testing.assert_close(both[part][name], (value + 7) / 2 if is_mean else value, rtol=1e-6, atol=0)


class Stops(Hook):
    """Act as a stop would after three iterations, and record what a checkpoint would contain."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx == 2:
            runner.call_hook('before_stop')
            self.kept = runner.message_hub.get_info('bn_statistics_of_ranks')
            self.own = [buffer.clone() for name, buffer in runner.model.named_buffers() if name in STATISTICS]
            with torch.no_grad():
                for name, buffer in runner.model.named_buffers():
                    if name in STATISTICS:
                        buffer.fill_(3.0)  # from another rank
            runner.call_hook('before_train')
            self.given = [buffer.clone() for name, buffer in runner.model.named_buffers() if name in STATISTICS]
            self.left = runner.message_hub.get_info('bn_statistics_of_ranks')


@pytest.mark.parametrize('ema', [False, True], ids=['raw', 'averaged'])
def test_each_rank_gets_its_own_statistics_back_in_the_middle_of_an_epoch(tmp_path, other_rank, ema):
    stops = Stops()
    train(tmp_path, Net(), BNStatisticsHook(windows=0), stops, ema=ema, epochs=1)
    assert len(stops.kept) == 2 and len(stops.kept[0]) == 1 + ema  # those of the raw and of the averaged weights
    torch.testing.assert_close(stops.given, stops.own, rtol=0, atol=0)
    assert stops.left is None  # later checkpoints do not contain them


def stopped_inside(name, model):
    """Return a runner that has stopped after three of five batches, with everything that the hook needs."""
    hub = MessageHub.get_instance(name)
    hub.update_info('position_in_epoch', (3, 5, []))
    return SimpleNamespace(model=model, hooks=[], message_hub=hub, train_loop=None)


def test_statistics_go_into_a_model_that_has_only_been_built(tmp_path, other_rank):
    """No layer is frozen yet: ``norm_eval`` of Backbone and of MMDetection take effect in ``train()``."""
    runner = stopped_inside(tmp_path.name, Net().train())
    with torch.no_grad():
        runner.model.norm.running_mean.fill_(5.0)
    BNStatisticsHook().before_stop(runner)
    runner.model = Net()
    assert runner.model.frozen.training
    BNStatisticsHook().before_train(runner)
    assert runner.model.norm.running_mean.tolist() == [5, 5]
    assert runner.model.frozen.running_mean.tolist() == [0, 0]


def test_a_model_whose_batchnorm_is_frozen_stops_inside_an_epoch(tmp_path, other_rank):
    """For example Faster R-CNN, whose only BatchNorm is in a backbone with ``norm_eval``."""
    runner = stopped_inside(tmp_path.name, nn.BatchNorm2d(2).eval())
    BNStatisticsHook().before_stop(runner)
    assert runner.message_hub.get_info('bn_statistics_of_ranks') is None
    BNStatisticsHook().before_train(runner)


def test_one_process_gathers_nothing(tmp_path):
    stops = Stops()
    train(tmp_path, Net(), BNStatisticsHook(windows=0), stops, epochs=1)
    assert stops.kept is None


@pytest.mark.parametrize('argument', [dict(num_images=0), dict(windows=-1), dict(windows=float('nan'))])
def test_an_argument_out_of_range_is_refused(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        BNStatisticsHook(**argument)
