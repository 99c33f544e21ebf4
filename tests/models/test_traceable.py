"""Networks that are recorded at one size give what PyTorch gives at others, even and odd: in ONNX Runtime and traced.

BatchNorm has random statistics; the networks are folded first, as an export does.
"""

import logging
import warnings

import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.compat.private_names import BatchNorm
from mmcnn.models.families import backbone_families

#: Largest difference of an output, as a share of its largest value.
BOUND = 5e-6
#: One row of each family, the first by name; further rows that pad or pool in ways of their own.
ROWS = {family: name for name, family in sorted(backbone_families().items(), reverse=True)}.values()
OTHERS = ('inceptionv1-tv', 'inceptionv4', 'vovnetv2-39', 'xception-timm', 'efficientnet-b0', 'resnet50v2')
CLASSIFIERS = [name for name in sorted({*ROWS, *OTHERS}) if name in mmcnn.list_classifiers()]
SIZES = ((97, 100), (64, 96), (127, 65), (101, 130))


class Outputs(nn.Module):
    """A folded network with random statistics whose outputs are always a tuple."""

    def __init__(self, network):
        super().__init__()
        for module in network.modules():
            if isinstance(module, BatchNorm):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
                if module.weight is not None:
                    nn.init.uniform_(module.weight, 0.5, 1.5)
        self.network = mmcnn.fuse(network)

    def forward(self, images):
        found = self.network(images)
        return found if isinstance(found, tuple) else (found,)


def onnx_session(network, images, dynamic):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    # Names and no Dim: what ceil_mode asks of the sizes is always true, but the solver cannot prove it.
    shapes = {0: 'batch', 2: 'height', 3: 'width'} if dynamic else {0: 'batch'}
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            network, (images,), dynamo=True, opset_version=18, input_names=['images'], dynamic_shapes=(shapes,),
            verbose=False,
        )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=['CPUExecutionProvider']
    )


def compare(network, run, sizes):
    """``run`` against the network, for batches of one and of three."""
    for size in sizes:
        for batch in (1, 3):
            images = torch.rand(batch, 3, *size)
            with torch.no_grad():
                expected = network(images)
            found = run(images)
            assert len(found) == len(expected)
            for mine, other in zip(expected, map(torch.as_tensor, found), strict=True):
                assert other.shape == mine.shape, (size, batch)
                assert (mine - other).abs().max() <= BOUND * mine.abs().max(), (size, batch)


def check_onnx(network, sizes, dynamic):
    network = Outputs(network)
    session = onnx_session(network, torch.rand(2, 3, *sizes[0]), dynamic)
    compare(network, lambda images: session.run(None, {'images': images.numpy()}), sizes)


@pytest.mark.parametrize('name', ['mobilenet', 'cspdarknet-focus-s'])
def test_exported_at_one_size_right_at_others(name):
    small = dict(widen_factor=0.125, deepen_factor=0.33, out_indices=(2,))
    check_onnx(mmcnn.build_backbone(name, **small), SIZES, dynamic=True)


@pytest.mark.slow
@pytest.mark.parametrize('dynamic', [False, True], ids=['static', 'dynamic'])
@pytest.mark.parametrize('name', [*ROWS, *OTHERS])
def test_a_row_of_each_family_exports(name, dynamic):
    for sizes in [SIZES] if dynamic else [SIZES[:1], SIZES[1:2]]:
        check_onnx(mmcnn.build_backbone(name), sizes, dynamic)


@pytest.mark.slow
@pytest.mark.parametrize('dynamic', [False, True], ids=['static', 'dynamic'])
@pytest.mark.parametrize('name', CLASSIFIERS)
def test_a_classifier_of_each_family_exports(name, dynamic):
    network = mmcnn.build_classifier(name, num_classes=11)
    native = network.image.size
    sizes = [(native, native), (native + 3, native + 30)] if dynamic else [(native, native)]
    check_onnx(network, sizes, dynamic)


@pytest.mark.parametrize('name', ['xception', 'cspdarknet-focus-s', 'mobilenetv3-small', 'inceptionv1-tv', 'fpn'])
def test_traced_at_one_size_right_at_others(name):
    network = Outputs(mmcnn.build_backbone(name, widen_factor=0.125, deepen_factor=0.33))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        traced = torch.jit.trace(network, torch.rand(1, 3, 97, 100), check_trace=False)
    compare(network, traced, SIZES)
