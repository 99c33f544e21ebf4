"""Peers: the same networks from keras.applications, torchvision and timm, with random weights and statistics."""

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

import mmcnn

#: What a logit may be off, as a share of the largest logit.
TOLERANCE = 1e-4


@pytest.fixture
def random_statistics():
    """Gives the BatchNorms of a PyTorch model statistics and scales that an untrained one does not have."""

    def fill(model):
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.running_mean.normal_(0, 0.1, generator=generator)
                    module.running_var.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(0, 0.1, generator=generator)
                    if module.weight is not None:
                        module.weight.uniform_(0.5, 1.5, generator=generator)
        return model.eval()

    return fill


def norm_settings(model):
    """(momentum, epsilon) of the BatchNorms of a PyTorch model, auxiliary heads aside."""
    norms = {name: each for name, each in model.named_modules() if isinstance(each, _BatchNorm)}
    return {(norm.momentum, norm.eps) for name, norm in norms.items() if not name.lower().startswith('aux')}


@pytest.fixture
def compare(record_property):
    """Loads translated weights into our classifier, strictly, and compares the logits of both on random images."""

    def check(variant, state, peer, peer_name, size, peer_images=lambda x: x):
        ours = mmcnn.build_classifier(variant).eval()
        counters = {key for key in ours.state_dict() if key.endswith('num_batches_tracked')}
        assert set(state) - counters == set(ours.state_dict()) - counters  # nothing missing, nothing left over
        ours.load_state_dict({**{key: torch.tensor(0) for key in counters}, **state})
        images = torch.rand(2 if size < 300 else 1, 3, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1
        with torch.no_grad():
            logits = ours(images).numpy()
        expected = np.asarray(peer(peer_images(images)))
        assert logits.shape == expected.shape
        assert expected.std() > 1e-3 * abs(expected).max()  # a constant would prove nothing
        if isinstance(peer, torch.nn.Module):
            assert norm_settings(ours) == norm_settings(peer)
        difference = float(abs(logits - expected).max() / abs(expected).max())
        record_property('parity', (variant, peer_name, difference))
        assert difference < TOLERANCE, f'{variant} against {peer_name}: {difference:.1e}'

    return check
