"""data.yaml: names that YAML does not read as text, and alternatives to a list of names."""

import re

import pytest

from mmcnn.datasets.folders.yolo_settings import read_settings
from mmcnn.errors import DataError

PLACES = 'train: images/train\nval: images/val\n'


def read(tmp_path, text, file='data.yaml'):
    (tmp_path / file).write_text(text, encoding='utf-8')
    return read_settings(tmp_path)


@pytest.mark.parametrize(
    ('names', 'shown', 'word'),
    [
        ('[yes, no]', 'yes', 'yes or no'),
        ('[cat, on]', 'on', 'yes or no'),
        ('[cat, 1]', '1', 'a number'),
        ('[cat, 1e3, 2.5]', '2.5', 'a number'),
        ('[cat, 2024-01-01]', '2024-01-01', 'a date'),
        ('[cat, null]', 'null', 'nothing'),
        ('{0: cat, 1: no}', 'no', 'yes or no'),
    ],
)
def test_names_that_are_no_text_ask_for_quotes(tmp_path, names, shown, word):
    message = (
        f'data.yaml, line 3, "names: {names}": the class name {shown} is not text, YAML reads it as {word}: put it '
        f"in quotes, '{shown}'"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path, f'{PLACES}names: {names}\n')


def test_the_line_of_a_list_in_lines(tmp_path):
    with pytest.raises(DataError, match=r'line 5, "- off": the class name off is not text'):
        read(tmp_path, f'{PLACES}names:\n- cat\n- off\n')
    with pytest.raises(DataError, match=r"the class name None is not text, YAML reads it as nothing.*'NAME'"):
        read(tmp_path, f'{PLACES}names:\n- cat\n-\n')
    with pytest.raises(DataError, match=r'reads it as a list'):
        read(tmp_path, f'{PLACES}names: [[cat], dog]\n')


def test_names_in_quotes_are_names(tmp_path):
    assert read(tmp_path, f'{PLACES}names: [\'no\', "1", ü]\n').names == ['no', '1', 'ü']
    assert read(tmp_path, f'{PLACES}names:\n  1: dog\n  0: cat\n').names == ['cat', 'dog']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: [cat, dog, cat]\n', "line 1, .*: two classes have the name 'cat'; names must be different"),
        ('names: {0: cat, 0: dog}\n', 'line 1: 0 occurs twice; remove one'),
        ('names: [cat]\ntrain: a\ntrain: b\n', 'line 3: train occurs twice'),
        ("names: [cat, ' ']\n", "class 1 has the empty name ' '"),
        ('names: []\n', r'has names: \[\]; it must be the names'),
        ('names: [cat]\nnc: two\n', 'has nc: two, but 1 names'),
        ("names: [cat]\nnc: '2'\n", 'has nc: 2, but 1 names'),
        ('names: [cat]\ntrain: 2024-02-31\n', 'is not valid YAML'),
    ],
)
def test_what_yaml_would_pass_over_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_a_number_in_quotes_is_read_and_said(tmp_path):
    settings = read(tmp_path, f"{PLACES}names: [cat, dog]\nnc: '2'\n")
    assert [str(note) for note in settings.findings] == ["data.yaml: nc: '2' is read as the number 2"]


@pytest.mark.parametrize('key', ['valid', 'validation', 'dev', 'test'])
def test_other_words_for_val(tmp_path, key):
    settings = read(tmp_path, f'train: a\n{key}: b\nnames: [cat]\n')
    assert settings.places == {'train': ['a'], 'val': ['b']}
    (note,) = settings.findings
    assert (note.file, note.severity) == (f'data.yaml ({key})', 'note')
    settings = read(tmp_path, f'train: a\n{key}: b\nval: c\nnames: [cat]\n')
    assert (settings.places['val'], settings.findings) == (['c'], [])


def test_other_names_of_the_file(tmp_path):
    assert read(tmp_path, f'{PLACES}names: [cat]\n', 'data.yml').file == 'data.yml'
    (tmp_path / 'data.yml').unlink()
    (tmp_path / 'hyp.yaml').write_text('lr0: 0.01\n')
    (tmp_path / 'broken.yaml').write_text('[')
    assert read(tmp_path, f'{PLACES}names: [cat]\n', 'coco8.yaml').file == 'coco8.yaml'
    with pytest.raises(
        DataError, match=r'has several files that name classes, coco8\.yaml, other\.yaml: rename the right one'
    ):
        read(tmp_path, f'{PLACES}names: [dog]\n', 'other.yaml')


@pytest.mark.parametrize('layout', ['{0}/{1}', '{1}/{0}'])
def test_without_a_file_classes_txt_names_the_classes(tmp_path, layout):
    for folder in ('images', 'labels'):
        for word in ('train', 'valid'):
            (tmp_path / layout.format(folder, word)).mkdir(parents=True)
    with pytest.raises(
        DataError, match=r'has folders of images and labels, but no data\.yaml, which names the classes, as'
    ):
        read_settings(tmp_path)
    settings = read(tmp_path, 'cat\n\ntraffic light\n', 'classes.txt')
    assert settings.names == ['cat', 'traffic light']
    words = {'train': 'train', 'val': 'valid'}
    assert settings.places == {name: [layout.format('images', word)] for name, word in words.items()}
    notes = [str(finding) for finding in settings.findings if finding.file == 'classes.txt']
    assert notes == [
        'classes.txt: names the 2 classes, because there is no data.yaml',
        'classes.txt: 1 empty line before or between the names is ignored',
    ]
    assert len(read(tmp_path, 'cat\ndog\n\n\n', 'classes.txt').findings) == len(settings.findings) - 1
    with pytest.raises(DataError, match=r'classes\.txt has a name twice'):
        read(tmp_path, 'cat\ncat\n', 'classes.txt')
