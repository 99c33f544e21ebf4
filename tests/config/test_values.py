"""Parsing of values typed after ``=``."""

import argparse

import pytest
from mmengine.config import DictAction

from mmcnn.config.values import parse_value
from mmcnn.errors import UsageError


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('-1', -1),
        ('1e-3', 1e-3),
        ('.5', 0.5),
        ('1_000', 1000),
        ('true', True),
        ('False', False),
        ('None', None),
        ('none', 'none'),
        ('', ''),
        ('1,2', [1, 2]),
        ('1,', [1]),
        ('[]', []),
        ('()', ()),
        ('(2)', (2,)),
        ('(640, 640)', (640, 640)),
        ('[(1,2),[a,b],c]', [(1, 2), ['a', 'b'], 'c']),
        ('mmcnn.resnet50-tv', 'mmcnn.resnet50-tv'),
        ('mmcnn://resnet50-tv/torchvision-v1', 'mmcnn://resnet50-tv/torchvision-v1'),
        ('a=b', 'a=b'),
    ],
)
def test_what_mmengine_reads_is_read_so(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)
    parser = argparse.ArgumentParser()
    parser.add_argument('pair', nargs=1, action=DictAction)
    assert parser.parse_args([f'x={text}']).pair == dict(x=value)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ("dict(type='AdamW', lr=1e-3)", dict(type='AdamW', lr=1e-3)),
        ('dict(type=Pretrained,checkpoint=a/b.pth)', dict(type='Pretrained', checkpoint='a/b.pth')),
        ("{'type':'AdamW','lr':0.001,'_delete_':True}", dict(type='AdamW', lr=0.001, _delete_=True)),
        ("{1: 'a', (1, 2): None}", {1: 'a', (1, 2): None}),
        ('{a: https://x.org/y}', dict(a='https://x.org/y')),
        ('dict()', {}),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        (
            "[dict(type='A', b=dict(c=[1, (2, 3)], d={'e': None})), dict(type='B')]",
            [dict(type='A', b=dict(c=[1, (2, 3)], d=dict(e=None))), dict(type='B')],
        ),
        ("'a, b=c (d'", 'a, b=c (d'),
        ('"it\'s"', "it's"),
        ("don't", "don't"),
        ("'1'", '1'),  # quotes make it a string
        (r"'C:\Users\data'", r'C:\Users\data'),
        ("['a, b', c d]", ['a, b', 'c d']),
        ('my folder/a b.json', 'my folder/a b.json'),
        ('photo (1).jpg', 'photo (1).jpg'),
        ('f(1,2)', 'f(1,2)'),
        ('dictionary(1)', 'dictionary(1)'),
    ],
)
def test_what_mmengine_reads_otherwise_or_not_at_all(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('[1,2', r'^\[1,2: the brackets do not match$'),
        ('[1,2)', 'the brackets do not match'),
        ('1,2]', 'the brackets do not match'),
        ('dict(a=1', 'the brackets do not match'),
        ("'abc", 'the quotes do not match'),
        ('dict(a)', r"^'a' in dict\(a\) is not KEY=VALUE$"),
        ('{1, 2}', r"'1' in \{1, 2\} is not KEY: VALUE"),
        ('{[1]: 2}', r"'\[1\]' in .* cannot be a key"),
        ('dict(a=1, a=2)', "has 'a' twice"),
    ],
)
def test_what_cannot_be_read_says_why(text, words):
    with pytest.raises(UsageError, match=words):
        parse_value(text)
