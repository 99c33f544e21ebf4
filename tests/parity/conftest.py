"""Compares our networks with the same ones of other libraries, with random weights and statistics."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

import mmcnn
from mmcnn.weights.report import without_counters

#: Largest difference of a logit, relative to the largest logit.
TOLERANCE = 1e-4


@pytest.fixture
def random_statistics():
    """Gives the BatchNorms of a PyTorch model random statistics and scales, which an untrained model lacks."""

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
        model.eval()  # the eval() of MMDetection's models returns None
        return model

    return fill


def norm_settings(model):
    """(momentum, epsilon) of the BatchNorms of a PyTorch model, without auxiliary heads."""
    norms = {name: each for name, each in model.named_modules() if isinstance(each, _BatchNorm)}
    return {(norm.momentum, norm.eps) for name, norm in norms.items() if not name.lower().startswith('aux')}


@pytest.fixture
def compare(record_property):
    """Saves a peer's weights with its library, loads the file, and compares the logits on random images.

    ``compare(variant, save, suffix, peer, peer_name, size)``: ``save`` gets a path that ends in ``suffix``;
    ``trained_alike=False``: the momentum of the BatchNorms may differ. Returns the report of the load.
    """

    def check(variant, save, suffix, peer, peer_name, size, trained_alike=True):
        ours = mmcnn.build_classifier(variant).eval()
        with tempfile.TemporaryDirectory() as folder:  # pytest's tmp_path would keep these gigabytes
            path = Path(folder) / f'weights{suffix}'
            save(path)
            report = mmcnn.load_weights(ours, path)
        assert set(report.used) == set(without_counters(ours.state_dict()))
        assert not (report.missing or report.unexpected or report.mismatched or report.absent)
        images = torch.rand(2 if size < 300 else 1, 3, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1
        with torch.no_grad():
            logits = ours(images).numpy()
            expected = np.asarray(peer(images))
        assert logits.shape == expected.shape
        assert expected.std() > 1e-3 * abs(expected).max()  # a constant would prove nothing
        if isinstance(peer, torch.nn.Module):
            settings = slice(None if trained_alike else 1, None)
            assert {each[settings] for each in norm_settings(ours)} == {each[settings] for each in norm_settings(peer)}
        difference = float(abs(logits - expected).max() / abs(expected).max())
        record_property('parity', (variant, peer_name, suffix, difference))
        assert difference < TOLERANCE, f'{variant} against {peer_name}: {difference:.1e}'
        return report

    return check
