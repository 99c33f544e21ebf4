"""The worked examples of CONTRIBUTING.md, followed literally."""

import importlib.util
import re
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import mmcnn
from mmcnn import registry
from mmcnn.models.backbones import csp_darknet

TEXT = (Path(__file__).resolve().parents[1] / 'CONTRIBUTING.md').read_text(encoding='utf-8')


def example(heading):
    """Return the first Python block below a heading."""
    block = re.search(rf'^## {heading}$.*?```python\n(.*?)```', TEXT, flags=re.MULTILINE | re.DOTALL)
    return textwrap.dedent(block[1])


@pytest.fixture
def registered(monkeypatch):
    """Undo a test's registrations."""
    monkeypatch.setattr(registry.MODELS, '_module_dict', dict(registry.MODELS.module_dict))
    families = dict(registry.BACKBONE_FAMILIES)
    yield
    registry.BACKBONE_FAMILIES.clear()
    registry.BACKBONE_FAMILIES.update(families)


def test_the_variant_builds():
    names = dict(vars(csp_darknet), VARIANTS=dict(csp_darknet.VARIANTS))
    exec(example('Add a variant of a backbone'), names)
    added = names['VARIANTS'].keys() - csp_darknet.VARIANTS.keys()
    assert added == {'cspdarknet-shallow'} and names['VARIANTS'].keys() > csp_darknet.VARIANTS.keys()
    assert names['VARIANTS']['cspdarknet-shallow'].depths == (1, 1, 2, 2, 1)


def test_the_family_is_a_backbone_and_a_classifier(registered, tmp_path, monkeypatch):
    path = tmp_path / 'plain.py'
    path.write_text(example('Add a family'), encoding='utf-8')
    spec = importlib.util.spec_from_file_location('mmcnn.models.backbones.plain', path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)

    assert 'plain' in mmcnn.list_backbones() and 'plain' in mmcnn.list_classifiers()
    backbone = mmcnn.build_backbone('plain', out_indices=(3, 5))
    assert [tuple(x.shape) for x in backbone(torch.randn(2, 3, 97, 130))] == [(2, 64, 13, 17), (2, 256, 4, 5)]
    assert mmcnn.build_classifier('plain', num_classes=4)(torch.randn(2, 3, 64, 64)).shape == (2, 4)
