"""Networks traced at one size against PyTorch at other sizes, even and odd.

tests/deployment/test_networks.py tests their exports.
"""

import warnings

import pytest
import torch

import mmcnn

#: Largest difference of an output, relative to its largest value.
BOUND = 5e-6
SIZES = ((97, 100), (64, 96), (127, 65), (101, 130))


@pytest.mark.parametrize('name', ['xception', 'cspdarknet-focus-s', 'mobilenetv3-small', 'inceptionv1-tv', 'fpn'])
def test_traced_at_one_size_right_at_others(name):
    network = mmcnn.fuse(mmcnn.build_backbone(name, widen_factor=0.125, deepen_factor=0.33))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        traced = torch.jit.trace(network, torch.rand(1, 3, 97, 100), check_trace=False)
    for size in SIZES:
        for batch in (1, 3):
            images = torch.rand(batch, 3, *size)
            with torch.no_grad():
                pairs = list(zip(network(images), traced(images), strict=True))
            for expected, found in pairs:
                assert found.shape == expected.shape, (size, batch)
                assert (expected - found).abs().max() <= BOUND * expected.abs().max(), (size, batch)
