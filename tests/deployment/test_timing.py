"""CPU time of files relative to PyTorch."""

import torch
from torch import nn

from mmcnn.deployment import timing
from mmcnn.deployment.forms import RationalMish
from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.models.layers import Mish


def test_pytorch_computes_the_network_as_it_is():
    """PyTorch must not compute Mish by a file's polynomials, which would be slower."""
    options = ExportOptions(source='cspdarknet53', img_size=32)
    plan = plan_export(exportable(options, lambda line: None), options)
    seen = set()
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.add(type(module)))
    try:
        timing.torch_call(plan, plan.found.network)()
    finally:
        hook.remove()
    assert Mish in seen and RationalMish not in seen
    assert any(isinstance(each, RationalMish) for each in plan.module.modules())


def test_threads_are_as_they_were():
    before = torch.get_num_threads()
    with timing.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
