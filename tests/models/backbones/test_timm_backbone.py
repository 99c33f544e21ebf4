import copy
import sys

import pytest
import torch

import mmcnn
from mmcnn.errors import DependencyError
from mmcnn.models.wiring import probe, wire
from mmcnn.registry import MODELS


@pytest.fixture(autouse=True)
def _timm(request):
    request.getfixturevalue('timm')


def test_levels_are_named_by_stride():
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='mmcnn.TimmBackbone', model='resnet18', out_indices=(1, 3, 5)))
        maps = backbone(torch.empty(1, 3, 64, 96))
    assert backbone.out_channels == (64, 128, 512) and backbone.out_strides == (2, 8, 32)
    assert [tuple(x.shape) for x in maps] == [(1, 64, 32, 48), (1, 128, 8, 12), (1, 512, 2, 3)]


def test_inside_yolov4():
    from mmcnn.config.load import load_config

    cfg = load_config('yolov4_cspdarknet53')
    cfg.model.backbone = dict(type='mmcnn.TimmBackbone', model='regnety_004', out_indices=(3, 4, 5))
    assert probe(cfg.model.backbone).strides == (8, 16, 32)
    assert wire(cfg.model).neck.in_channels == list(probe(cfg.model.backbone).channels) == [104, 208, 440]


def test_inside_mmdetections_retinanet():
    cfg = mmcnn.swap_backbone('mmdet::retinanet/retinanet_r50_fpn_1x_coco', 'timm.regnety_004', say=lambda line: None)
    assert cfg.model.neck.in_channels == [48, 104, 208, 440]


def test_a_timm_that_cannot_be_imported_is_one_sentence(monkeypatch, tmp_path):
    """The installed torchvision was built for another PyTorch."""
    (tmp_path / 'timm.py').write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.delitem(sys.modules, 'timm')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DependencyError, match=r'needs timm, which cannot be imported: operator torchvision::nms does'):
        MODELS.build(dict(type='mmcnn.TimmBackbone', model='resnet18'))


# resnet18d has in-place activations inside its stem; selecsls42 returns lists.
@pytest.mark.parametrize('name', ['resnet18', 'regnety_002', 'resnet18d', 'selecsls42'])
def test_blocks_that_are_computed_again_change_nothing_but_memory(name):
    plain = MODELS.build(dict(type='mmcnn.TimmBackbone', model=name, out_indices=(2, 4))).train()
    saving = copy.deepcopy(plain)
    saving.with_cp = True
    image, found = torch.randn(2, 3, 64, 64), {}
    for each in (plain, saving):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x.nbytes) or x, lambda x: x):
            maps = each(image)
            found[each] = sum(kept)
        sum(x.square().mean() for x in maps).backward()
    for (key, a), (_, b) in zip(saving.named_parameters(), plain.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), key
        if b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6, msg=lambda text, key=key: f'{key}: {text}')
    for key, value in plain.state_dict().items():  # each batch is counted once
        assert torch.equal(saving.state_dict()[key], value), key
    assert found[saving] < 0.9 * found[plain]


def test_blocks_that_timm_alone_can_compute_again():
    arguments = dict(type='mmcnn.TimmBackbone', with_cp=True)
    with torch.device('meta'):
        with pytest.raises(ValueError, match=r"with_cp=True: timm's 'efficientnet_b0' has BatchNorm in blocks"):
            MODELS.build(dict(arguments, model='efficientnet_b0', out_indices=(3, 4)))
        assert MODELS.build(dict(arguments, model='resnet18')).with_cp


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(model='resnet81'), "timm has no network 'resnet81'; did you mean"),
        (
            dict(model='resnet18', out_indices=(3, 7)),
            r"timm's 'resnet18' has no level 7; its levels are \[1, 2, 3, 4, 5\]",
        ),
    ],
)
def test_errors_say_what_would_be_right(settings, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(type='mmcnn.TimmBackbone', **settings))
