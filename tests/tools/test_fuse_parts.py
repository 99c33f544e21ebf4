"""Variants of fused networks: each computes the same, and lacks what its name says."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmcnn.models.classifiers import build_classifier

fuse_parts = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'fuse_parts.py')))
OF_ALL = ['mmcnn.fuse', 'compiled instead', 'folded only', 'folded only, default layout', 'not folded']


@pytest.mark.parametrize(
    ('name', 'own'),
    [
        (
            'densenet121-tv',
            ['maps of dense blocks concatenated', 'scale and shift computed anew', 'BatchNorm as an operator'],
        ),
        ('mobilenetv3-large-tv', ['squeeze-excite not in place']),
    ],
)
@torch.no_grad()
def test_variants_compute_the_same(name, own):
    model = build_classifier(name).eval()
    found = dict(fuse_parts.variants(model))
    in_place = ['folded only, activations in place', 'folded only, no activation in place']
    assert [*found] == OF_ALL + in_place + own
    images = torch.randn(1, 3, 64, 64)
    features = model.backbone(images)[-1]
    for variant, network in found.items():
        if variant != 'compiled instead':  # tests/models/test_fuse.py compiles
            out = network.backbone(images)[-1]
            assert (out - features).abs().max() <= 1e-4 * features.abs().max(), variant


@pytest.mark.slow
def test_the_program(run_tool):
    result = run_tool('fuse_parts', 'mobilenetv2-tv', '--runs', 1)
    assert result.code == 0, result.err
    assert re.search(r'not folded +[\d.]+ s .* x mmcnn\.fuse', result.out)
