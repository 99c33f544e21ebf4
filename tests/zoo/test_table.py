"""The table of networks: its stored numbers, its formats, and its copy in docs/networks.md."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import mmcnn
from mmcnn.zoo import table
from mmcnn.zoo.reference_table import REFERENCE

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'networks.md'
STORED = {network.name: network for network in table.load()}


@pytest.fixture(scope='module')
def darknets():
    return [STORED[name] for name in ('darknet53', 'cspdarknet53', 'cspdarknet53-focus')]


def page_lines():
    """Maps each name in the page's table to its line."""
    block = PAGE.read_text(encoding='utf-8').partition('<!-- zoo -->')[2].partition('<!-- end of zoo -->')[0]
    return {m[1]: m[0] for m in re.finditer(r'^\| `([^`]+)` \|.*$', block, flags=re.MULTILINE)}


def test_reference_table_is_whole():
    assert len(REFERENCE) == 35
    assert sum(row.classifier for row in REFERENCE.values()) == 30
    assert sum(row.outside for row in REFERENCE.values()) == 8 * 7


def test_every_network_is_stored():
    assert sorted(STORED) == mmcnn.list_backbones(), 'run make table'


def test_page_is_current():
    assert page_lines() == {name: table.markdown_line(network) for name, network in STORED.items()}, 'run make table'


def test_exact_is_what_the_reference_table_says():
    row = REFERENCE['vgg16']
    assert table.is_exact('vgg16', row.total, row.trainable) is True
    assert table.is_exact('vgg16', row.total, row.trainable - 1) is False
    assert table.is_exact('vgg16', row.total + 1, row.trainable) is False
    assert table.is_exact('vgg16-mine', row.total, row.trainable) is None
    assert {name for name, network in STORED.items() if network.exact is not None} == REFERENCE.keys()


def test_a_row_that_is_off_is_said(darknets):
    off = replace(darknets[0], total=1, exact=False)
    assert table.verdict(darknets, ['darknet53', 'cspdarknet53']) == (True, '2 of 2 reference rows exact')
    assert table.verdict([off, *darknets[1:]], ['darknet53', 'cspdarknet53']) == (
        False, '1 of 2 reference rows exact; not: darknet53'
    )  # fmt: skip
    assert '✗' in table.as_text([off]) and '✓' not in table.as_text([off])
    assert '**0 of 1 reference rows exact' in table.as_markdown([off])


def test_the_row_that_is_inception_v4_says_so():
    """Its numbers are Inception-v4's, and every format of the table says so in words."""
    row, inceptionv4 = STORED['inception-resnet'], STORED['inceptionv4']
    assert replace(row, name='inceptionv4', exact=True) == inceptionv4
    for text in (table.as_text([row]), table.as_markdown([row])):
        assert 'inception-resnet has the graph of Inception-v4' in ' '.join(text.split())


def test_order(darknets):
    names = lambda column: [network.name for network in table.ordered(darknets, column)]  # noqa: E731
    assert names('name') == ['cspdarknet53', 'cspdarknet53-focus', 'darknet53']
    assert names('total') == ['darknet53', 'cspdarknet53', 'cspdarknet53-focus']
    assert names('size') == ['cspdarknet53-focus', 'cspdarknet53', 'darknet53']
    assert sorted(['resnet101', 'resnet50', 'resnet50-tv'], key=table.natural) == [
        'resnet50', 'resnet50-tv', 'resnet101'
    ]  # fmt: skip


def test_json_holds_all_numbers(darknets):
    (row,) = json.loads(table.as_json(darknets[:1]))
    assert row['total'] == 40_620_640 and row['channels'] == [128, 256, 512, 1024] and row['exact'] is True


def test_markdown_folds_away_what_is_not_in_the_reference_table(darknets):
    other = replace(darknets[0], name='darknet53-mine', exact=None)
    text = table.as_markdown([*darknets, other])
    head, _, folded = text.partition('<details><summary>1 more networks</summary>')
    assert '| `darknet53` | 416 | 40,620,640 | 40,584,928 | ✓ | 24.52 G |' in head
    assert '`darknet53-mine`' not in head and '`darknet53-mine`' in folded
