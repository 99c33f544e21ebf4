"""ImageSets/Main: which list belongs to which split, and the variants of its lines."""

import pytest
from PIL import Image

from mmcnn.datasets import check_data
from mmcnn.datasets.folders.voc_sets import VocImage, choose_set, read_set
from mmcnn.errors import DataError

XML = (
    '<annotation>{}<size><width>40</width><height>20</height></size><object><name>cat</name><bndbox><xmin>1</xmin>'
    '<ymin>1</ymin><xmax>10</xmax><ymax>20</ymax></bndbox></object></annotation>'
)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write images and annotations by their stems, and lists by their names."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(lists, stems=('a', 'b', 'c'), ending='.png', filename=''):
        root = tmp_path / 'data'
        (root / 'ImageSets' / 'Main').mkdir(parents=True)
        for i, stem in enumerate(stems):
            for folder in ('JPEGImages', 'Annotations'):
                (root / folder / stem).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (40, 20), (50 * i, 0, 0)).save(root / 'JPEGImages' / f'{stem}{ending}')
            (root / 'Annotations' / f'{stem}.xml').write_text(XML.format(filename))
        for name, content in lists.items():
            (root / 'ImageSets' / 'Main' / f'{name}.txt').write_text(content, encoding='utf-8')
        return root

    return write


@pytest.mark.parametrize(
    ('lists', 'train', 'val'),
    [
        ('train val', 'train', 'val'),
        ('train val trainval test', 'train', 'val'),
        ('train test', 'train', 'test'),
        ('trainval test', 'trainval', 'test'),
        ('train trainval test', 'trainval', 'test'),
        ('training validation', 'training', 'validation'),
        ('train', 'train', None),
        ('default', 'default', None),
        ('val', None, 'val'),
        ('cat_train dog_train cat_val cat_trainval', '*_train', '*_val'),
    ],
)
def test_which_list_is_which_split(make, lists, train, val):
    root = make(dict.fromkeys(lists.split(), 'a\n'))
    chosen = [choose_set(root, name) for name in ('train', 'val')]
    assert [each and each.title for each in chosen] == [
        name and f'ImageSets/Main/{name}.txt' for name in (train, val)
    ]  # fmt: skip


def test_lists_that_cannot_be_told_apart(make):
    root = make({'one': 'a', 'two': 'b'})
    with pytest.raises(
        DataError,
        match=r'Main has one\.txt, two\.txt, whose names do not contain splits: rename the training',
    ):
        choose_set(root, 'train')


@pytest.mark.parametrize(
    ('content', 'note'),
    [
        ('\ufeffa\r\nb\r\n\r\n', None),
        ('a  1\nb -1\n', '2 lines with a second column, which is ignored, the first is "a  1"'),
        ('a.png\nb.png\n', '2 file names with a suffix: "a.png" is read as JPEGImages/a.png'),
        ('JPEGImages/a.png\nb\n', '1 file name with other folders and a suffix: "JPEGImages/a.png" is read as'),
        ('a.jpg\nb\n', '1 file name with another suffix: "a.jpg" is read as JPEGImages/a.png'),
        ('A\nb\n', '1 file name with other case or accents: "A" is read as JPEGImages/a.png'),
    ],
)
def test_lines_that_can_only_mean_one_image(make, content, note):
    root = make({'train': content, 'val': 'c'})
    read = read_set(root, choose_set(root, 'train'), 'train')
    assert read.images == [VocImage('a.png', 'a.xml'), VocImage('b.png', 'b.xml')]
    assert all(note and note in finding.text for finding in read.findings[:1])
    assert bool(read.findings) == bool(note)
    report = check_data(root)
    assert report.of('fatal', 'error') == []
    assert report.usable().num_train == 2


def test_a_name_that_ends_like_a_flag(make):
    root = make({'train': 'a 1\nb\n', 'val': 'c'}, ('a 1', 'b', 'c'))
    read = read_set(root, choose_set(root, 'train'), 'train')
    assert ([each.image for each in read.images], read.findings) == (['a 1.png', 'b.png'], [])


def test_images_in_subfolders(make):
    root = make({'train': 'cam/a\nb\n', 'val': 'cam/c'}, ('cam/a', 'cam/b', 'cam/c'))
    read = read_set(root, choose_set(root, 'train'), 'train')
    assert read.images == [VocImage('cam/a.png', 'cam/a.xml'), VocImage('cam/b.png', 'cam/b.xml')]
    assert ['"b" is read as' in each.text for each in read.findings] == [True, True]  # images and annotations
    assert check_data(root).of('fatal', 'error') == []


def test_lists_for_classes_count_together(make):
    root = make({'cat_train': 'a 1\nb -1\n', 'dog_train': 'a -1\nb  0\n', 'cat_val': 'c 1'})
    report = check_data(root)
    assert [split.title for split in report.splits] == ['ImageSets/Main/*_train.txt', 'ImageSets/Main/*_val.txt']
    assert (report.usable().num_train, report.usable().num_val) == (2, 1)


def test_without_lists_all_annotations_are_to_train_on(make):
    root = make({})
    read = read_set(root, choose_set(root, 'train'), 'train')
    assert [each.annotation for each in read.images] == ['a.xml', 'b.xml', 'c.xml']
    assert choose_set(root, 'val') is None


def test_of_two_images_the_one_that_the_annotations_name(make):
    root = make({'train': 'a\nb\n', 'val': 'c'}, filename='<filename>a.jpg</filename>')
    Image.new('RGB', (40, 20), 'white').save(root / 'JPEGImages' / 'a.jpg')
    report = check_data(root)
    assert report.splits[0].coco['images'][0]['file_name'] == 'a.jpg'
    (root / 'Annotations' / 'a.xml').write_text(XML.format(''))
    (finding,) = check_data(root).of('error')
    assert str(finding) == ('JPEGImages/a: image 0 does not exist: 2 files match: JPEGImages/a.jpg, JPEGImages/a.png')


# ------------------------------------------------------------------------------------ annotations belong to their image


def test_annotations_of_another_folder_are_not_taken(make):
    root = make({'train': 'a/1\nb/1\na/2\nb/3\n', 'val': 'c'}, ('a/1', 'b/1', 'a/2', 'b/2', 'b/3', 'c'))
    (root / 'Annotations' / 'a' / '1.xml').unlink()
    (root / 'JPEGImages' / 'a' / '2.png').unlink()
    report = check_data(root)
    assert [(each.kind, str(each)) for each in report.of('error')] == [
        (
            'unreadable annotation',
            'Annotations/a/1.xml: does not exist; Annotations/b/1.xml is in another folder and not used',
        ),
        (
            'missing image',
            'JPEGImages/a/2: image 2 does not exist: a file with this name is in another folder, which '
            'contradicts the name: JPEGImages/b/2.png',
        ),
    ]


def test_one_flat_folder_of_annotations(make):
    root = make({'train': 'cam/a\ncam/b\n', 'val': 'c'}, ('cam/a', 'cam/b', 'c'))
    for stem in 'ab':
        (root / 'Annotations' / 'cam' / f'{stem}.xml').rename(root / 'Annotations' / f'{stem}.xml')
    read = read_set(root, choose_set(root, 'train'), 'train')
    assert read.images == [VocImage('cam/a.png', 'a.xml'), VocImage('cam/b.png', 'b.xml')]
    assert [each.text for each in read.findings] == [
        '2 file names with other folders: "cam/a" is read as Annotations/a.xml'
    ]
    Image.new('RGB', (40, 20)).save(root / 'JPEGImages' / 'a.png')  # a.xml may belong to this one
    read = read_set(root, choose_set(root, 'train'), 'train')
    assert [bool(each.annotation_problem) for each in read.images] == [True, False]


@pytest.mark.parametrize(
    ('lines', 'stems', 'refused'),
    [
        ('cam/a\na\n', ('cam/a',), ['a']),  # two names of one image
        ('a.jpg\na.png\n', ('a',), ['a.jpg']),
    ],
)
def test_two_lines_for_one_image(make, lines, stems, refused):
    root = make({'train': lines, 'val': 'c'}, (*stems, 'c'))
    read = read_set(root, choose_set(root, 'train'), 'train')
    assert [name for name, each in zip(lines.split(), read.images, strict=True) if each.problem] == refused
    assert sum(bool(each.annotation_problem) for each in read.images) == 1
    assert [each.kind for each in check_data(root).of('error')] == ['unreadable annotation']


def test_two_images_with_one_file_of_annotations(make):
    root = make({'train': 'a.jpg\na.png\nb\n', 'val': 'c'})
    Image.new('RGB', (40, 20), 'white').save(root / 'JPEGImages' / 'a.jpg')
    assert [str(each) for each in check_data(root).of('error')] == [
        "Annotations/a.xml: belongs to both 'a.png' and 'a.jpg'; each image needs its own file",
        "Annotations/a.xml: belongs to both 'a.jpg' and 'a.png'; each image needs its own file",
    ]
