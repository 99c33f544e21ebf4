import re

import pytest

from mmcnn.datasets import ClassFolder, read_class_folder
from mmcnn.errors import DataError
from mmcnn.registry import DATASETS

WNIDS = [f'n{1440764 + 3 * i:08}' for i in range(1000)]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def pets(tmp_path):
    return touch(
        tmp_path,
        'train/dog/b.JPEG', 'train/dog/a.jpg', 'train/dog/more/c.png', 'train/dog/notes.txt', 'train/cat/x.webp',
        'train/.cache/thumb.jpg', 'train/README.md', 'val/cat/1.bmp', 'val/dog/1.tiff', 'val/dog/list.csv',
    )  # fmt: skip


def test_a_good_folder(pets):
    folder = read_class_folder(str(pets))
    assert folder.root == pets
    assert folder.classes == ('cat', 'dog')
    assert (folder.num_train, folder.num_val, folder.num_ignored) == (4, 2, 2)
    assert read_class_folder(pets, train=None).num_train is None


def test_imagenet_has_its_thousand_classes(tmp_path):
    touch(tmp_path, *(f'{part}/{wnid}/{wnid}_1.JPEG' for part in ('train', 'val') for wnid in reversed(WNIDS)))
    folder = read_class_folder(tmp_path)
    assert folder.classes == tuple(WNIDS)
    assert (folder.num_train, folder.num_val) == (1000, 1000)


BAD = {
    'nothing': ([], r'nowhere does not exist; the data folder of a classifier has train/CLASS/ and val/CLASS/'),
    'a file': (['nowhere'], r'nowhere is not a folder; the data'),
    'no val': (['nowhere/train/a/1.jpg'], r'nowhere/val does not exist; the data'),
    'no train': (['nowhere/val/a/1.jpg'], r'nowhere/train does not exist; the data'),
    'no classes': (
        ['nowhere/train/.a/1.jpg', 'nowhere/val/a/1.jpg'],
        r'nowhere/train has no class folders; the data',
    ),
    'loose pictures': (
        ['nowhere/train/a/1.jpg', 'nowhere/val/1.JPEG', 'nowhere/val/2.JPEG', 'nowhere/val/x.txt'],
        r'nowhere/val has no class folders, but 2 images: move each to the folder of its class; the data',
    ),
    'empty classes': (
        [f'nowhere/train/{name}/x.txt' for name in 'abcdefg'] + ['nowhere/train/z/1.jpg', 'nowhere/val/z/1.jpg'],
        r'nowhere/train: 7 of 8 classes have no images: a, b, c, d, e and 2 more$',
    ),
    'other classes': (
        ['nowhere/train/a/1.jpg', 'nowhere/train/b/1.jpg', 'nowhere/val/b/1.jpg', 'nowhere/val/c/1.jpg'],
        r'nowhere/train and \S+/val have different classes: only \S+/train has a; only \S+/val has c$',
    ),
    'missing class': (
        ['nowhere/train/a/1.jpg', 'nowhere/train/b/1.jpg', 'nowhere/val/b/1.jpg'],
        r'have different classes: only \S+/train has a$',
    ),
    'a detector': (
        ['nowhere/train.json', 'nowhere/val.json', 'nowhere/images/1.jpg'],
        r'nowhere has train\.json: it is the data folder of a detector, but this config trains a classifier; the',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_folders(tmp_path, case):
    names, message = BAD[case]
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=message) as error:
        read_class_folder(tmp_path / 'nowhere')
    assert '\n' not in str(error.value)


def test_folder_of_a_detector_that_also_has_classes(tmp_path):
    touch(tmp_path, 'train.json', 'train/a/1.jpg', 'val/a/1.jpg')
    assert read_class_folder(tmp_path).classes == ('a',)


def entries(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(re.sub('.*/(train|val)/', '', info['img_path']), info['gt_label']) for info in infos]


def test_dataset(pets):
    dataset = DATASETS.build(dict(type='mmcnn.ClassFolder', data_root=str(pets), data_prefix=dict(img='train/')))
    assert isinstance(dataset, ClassFolder)
    assert dataset.metainfo == dict(classes=('cat', 'dog'))
    assert entries(dataset) == [('cat/x.webp', 0), ('dog/a.jpg', 1), ('dog/b.JPEG', 1), ('dog/more/c.png', 1)]


def test_labels_follow_the_given_classes(pets):
    dataset = ClassFolder(str(pets), dict(img='val/'), metainfo=dict(classes=['dog', 'cat']))
    assert entries(dataset) == [('dog/1.tiff', 0), ('cat/1.bmp', 1)]


def test_classes_that_are_not_there(pets):
    with pytest.raises(
        DataError, match=r'val/? do not match the classes of the config: only the config has bird; only .* has'
    ):
        ClassFolder(str(pets), dict(img='val/'), metainfo=dict(classes=('dog', 'bird')))
    with pytest.raises(DataError, match=r'gone/? does not exist'):
        ClassFolder(str(pets), dict(img='gone/'))


def test_ignored_files_are_counted(pets, monkeypatch):
    lines = []
    monkeypatch.setattr('mmcnn.datasets.folders.classes.print_log', lambda line, logger, level: lines.append(line))
    ClassFolder(str(pets), dict(img='train/'))
    (line,) = lines
    assert re.fullmatch(r'\S+/train/?: 1 files that are not images by their names are skipped', line)
