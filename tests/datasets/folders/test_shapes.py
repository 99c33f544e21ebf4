import hashlib
import json
import multiprocessing
import time

import cv2
import numpy as np
import pytest

from mmcnn.datasets import check_data, make_shape_classes, make_shapes, read_class_folder
from mmcnn.datasets.folders.shapes import CLASSES, _draw_close_up, draw_scene


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob('*.*'))}


def small(root, **kwargs):
    return make_shapes(root, **{'num_train': 32, 'num_val': 4, 'size': 64, **kwargs})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return small(tmp_path_factory.mktemp('shapes'))


def test_it_is_a_folder_to_train_on(folder):
    data = check_data(folder).usable()
    assert data.classes == ('circle', 'square', 'triangle')
    assert (data.num_train, data.num_val) == (32, 4)
    train = json.loads((folder / 'train.json').read_text())
    for image in train['images']:
        picture = cv2.imread(str(folder / 'images' / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3) == (64, 64, 3)
    per_image = np.bincount([a['image_id'] for a in train['annotations']], minlength=33)[1:]
    assert (per_image == 0).sum() == 2  # every fifteenth image is without objects
    assert 1 <= per_image[per_image > 0].min() <= per_image.max() <= 6
    assert {a['category_id'] for a in train['annotations']} == {1, 2, 3}


def test_pycocotools_and_mmdet_read_it(folder):
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    register_all_modules()
    dataset = DATASETS.build(
        {
            'type': 'CocoDataset',
            'data_root': str(folder),
            'ann_file': 'train.json',
            'data_prefix': {'img': 'images/'},
            'metainfo': {'classes': CLASSES},
            'pipeline': [],
        }
    )
    annotations = json.loads((folder / 'train.json').read_text())['annotations']
    assert sum(len(dataset.get_data_info(i)['instances']) for i in range(len(dataset))) == len(annotations)
    assert dataset.get_data_info(0)['instances'][0]['bbox_label'] == annotations[0]['category_id'] - 1


@pytest.mark.parametrize('label', range(3))
def test_boxes_areas_and_labels_tell_of_the_same_shape(tmp_path, label):
    """Areas relative to boxes, at any rotation: circle pi/4, square 1/2 to 1, triangle 0.43 to 0.5."""
    root = make_shapes(tmp_path, num_train=60, num_val=1, size=192)
    low, high = {'circle': (0.74, 0.84), 'square': (0.48, 1.0), 'triangle': (0.40, 0.53)}[CLASSES[label]]
    found = 0
    for annotation in json.loads((root / 'train.json').read_text())['annotations']:
        x, y, w, h = annotation['bbox']
        assert 0 <= x < x + w <= 192
        assert 0 <= y < y + h <= 192
        assert max(w, h) <= 0.5 * 192 + 2
        touches_border = min(x, y, 192 - x - w, 192 - y - h) == 0
        if annotation['category_id'] == label + 1 and min(w, h) > 25 and not touches_border:
            assert low <= annotation['area'] / (w * h) <= high
            found += 1
    assert found > 10


def test_objects_stand_out_and_hide_each_other_little():
    for seed in range(20):
        picture, objects = draw_scene(np.random.default_rng(seed), 128, num_objects=5)
        assert picture.shape == (128, 128, 3)
        assert picture.dtype == np.uint8
        for i, (_, mask) in enumerate(objects):
            hidden = np.logical_or.reduce([other for _, other in objects[i + 1 :]] or [np.zeros_like(mask)])
            assert (mask & hidden).sum() <= mask.sum() / 2
            ring = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
            for _, other in objects:
                ring &= ~other
            if ring.sum() > 50:
                inside, outside = picture[mask & ~hidden].mean(axis=0), picture[ring].mean(axis=0)
                assert np.linalg.norm(inside - outside) > 30


def test_the_same_settings_give_the_same_pictures(folder, tmp_path):
    assert digest(small(tmp_path / 'again')) == digest(folder)
    other = digest(small(tmp_path / 'other', seed=1))
    assert other['train_00000.jpg'] != digest(folder)['train_00000.jpg']
    longer = digest(small(tmp_path / 'longer', num_train=33))
    assert longer['train_00031.jpg'] == digest(folder)['train_00031.jpg']
    names = digest(folder)
    assert len(set(names.values())) == len(names)


def test_a_complete_folder_is_left_alone(tmp_path):
    root = small(tmp_path / 'new' / 'folder')
    assert root == tmp_path / 'new' / 'folder'
    (root / 'images' / 'train_00000.jpg').write_bytes(b'touched')
    small(root)
    assert (root / 'images' / 'train_00000.jpg').read_bytes() == b'touched'


@pytest.mark.parametrize('gone', ['images/train_00003.jpg', 'val.json', 'train.json'])
def test_an_incomplete_folder_is_drawn_again(folder, tmp_path, gone):
    root = small(tmp_path)
    (root / gone).unlink()
    small(root)
    assert digest(root) == digest(folder)


def test_an_interrupted_drawing_is_finished(folder, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('mmcnn.datasets.folders.shapes.draw_scene', stop)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path)
    assert not (tmp_path / 'train.json').exists()
    assert digest(small(tmp_path)) == digest(folder)


def test_other_settings_replace_the_pictures_and_nothing_else(tmp_path):
    root = small(tmp_path, num_train=40)
    (root / 'notes.txt').write_text('mine')
    (root / 'images' / 'holiday.jpg').write_text('mine')
    small(root, num_train=5)
    assert sorted(path.name for path in (root / 'images').iterdir()) == [
        'holiday.jpg',
        *(f'train_{i:05d}.jpg' for i in range(5)),
        *(f'val_{i:05d}.jpg' for i in range(4)),
    ]
    assert (root / 'notes.txt').read_text() == 'mine'
    assert len(check_data(root).parts[0].coco['images']) == 5


def test_a_folder_of_someone_else_is_not_touched(tmp_path):
    (tmp_path / 'train.json').write_text('{}')
    with pytest.raises(FileExistsError, match='did not write'):
        small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['train.json']
    with pytest.raises(FileExistsError, match='is a file'):
        small(tmp_path / 'train.json')


def test_numbers_that_are_too_small_are_named(tmp_path):
    with pytest.raises(ValueError, match='num_val is 0'):
        small(tmp_path / 'a', num_val=0)
    with pytest.raises(ValueError, match='size is 32'):
        small(tmp_path / 'a', size=32)
    assert not (tmp_path / 'a').exists()


# ------------------------------------------------------------------------------------------------- one folder per class


def few(root, **kwargs):
    return make_shape_classes(root, **{'num_train': 7, 'num_val': 3, 'size': 32, **kwargs})


def test_classes_take_turns(tmp_path):
    data = read_class_folder(few(tmp_path))
    assert data.classes == CLASSES
    assert (data.num_train, data.num_val, data.num_ignored) == (7, 3, 0)
    assert [len(list((tmp_path / 'train' / name).iterdir())) for name in CLASSES] == [3, 2, 2]
    for path in tmp_path.glob('*/*/*.jpg'):
        assert cv2.imread(str(path)).shape == (32, 32, 3)


@pytest.mark.parametrize('label', range(3))
def test_close_ups_show_their_class(label):
    # Most pixels of a shape have hues near the middle of its class's range, unlike those of other classes.
    hues = []
    for seed in range(12):
        picture = _draw_close_up(np.random.default_rng(seed), label, 64)
        hue, saturation, _ = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(float), 2, 0)
        near = np.abs((2 * hue - (15, 135, 255)[label] + 180) % 360 - 180) < 50
        hues.append(np.mean(near & (saturation > 60)))
    assert np.mean(hues) > 0.2


def test_class_folder_is_kept_redrawn_and_refused(tmp_path):
    first = digest(few(tmp_path / 'a'))
    assert digest(few(tmp_path / 'b')) == first
    assert digest(few(tmp_path / 'c', seed=1)) != first
    picture = next((tmp_path / 'a').glob('train/circle/*.jpg'))
    before = picture.stat().st_mtime_ns
    few(tmp_path / 'a')
    assert picture.stat().st_mtime_ns == before
    (tmp_path / 'a' / 'settings.json').unlink()  # simulates an interruption
    picture.unlink()
    assert digest(few(tmp_path / 'a')) == first
    assert read_class_folder(few(tmp_path / 'a', num_train=4)).num_train == 4
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'x.txt').touch()
    with pytest.raises(FileExistsError, match='has files that make_shapes did not write'):
        few(tmp_path / 'mine')
    for kwargs in (dict(num_train=2), dict(num_val=0), dict(size=16)):
        with pytest.raises(ValueError, match='there must be at least 3 images of at least 32 pixels in each split'):
            few(tmp_path / 'd', **kwargs)


@pytest.mark.parametrize('make', [make_shapes, make_shape_classes])
def test_processes_that_ask_at_once_share_one_drawing(tmp_path, monkeypatch, make):
    """A second process neither deletes the images of the first nor returns before all of them exist."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    context = multiprocessing.get_context('fork')
    found = context.Queue()

    def images():
        return len(list((tmp_path / 'data').rglob('*.jpg')))

    def draw(after):
        cv2.setNumThreads(0)
        while images() < after:
            time.sleep(0.001)
        make(tmp_path / 'data', num_train=200, num_val=20, size=64)
        found.put(images())

    processes = [context.Process(target=draw, args=(after,), daemon=True) for after in (0, 150)]
    for process in processes:
        process.start()
    assert [found.get(timeout=60) for _ in processes] == [220, 220]
    for process in processes:
        process.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cache', 'data']
