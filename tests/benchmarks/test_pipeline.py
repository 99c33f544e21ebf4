import cv2
import numpy as np
import pytest

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


def test_sides_are_measured_in_turn(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(pipeline.time, 'perf_counter', lambda: clock[0])

    def side(name, seconds):
        def call(i):
            order.append((name, i))
            clock[0] += seconds

        return call

    rates = pipeline.images_a_second({'MMDetection': side('a', 0.5), 'ours': side('b', 0.125)}, samples=2, runs=3)
    assert rates == {'MMDetection': [2.0] * 3, 'ours': [8.0] * 3}
    assert order == [('a', 0), ('a', 1), ('b', 0), ('b', 1)] * 4
    assert '4.00 x MMDetection' in pipeline.report(rates).splitlines()[1]


def test_our_side_uses_the_shipped_recipe():
    from mmcnn.config.load import load_config

    shipped = load_config('yolov5_s').train_dataloader.dataset.pipeline
    folder = type('Folder', (), dict(root='x', classes=('a',), files=dict(train=('train.json', 'images/'))))
    mosaic, hsv = pipeline.own_config(folder, 640)['pipeline']
    assert {key: tuple(np.ravel(shipped[0][key])) for key in ('img_scale', 'scale', 'flip_prob')} == {
        key: tuple(np.ravel(mosaic[key])) for key in ('img_scale', 'scale', 'flip_prob')
    }
    assert [step.type for step in shipped] == [mosaic['type'], hsv['type']]
