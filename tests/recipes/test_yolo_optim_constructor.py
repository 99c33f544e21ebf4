import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import nn


class Net(nn.Module):
    """Has every kind of parameter that the grouping distinguishes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.layer_norm = nn.LayerNorm((4, 5))  # a norm weight with two dimensions
        self.linear = nn.Linear(4, 2)
        self.tied = nn.Linear(4, 2)
        self.tied.weight = self.linear.weight
        self.table = nn.Parameter(torch.zeros(2, 3))
        self.gain = nn.Parameter(torch.ones(()))


def config(**kwargs):
    return dict(
        type='OptimWrapper',
        optimizer={'type': 'SGD', 'lr': 0.01, 'momentum': 0.937, 'weight_decay': 5e-4, 'nesterov': True},
        constructor='mmcnn.YOLOOptimWrapperConstructor',
        **kwargs,
    )


def names_of(model, group):
    by_id = {id(parameter): name for name, parameter in reversed(list(model.named_parameters()))}
    return {by_id[id(parameter)] for parameter in group['params']}


def test_three_named_groups():
    model = Net()
    optimizer = build_optim_wrapper(model, config()).optimizer
    assert [group['name'] for group in optimizer.param_groups] == ['weight', 'norm', 'bias']
    weight, norm, bias = optimizer.param_groups
    assert names_of(model, weight) == {'conv.weight', 'linear.weight', 'table'}
    assert names_of(model, norm) == {'norm.weight', 'layer_norm.weight', 'gain'}
    assert names_of(model, bias) == {'norm.bias', 'layer_norm.bias', 'linear.bias', 'tied.bias'}
    assert [group['weight_decay'] for group in optimizer.param_groups] == [5e-4, 0, 0]
    for group in optimizer.param_groups:
        assert (group['lr'], group['momentum'], group['nesterov']) == (0.01, 0.937, True)


def test_every_parameter_once_as_in_the_model():
    model = Net()
    groups = build_optim_wrapper(model, config()).optimizer.param_groups
    ids = [id(parameter) for group in groups for parameter in group['params']]
    assert sorted(ids) == sorted({id(parameter) for parameter in model.parameters()})


def test_frozen_parameters_and_empty_groups_are_left_out():
    model = Net()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in ('conv.weight', 'norm.bias')
    groups = build_optim_wrapper(model, config()).optimizer.param_groups
    assert [(group['name'], names_of(model, group)) for group in groups] == [
        ('weight', {'conv.weight'}),
        ('bias', {'norm.bias'}),
    ]


def test_only_weights_decay_in_a_step():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    wrapper = build_optim_wrapper(model, config())
    wrapper.update_params(sum(0 * parameter.sum() for parameter in model.parameters()))
    # Gradient 0: the first Nesterov step is lr * (1 + momentum) * decay * weight.
    expected = 1 - 0.01 * 1.937 * 5e-4
    torch.testing.assert_close(model[0].weight.flatten(), torch.full((4,), expected), rtol=0, atol=1e-7)
    for parameter in (model[0].bias, model[1].weight, model[1].bias):
        assert torch.equal(parameter, torch.ones(2))


def test_other_optimizers_and_wrapper_options():
    cfg = config(accumulative_counts=4)
    cfg['optimizer'] = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 0.05}
    wrapper = build_optim_wrapper(Net(), cfg)
    assert isinstance(wrapper.optimizer, torch.optim.AdamW)
    assert [group['weight_decay'] for group in wrapper.optimizer.param_groups] == [0.05, 0, 0]
    assert wrapper._accumulative_counts == 4


def test_model_wrapper_is_looked_through():
    model = Net()
    wrapped = MODEL_WRAPPERS.get('DataParallel')(model)
    groups = build_optim_wrapper(wrapped, config()).optimizer.param_groups
    assert names_of(model, groups[0]) == {'conv.weight', 'linear.weight', 'table'}


def test_paramwise_cfg_is_refused():
    with pytest.raises(ValueError, match=r'norm_decay_mult.*remove it'):
        build_optim_wrapper(Net(), config(paramwise_cfg={'norm_decay_mult': 0.0}))
    build_optim_wrapper(Net(), config(paramwise_cfg={}))


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match='Net has no parameter that requires a gradient'):
        build_optim_wrapper(Net().requires_grad_(False), config())
