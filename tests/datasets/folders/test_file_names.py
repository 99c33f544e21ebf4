"""Folders in users' file names, and words for splits."""

import pytest

from mmcnn.datasets.folders.file_names import find_place, means_other_split, split_words, used_to_validate


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
        'note', 'test.json: is used for validation, because there is no split called val',
    )  # fmt: skip


@pytest.mark.parametrize(
    ('words', 'own', 'is_other'),
    [
        ({'train'}, {'val'}, True),
        ({'valid'}, {'val'}, False),
        ({'test'}, {'val'}, True),
        ({'train', 'val'}, {'val'}, False),
        (set(), {'val'}, False),
        ({'train'}, set(), False),
    ],
)
def test_words_of_another_split(words, own, is_other):
    assert means_other_split(words, own) == is_other
