"""How file names in annotations are matched to files: exact matches, deviations with a note, and refusals."""

import os
import unicodedata

import pytest

from mmcnn.datasets.folders.file_finder import FileFinder, Found


def finder(root, **keywords):
    return FileFinder(root, [root / 'images'], [root / 'images'], also=[root], **keywords)


def one(finder, name):
    return finder.find([name])[name]


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
        ('A.PNG', 'a.png', ('other case or accents',)),
        ('One/u.png', 'one/u.png', ('other case or accents',)),
        (unicodedata.normalize('NFD', 'é.png'), 'é.png', ('other case or accents',)),
        ('a', 'a.png', ('no suffix',)),
        ('a.jpg', 'a.png', ('another suffix',)),
        ('x.v1', 'x.v1.jpg', ('no suffix',)),
        ('b.png', 'B.JPG', ('other case or accents', 'another suffix')),
    ],
)
def test_names_that_lead_to_one_file(root, written, file, changes):
    found = one(finder(root), written.replace('ROOT', str(root)))
    assert os.path.normpath(found.path) == str(root / 'images' / file)
    assert sorted(found.changes) == sorted(changes)


@pytest.mark.parametrize(
    ('written', 'problem'),
    [
        ('s.png', '2 files match: images/one/s.png, images/two/s.png'),
        ('C:\\upload\\s.png', '2 files match: images/one/s.png, images/two/s.png'),
        ('C:\\upload\\gone.png', 'it is a Windows path, and no file has this name'),
        ('gone.png', ''),
        ('..', ''),
        ('nul\0.png', ''),
        ('\ud800', ''),
    ],
)
def test_names_that_lead_to_none_say_why(root, written, problem):
    assert one(finder(root), written) == Found(None, (), problem)


def test_one_note_for_each_kind_of_change(root):
    find = finder(root)
    find.find(['images\\a.png', 'images\\B.JPG', 'gone.png', 'x.v1.png'])
    assert [str(note) for note in find.notes('train.json', 'train')] == [
        'train.json: 2 file names with Windows separators and other folders: "images\\a.png" is read as images/a.png',
        'train.json: 1 file name with another suffix: "x.v1.png" is read as images/x.v1.jpg',
    ]


def test_names_without_endings(root):
    find = finder(root, has_ending=False)
    assert one(find, 'a') == Found(root / 'images' / 'a.png')
    assert one(find, 'one/s') == Found(root / 'images' / 'one' / 's.png')
    assert one(find, 'a.png').changes == ('a suffix',)
    assert one(find, 's').problem.startswith('2 files match')


# -------------------------------------------------------------------- a file with the same name is not the missing file


def lay(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def paths(root, names, folders=('images',), **keywords):
    """Return the paths that names lead to, relative to the data folder, or None."""
    folders = [root / each for each in folders]
    found = FileFinder(root, folders, folders, **keywords).find(names)
    return [each.path and os.path.normpath(each.path.relative_to(root)) for each in found.values()]


@pytest.mark.parametrize(
    ('files', 'names', 'expected'),
    [
        # the folder exists, but the file is not in it
        (['v1/1.png', 'v2/3.png'], ['v1/1.png', 'v1/3.png'], ['images/v1/1.png', None]),
        (['a/1.png', 'b/3.png'], ['b/3.png', 'a/3.png'], ['images/b/3.png', None]),
        # the folder does not exist, but another one was meant
        (['train/1.png', 'train/2.png'], ['val/1.png', 'val/2.png'], [None, None]),
        (['v2/1.png'], ['v2/1.png', 'v1/1.png'], ['images/v2/1.png', None]),
        (['v2/1.png', 'v2/2.png'], ['v2/1.png', 'v1/1.png', 'v1/2.png'], ['images/v2/1.png', None, None]),
        (['v2/images/1.png'], ['v2/sub/1.png'], [None]),
        # paths of another machine: one folder replaces one folder, with all of its files
        (['b/1.png', 'b/2.png'], ['D:\\x\\1.png', 'D:\\x\\2.png'], ['images/b/1.png', 'images/b/2.png']),
        (['b/1.png', 'c/2.png'], ['D:\\x\\1.png', 'D:\\x\\2.png'], [None, None]),
        (['b/1.png'], ['D:\\x\\1.png', 'D:\\x\\2.png'], [None, None]),
        (['1.png'], ['D:\\x\\1.png', 'D:\\x\\2.png'], ['images/1.png', None]),
        # two folders of another machine are merged into one only if no names collide
        (['1.png', '2.png'], ['D:\\x\\1.png', 'D:\\y\\2.png'], ['images/1.png', 'images/2.png']),
        (['1.png', '2.png'], ['D:\\x\\1.png', 'D:\\y\\1.png', 'D:\\y\\2.png'], [None, None, None]),
        (['1.png', '2.png'], ['1.png', 'D:\\y\\1.png', 'D:\\y\\2.png'], ['images/1.png', None, None]),
        # the first or last folders of a path are missing here
        (['b/1.png'], ['/home/me/b/1.png'], ['images/b/1.png']),
        (['x/b/1.png'], ['b/1.png'], ['images/x/b/1.png']),
    ],
)
def test_a_file_of_the_same_name_in_another_folder_is_not_taken(tmp_path, files, names, expected):
    lay(tmp_path / 'images', *files)
    assert paths(tmp_path, names) == expected


def test_a_bare_name_is_not_looked_for_in_the_folder_of_another_split(tmp_path):
    lay(tmp_path, 'images/val/1.png')
    assert paths(tmp_path, ['1.png'], split={'train'}) == [None]
    assert paths(tmp_path, ['1.png'], split={'valid'}) == ['images/val/1.png']
    assert paths(tmp_path, ['1.png']) == ['images/val/1.png']


def test_lists_of_a_folder_that_is_not_unpacked(tmp_path):
    lay(tmp_path, 'images/train/1.png', 'images/train/2.png')
    names = ['images/val/1.png', '/data/set/images/val/2.png']
    assert paths(tmp_path, names, ['.'], split={'val'}) == [None, None]


def test_two_names_of_one_file(tmp_path):
    lay(tmp_path, 'images/a.png')
    found = FileFinder(tmp_path, [tmp_path / 'images'], [tmp_path / 'images']).find(['a.jpg', 'a.png', 'A.PNG'])
    assert found['a.png'].path == tmp_path / 'images' / 'a.png'
    assert {found[name].problem for name in ('a.jpg', 'A.PNG')} == {"the only matching file is that of 'a.png'"}
    assert paths(tmp_path, ['a.jpg', 'A.PNG']) == [None, None]  # neither is an exact match


def test_why_a_namesake_is_not_taken(tmp_path):
    lay(tmp_path, 'images/a/1.png', 'images/b/3.png')
    find = FileFinder(tmp_path, [tmp_path / 'images'], [tmp_path / 'images'])
    assert one(find, 'a/3.png').problem == (
        'a file with this name is in another folder, which contradicts the name: images/b/3.png'
    )
    assert find.notes('train.json', 'train') == []
