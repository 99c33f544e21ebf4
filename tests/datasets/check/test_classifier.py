"""Broken images in the data of a classifier."""

import shutil

import cv2
import pytest

from mmcnn.datasets import ClassFolder, read_class_folder
from mmcnn.datasets.check.classifier import check_class_folder, check_class_images, describe_left_out
from mmcnn.errors import DataError


def checked(folder, names, skip_bad):
    report = check_class_folder(folder, names)
    return report.usable(skip_bad), list(report.findings)


@pytest.fixture
def broken(shape_classes, tmp_path, monkeypatch):
    """A copy of the data with a truncated training image and an empty validation image."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    shutil.copytree(shape_classes, root)
    first = sorted((root / 'train' / 'square').iterdir())[0]
    first.write_bytes(first.read_bytes()[:-100])
    sorted((root / 'val' / 'circle').iterdir())[0].write_bytes(b'')
    return root


def test_sound_pictures(shape_classes):
    folder = read_class_folder(shape_classes)
    assert checked(folder, ('train', 'val'), skip_bad=False) == (folder, [])


def test_broken_pictures_are_named(broken):
    train, val = (sorted((broken / name).iterdir())[0].name for name in ('train/square', 'val/circle'))
    with pytest.raises(DataError) as error:
        checked(read_class_folder(broken), ('train', 'val'), skip_bad=False)
    assert str(error.value).splitlines() == [
        f'{broken}: cannot be used for training:',
        'error: unreadable image (1)',
        f'  val/circle/{val}: is empty',
        'error: truncated image (1)',
        f'  train/square/{train}: cannot be decoded: image file is truncated',
        'to skip them, use skip_bad=True; otherwise repair the files',
    ]
    with pytest.raises(DataError, match='is empty') as error:
        checked(read_class_folder(broken), ('val',), skip_bad=False)
    assert 'truncated' not in str(error.value)


def test_broken_pictures_are_left_out(broken):
    folder, bad = checked(read_class_folder(broken), ('train', 'val'), skip_bad=True)
    assert (folder.num_train, folder.num_val) == (23, 11)
    assert describe_left_out(bad) == 'left out: unreadable image 1, truncated image 1'
    left_out = [finding.file for finding in bad if finding.split == 'train']
    dataset = ClassFolder(data_root=str(broken), data_prefix=dict(img='train/'), left_out=left_out)
    names = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert len(names) == 23
    assert not any(name.endswith(left_out[0]) for name in names)


def test_a_class_without_a_sound_picture(broken):
    for path in (broken / 'val' / 'circle').iterdir():
        path.write_bytes(b'')
    with pytest.raises(DataError, match='val/circle has no usable image'):
        checked(read_class_folder(broken), ('train', 'val'), skip_bad=True)


def test_a_picture_to_train_on_that_is_in_val_too(shape_classes, tmp_path, monkeypatch):
    """The copy has another name and class and was encoded again, but has the same pixels."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    shutil.copytree(shape_classes, root)
    held_out = sorted((root / 'val' / 'circle').iterdir())[0]
    cv2.imwrite(str(root / 'train' / 'square' / 'copy.png'), cv2.imread(str(held_out)))
    with pytest.raises(DataError) as error:
        checked(read_class_folder(root), ('train', 'val'), skip_bad=False)
    assert str(error.value).splitlines()[1:3] == [
        'error: train image in val (1)',
        f'  train/square/copy.png: is the image of val/circle/{held_out.name}',
    ]
    folder, bad = checked(read_class_folder(root), ('train', 'val'), skip_bad=True)
    assert (folder.num_train, folder.num_val) == (24, 12)
    assert [(finding.file, finding.split) for finding in bad] == [('train/square/copy.png', 'train')]
    # Without the training images, as in an evaluation, there is nothing to compare with.
    assert checked(read_class_folder(root), ('val',), skip_bad=False)[1] == []


def test_the_name_of_release_0_1_warns_and_works(broken):
    folder = read_class_folder(broken)
    with pytest.warns(DeprecationWarning, match='check_class_images was replaced by check_class_folder'):
        found = check_class_images(folder, ('train', 'val'), True)
    assert found == checked(folder, ('train', 'val'), skip_bad=True)
    assert len(found[1]) == 2
