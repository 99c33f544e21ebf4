"""A trained MobileNetV2 with torchvision's first names."""

import re

import pytest
import torch

import mmcnn

pytestmark = pytest.mark.real_weights


def test_it_computes_what_torchvision_s_network_does(mobilenet_v2, torchvision):
    """Current names put a convolution and its norm into their own module; the order is the same."""
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    state = torch.load(mobilenet_v2, weights_only=True)
    trunk = {key: value for key, value in state.items() if key.startswith('features.')}
    assert any(re.fullmatch(r'features\.2\.conv\.3\.weight', key) for key in trunk)  # the older form of names
    own = [key for key in theirs.state_dict() if key.startswith('features.')]
    counters = 'num_batches_tracked'
    wanted = [key for key in own if not key.endswith(counters)]
    given = [key for key in trunk if not key.endswith(counters)]
    assert len(wanted) == len(given) == 52 * 5
    theirs.load_state_dict({new: trunk[old] for new, old in zip(wanted, given, strict=True)}, strict=False)

    ours = mmcnn.build_backbone('mobilenetv2-tv', out_indices=(5,)).eval()
    report = mmcnn.load_weights(ours, mobilenet_v2)
    assert report.source == 'torchvision' and not report.missing
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, (found, *_) = theirs.features[:-1](image), ours(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
