import numpy as np
import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from torch import nn

import mmcnn
from mmcnn.deployment.check import check_export
from mmcnn.deployment.deformable import (
    OPSET,
    ExportableDeformConv,
    deform_conv,
    has_deform_conv,
    with_exportable_deform_conv,
)
from mmcnn.deployment.files import write
from mmcnn.deployment.networks import Exportable
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.deployment.random_weights import spread
from mmcnn.errors import UsageError
from mmcnn.runtime.metadata import FEATURES

onnx = pytest.importorskip('onnx')


def layer(kind, **more):
    torch.manual_seed(0)
    pack = kind(4, 4, 3, stride=2, padding=1, groups=2, deform_groups=2, **more)
    nn.init.normal_(pack.conv_offset.weight, 0, 0.3)
    return pack.eval()


@pytest.mark.slow
def test_as_onnx_they_compute_the_same(exported):
    layers = (layer(DeformConv2dPack), layer(ModulatedDeformConv2dPack), layer(ModulatedDeformConv2dPack, bias=False))
    network = nn.Sequential(*layers).eval()
    images = torch.randn(2, 4, 19, 26)
    with torch.no_grad():
        expected = network(images)
        assert has_deform_conv(network)
        with_exportable_deform_conv(network)
        assert all(isinstance(each, ExportableDeformConv) for each in network) and has_deform_conv(network)
        torch.testing.assert_close(network(images), expected)
        run = exported(network, (images,), ({0: torch.export.Dim.DYNAMIC},), opset=OPSET)
        torch.testing.assert_close(run(images)[0], expected, rtol=1e-4, atol=1e-5)
        more = torch.randn(3, 4, 19, 26)
        torch.testing.assert_close(run(more)[0], network(more), rtol=1e-4, atol=1e-5)


def test_what_torch_export_expects_of_its_shape_is_what_it_gives():
    shapes = ((2, 4, 7, 6), (6, 2, 3, 3), (2, 18, 4, 6), (6,), (2, 9, 4, 6))
    tensors = [torch.randn(*shape) for shape in shapes]
    numbers = ([2, 1], [1, 1], [1, 1], 2, 1)
    torch.library.opcheck(deform_conv, (*tensors, *numbers), test_utils=('test_schema', 'test_faketensor'))


def found():
    network = mmcnn.build_backbone('resnet50-tv', widen_factor=0.125, deepen_factor=0.33, dcn=dict(type='DCNv2')).eval()
    return Exportable(network=network, task=FEATURES, name='resnet50-tv', image=network.arch.image)


@pytest.mark.slow
def test_a_backbone_as_a_file(tmp_path):
    plan = plan_export(found(), ExportOptions(source='resnet50-tv', img_size=(64, 64)))
    spread(plan.found.network, torch.randn(2, 3, 64, 64))
    write(plan, tmp_path / 'a.onnx', plan.metadata())
    images = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in range(2)]
    check_export(plan, tmp_path / 'a.onnx', images)  # fails unless the file's outputs match PyTorch's
    file = onnx.load(tmp_path / 'a.onnx')
    assert sum(node.op_type == 'DeformConv' for node in file.graph.node) == 1 + 2 + 1


def test_pytorchs_programs_are_refused():
    with pytest.raises(UsageError, match=r"the deformable convolutions of resnet50-tv .* ONNX's operator.*use to=onnx"):
        plan_export(found(), ExportOptions(source='resnet50-tv', to='torch-export', img_size=(64, 64)))
