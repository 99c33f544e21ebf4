"""How written file names find their files: what is read as it is, what is read otherwise and said, what is refused."""

import os
import unicodedata

import pytest

from mmcnn.datasets.folders.file_names import FileFinder, Found, find_place, split_words, used_to_validate


@pytest.fixture
def root(tmp_path):
    """images/ with files of which some share their names."""
    for name in ('a.png', 'B.JPG', 'x.v1.jpg', 'one/s.png', 'two/s.png', 'one/u.png', 'é.png'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def finder(root, **keywords):
    return FileFinder(root, [root / 'images'], [root / 'images'], also=[root], **keywords)


@pytest.mark.parametrize(
    ('written', 'file', 'changes'),
    [
        ('a.png', 'a.png', ()),
        ('./one/s.png', 'one/s.png', ()),
        ('ROOT/images/a.png', 'a.png', ()),
        ('images/a.png', 'a.png', ('other folders',)),
        ('images\\a.png', 'a.png', ('Windows separators', 'other folders')),
        ('one\\s.png', 'one/s.png', ('Windows separators',)),
        ('..\\..\\tool\\upload\\4\\a.png', 'a.png', ('Windows separators', 'folders of another machine')),
        ('C:\\data\\images\\two\\s.png', 'two/s.png', ('Windows separators', 'folders of another machine')),
        ('/home/me/images/one/s.png', 'one/s.png', ('folders of another machine',)),
        ('other/u.png', 'one/u.png', ('other folders',)),
        ('u.png', 'one/u.png', ('other folders',)),
        ('A.PNG', 'a.png', ('upper and lower case or accents',)),
        ('One/u.png', 'one/u.png', ('upper and lower case or accents',)),
        (unicodedata.normalize('NFD', 'é.png'), 'é.png', ('upper and lower case or accents',)),
        ('a', 'a.png', ('no ending',)),
        ('a.jpg', 'a.png', ('another ending',)),
        ('x.v1', 'x.v1.jpg', ('no ending',)),
        ('b.png', 'B.JPG', ('upper and lower case or accents', 'another ending')),
    ],
)
def test_names_that_lead_to_one_file(root, written, file, changes):
    found = finder(root).find(written.replace('ROOT', str(root)))
    assert os.path.normpath(found.path) == str(root / 'images' / file)
    assert sorted(found.changes) == sorted(changes)


@pytest.mark.parametrize(
    ('written', 'problem'),
    [
        ('s.png', '2 files may be meant: images/one/s.png, images/two/s.png'),
        ('C:\\upload\\s.png', '2 files may be meant: images/one/s.png, images/two/s.png'),
        ('C:\\upload\\gone.png', 'it is written on Windows, and no file has this name'),
        ('gone.png', ''),
        ('..', ''),
        ('nul\0.png', ''),
        ('\ud800', ''),
    ],
)
def test_names_that_lead_to_none_say_why(root, written, problem):
    assert finder(root).find(written) == Found(None, (), problem)


def test_one_note_for_each_kind_of_change(root):
    find = finder(root)
    for name in ('images\\a.png', 'images\\B.JPG', 'a.jpg', 'a.png', 'gone.png'):
        find.find(name)
    assert [str(note) for note in find.notes('train.json', 'train')] == [
        'train.json: 2 file names with Windows separators and other folders: "images\\a.png" is read as images/a.png',
        'train.json: 1 file name with another ending: "a.jpg" is read as images/a.png',
    ]
    find.forget('a.jpg')
    assert len(find.notes('train.json', 'train')) == 1


def test_names_without_endings(root):
    find = finder(root, has_ending=False)
    assert find.find('a') == Found(root / 'images' / 'a.png')
    assert find.find('one/s') == Found(root / 'images' / 'one' / 's.png')
    assert find.find('a.png').changes == ('an ending',)
    assert find.find('s').problem.startswith('2 files may be meant')


def test_places_of_another_machine(root):
    assert find_place('images/one', [root]) == (root / 'images' / 'one', ())
    assert find_place('../images/one', [root]) == (root / 'images' / 'one', ())
    assert find_place('images\\one', [root]) == (root / 'images' / 'one', ('Windows separators',))
    place, changes = find_place('D:\\sets\\images\\one', [root])
    assert (place, changes) == (root / 'images' / 'one', ('Windows separators', 'folders of another machine'))
    assert find_place('/sets/images/one', [root])[1] == ('folders of another machine',)
    assert find_place('nowhere', [root]) == (None, ())


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('instances_train2017.json', {'train'}),
        ('valid_annotations', {'valid'}),
        ('Test', {'test'}),
        ('trainval.txt', set()),
        ('train_val', {'train', 'val'}),
        ('interval', set()),
    ],
)
def test_words_for_splits(name, words):
    assert split_words(name) == words


def test_what_is_validated_on_is_said_where_it_is_not_called_val():
    assert used_to_validate('val.json', 'val') == []
    (note,) = used_to_validate('test.json', 'test')
    assert (note.severity, str(note)) == (
        'note', 'test.json: is the split to validate on: there is none that is called val',
    )  # fmt: skip
