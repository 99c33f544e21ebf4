"""The candidates of a comparison: names, folders and configs."""

from pathlib import Path

import pytest

from mmcnn.compare.candidates import Candidate, candidates
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError


def test_every_backbone_with_all_weights_on_all_shares():
    found = candidates(['a', 'b'], ['scratch', 'mmcnn://{backbone}/x'], [0.25, 1.0])
    assert [each.name for each in found] == [
        'a, 25 % of the data', 'a', 'a, mmcnn://a/x, 25 % of the data', 'a, mmcnn://a/x',
        'b, 25 % of the data', 'b', 'b, mmcnn://b/x, 25 % of the data', 'b, mmcnn://b/x',
    ]  # fmt: skip
    assert candidates(['a', 'a']) == [Candidate('a')]


def test_folders_differ_where_names_do():
    found = candidates(['a', 'b'], ['scratch', '/x/y.pth', '/x_y.pth'], [0.25, 1.0])
    assert len({each.folder for each in found}) == len(found) == 12
    assert Candidate('a').folder == Path('a')  # as in release 0.1
    assert all(part.isprintable() and '/' not in part for each in found for part in each.folder.parts)


def test_options_are_those_that_differ():
    assert Candidate('a').options() == dict(weights=None, fraction=None)
    assert Candidate('a', 'w.pth', 0.5).options() == dict(weights='w.pth', fraction=0.5)


def test_files_of_weights_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('best.pth').touch()
    found = Candidate('vgg16', 'best.pth')
    assert found.name == 'vgg16, best.pth'
    assert found.options()['weights'] == str(tmp_path / 'best.pth')
    assert Candidate('vgg16', 'mmcnn://vgg16').options()['weights'] == 'mmcnn://vgg16'


def test_config_has_the_backbone_at_its_width():
    cfg = load_config('yolov5_n')
    changed = Candidate('vovnet39', widen_factor=0.25).config(cfg)
    assert changed.model.backbone.type == 'mmcnn.vovnet39' and changed.model.backbone.widen_factor == 0.25
    assert cfg.model.backbone.type == 'mmcnn.cspdarknet-n' and 'widen_factor' not in cfg.model.backbone
    with pytest.raises(UsageError, match="backbone=vovnet93: unknown backbone 'vovnet93'"):
        Candidate('vovnet93').config(cfg)
