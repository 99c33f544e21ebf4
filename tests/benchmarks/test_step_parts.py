import pytest
import torch
from torch import nn

from mmcnn.benchmarks.divided import NETWORK, PartClock
from mmcnn.benchmarks.step_parts import LOSS_BACKWARD, DividedSteps


@pytest.fixture
def clock():
    """A clock on which ``spend(n)`` takes n seconds."""
    now = [0.0]
    found = PartClock(lambda: now[0])
    found.spend = lambda seconds: now.__setitem__(0, now[0] + seconds)
    return found


def test_each_second_is_in_the_innermost_part(clock):
    inner = clock.timed('inner', lambda: clock.spend(3))

    def call():
        clock.spend(1)
        inner()
        clock.spend(1)
        inner()
        return 'given back'

    clock.spend(100)  # belongs to no part
    assert clock.timed('outer', call)() == 'given back'
    clock.spend(100)
    assert clock.seconds == {'outer': 2, 'inner': 6}


def test_a_part_that_raises_ends(clock):
    with pytest.raises(ZeroDivisionError):
        clock.timed('outer', lambda: 1 / 0)()
    clock.spend(5)
    clock.timed('other', lambda: clock.spend(1))()
    assert clock.seconds == {'outer': 0, 'other': 1}


def test_the_rest_of_a_call_is_another_part(clock):
    def call():
        clock.spend(1)
        clock.switch('loss', 'network')
        clock.spend(2)
        clock.switch('loss', 'network')  # the loss is already over
        clock.spend(4)

    clock.timed('loss', call)()
    clock.switch('loss', 'network')  # no part is active
    assert clock.seconds == {'loss': 1, 'network': 6}


class Head(nn.Module):
    def __init__(self, clock):
        super().__init__()
        self.layers, self.clock = nn.ModuleList(nn.Linear(2, 2) for _ in range(2)), clock

    def forward(self, x):
        return ([Spends.apply(layer(each), self.clock, 10.0) for layer, each in zip(self.layers, x, strict=True)],)

    def loss(self, x):
        (found,) = self(x)
        return sum(Spends.apply(each, self.clock, 1.0).square().sum() for each in found)


class Spends(torch.autograd.Function):
    """An operation that takes some seconds forward and twice as many backward."""

    @staticmethod
    def forward(ctx, x, clock, seconds):
        ctx.clock, ctx.seconds = clock, seconds
        clock.spend(seconds)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.spend(2 * ctx.seconds)
        return gradient, None, None


def test_the_backward_pass_of_the_loss_ends_where_the_layers_begin(clock):
    """The loss takes a second for each of two levels, the layers ten seconds each; backward takes twice as long."""
    head = Head(clock)
    steps = DividedSteps.__new__(DividedSteps)
    steps.clock = clock
    head.forward = clock.timed(NETWORK, steps._watched(head.forward))
    loss = clock.timed('loss', head.loss)([torch.rand(2), torch.rand(2)])
    clock.timed(LOSS_BACKWARD, loss.backward)()
    assert clock.seconds == {NETWORK: 20 + 40, 'loss': 2, LOSS_BACKWARD: 4}
