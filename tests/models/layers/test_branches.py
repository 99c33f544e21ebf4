import pytest
import torch
from torch import nn

from mmcnn.models.layers import Branches


def test_outputs_in_the_order_of_the_arguments():
    image = torch.randn(2, 3, 4, 5)
    branches = Branches(b=nn.Identity(), a=nn.ReLU())
    assert torch.equal(branches(image)[:, :3], image)
    assert torch.equal(branches(image)[:, 3:], image.clamp(min=0))


def test_keys_are_the_names():
    branches = Branches(one=nn.Conv2d(3, 4, 1), two=nn.Sequential(nn.Conv2d(3, 2, 1)))
    assert list(branches.state_dict()) == ['one.weight', 'one.bias', 'two.0.weight', 'two.0.bias']
    assert branches(torch.randn(1, 3, 8, 8)).shape == (1, 6, 8, 8)


def test_branches_have_to_agree_on_the_map():
    with pytest.raises(RuntimeError, match='Sizes of tensors must match'):
        Branches(a=nn.Identity(), b=nn.MaxPool2d(2))(torch.randn(1, 3, 8, 8))
