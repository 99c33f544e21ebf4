import cv2
import numpy as np
import pytest

from mmcnn import interleaved
from mmcnn.benchmarks import pipeline
from mmcnn.datasets import check_data


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 5)
    yield pipeline.make_photographs(tmp_path_factory.mktemp('photographs') / 'data')
    patch.undo()


def test_the_photographs_cost_what_photographs_do(photographs):
    folder = check_data(photographs).usable()
    assert (folder.num_train, folder.num_val, folder.classes) == (4, 1, ('thing',))
    for path in (photographs / 'images').iterdir():
        assert 60_000 < path.stat().st_size < 200_000
        image = cv2.imread(str(path))
        assert image.shape == (480, 640, 3)
        assert 20 < image.std() < 80


def test_every_side_prepares_samples_of_the_size(photographs):
    calls = pipeline.sides(check_data(photographs).usable(), 64, cache_gb=0.01)
    assert calls['plain decode'](7).shape == (480, 640, 3)
    for name in ('MMDetection', 'mmcnn', 'mmcnn, cached'):
        sample = calls[name](7)
        assert sample['inputs'].shape == (3, 64, 64) and len(sample['data_samples'].gt_instances) >= 0
    assert set(calls['mmcnn, cached, for the device'](7)['inputs']) == {'atlas', 'tiles', 'colours'}


def test_every_round_draws_anew_and_gives_a_rate(monkeypatch):
    clock, drawn = [0.0], []
    monkeypatch.setattr(interleaved.time, 'perf_counter', lambda: clock[0])

    def call(i):
        drawn.append((i, np.random.rand()))
        clock[0] += 0.125

    measured = pipeline.rate(call, 2)
    assert [measured(), measured()] == [8.0, 8.0]
    assert [i for i, _ in drawn] == [0, 1, 0, 1]
    assert len({value for _, value in drawn}) == 4
    again = pipeline.rate(call, 2)
    again()
    assert drawn[4:] == drawn[:2]


def test_our_side_uses_the_shipped_recipe():
    from mmcnn.config.load import load_config

    shipped = load_config('yolov5_s').train_dataloader.dataset.pipeline
    folder = type('Folder', (), dict(root='x', classes=('a',), files=dict(train=('train.json', 'images/'))))
    mosaic, hsv = pipeline.own_config(folder, 640)['pipeline']
    assert {key: tuple(np.ravel(shipped[0][key])) for key in ('img_scale', 'scale', 'flip_prob')} == {
        key: tuple(np.ravel(mosaic[key])) for key in ('img_scale', 'scale', 'flip_prob')
    }
    assert [step.type for step in shipped] == [mosaic['type'], hsv['type']]
