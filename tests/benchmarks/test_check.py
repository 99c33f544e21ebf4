"""The benchmark of the data check."""

import pytest

from mmcnn.benchmarks import check
from mmcnn.benchmarks.coco_data import write_folder
from mmcnn.benchmarks.training_set import build
from mmcnn.datasets.check.detector import check_data


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return write_folder(tmp_path / 'coco', 30, 200)


def test_the_folder_is_sound(folder):
    report = check_data(folder, names=('train',))
    assert report.ok and {each.kind for each in report.findings} <= {'crowd boxes', 'class without a box'}
    assert report.usable().num_train == 30


@pytest.mark.parametrize('kind', ['mmcnn.MosaicDataset', 'CocoDataset'])
def test_training_sets_have_all_images_and_boxes(folder, kind):
    dataset = build(kind, folder)
    assert len(dataset) == 30  # MMDetection drops images without boxes only on request
    assert sum(len(dataset.get_data_info(i)['instances']) for i in range(30)) == 200


def test_nothing_is_remembered_from_run_to_run(folder, monkeypatch):
    decoded = []
    own = check.check_data
    monkeypatch.setattr(check, 'check_data', lambda root: decoded.append(1) or own(root, names=('train',)))
    for _ in range(2):
        assert check.check_seconds(folder) > 0
        assert len(list((folder.parent / 'cache').rglob('*.json'))) == 1
    assert len(decoded) == 2


@pytest.mark.slow  # starts a process
def test_a_new_process_gives_its_own_seconds_and_memory(folder, monkeypatch):
    large = bytearray(10**9)  # memory of this process, not of the new one
    large[::4096] = b'x' * len(range(0, 10**9, 4096))
    monkeypatch.setitem(check._WORK, 'nothing', ('', 'pass'))
    seconds, memory = check.in_new_process('nothing', folder)
    assert seconds < 1 and memory < 0.1
    seconds, memory = check.in_new_process('mmcnn, check', folder)
    assert 0 < seconds < 60 and 0.1 < memory < 0.9
