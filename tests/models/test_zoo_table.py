"""The table of networks: its numbers, its forms, and that the README's copy is current."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import mmcnn
from mmcnn.models import zoo_table
from mmcnn.models.reference_table import REFERENCE

README = Path(__file__).resolve().parents[2] / 'README.md'
NAMES = mmcnn.list_backbones()


@pytest.fixture(scope='module')
def darknets():
    return [zoo_table.describe(name) for name in ('darknet53', 'cspdarknet53', 'cspdarknet53-focus')]


def readme_lines():
    """The README's table: name to its line."""
    block = README.read_text(encoding='utf-8').partition('<!-- zoo -->')[2].partition('<!-- end of zoo -->')[0]
    return {m[1]: m[0] for m in re.finditer(r'^\| `([^`]+)` \|.*$', block, flags=re.MULTILINE)}


def test_reference_table_is_whole():
    assert len(REFERENCE) == 35
    assert sum(row.classifier for row in REFERENCE.values()) == 30
    assert sum(row.outside for row in REFERENCE.values()) == 8 * 7


@pytest.mark.parametrize('name', REFERENCE)
def test_reference_row_is_exact_and_the_readme_is_current(name):
    network = zoo_table.describe(name)
    assert (network.total, network.trainable) == (REFERENCE[name].total, REFERENCE[name].trainable)
    assert network.exact
    assert zoo_table.markdown_line(network) == readme_lines().get(name), 'run make table'


def test_readme_lists_every_network():
    assert sorted(readme_lines()) == NAMES, 'run make table'


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in NAMES if name not in REFERENCE])
def test_readme_is_current(name):
    assert zoo_table.markdown_line(zoo_table.describe(name)) == readme_lines().get(name), 'run make table'


def test_line_of_a_network(darknets):
    network = darknets[0]
    assert (network.name, network.family, network.classifier, network.size) == ('darknet53', 'Darknet', False, 416)
    assert (network.levels, network.channels, network.strides) == (
        (0, 1, 2, 3, 4, 5), (128, 256, 512, 1024), (4, 8, 16, 32)
    )  # fmt: skip
    # Convolutions only, so the costs follow the pixels: of 13 x 13 to 26 x 26 four times.
    assert zoo_table.describe('darknet53', 832).multiply_adds == 4 * network.multiply_adds


def test_a_row_that_is_off_is_said(darknets):
    off = replace(darknets[0], total=1, exact=False)
    assert zoo_table.verdict(darknets, ['darknet53', 'cspdarknet53']) == (True, '2 of 2 reference rows exact')
    assert zoo_table.verdict([off, *darknets[1:]], ['darknet53', 'cspdarknet53']) == (
        False, '1 of 2 reference rows exact; not: darknet53'
    )  # fmt: skip
    assert '✗' in zoo_table.as_text([off]) and '✓' not in zoo_table.as_text([off])
    assert '**0 of 1 reference rows exact' in zoo_table.as_markdown([off])


def test_order(darknets):
    names = lambda column: [network.name for network in zoo_table.ordered(darknets, column)]  # noqa: E731
    assert names('name') == ['cspdarknet53', 'cspdarknet53-focus', 'darknet53']
    assert names('total') == ['darknet53', 'cspdarknet53', 'cspdarknet53-focus']
    assert names('size') == ['cspdarknet53-focus', 'cspdarknet53', 'darknet53']
    assert sorted(['resnet101', 'resnet50', 'resnet50-tv'], key=zoo_table.natural) == [
        'resnet50', 'resnet50-tv', 'resnet101'
    ]  # fmt: skip


def test_stages_of_a_network():
    lines = zoo_table.stage_lines('darknet53')
    assert [(line.part.name, line.stride) for line in lines] == [
        ('stem', 1), ('stage1', 2), ('stage2', 4), ('stage3', 8), ('stage4', 16), ('stage5', 32), ('all', None)
    ]  # fmt: skip
    *stages, whole = [line.part for line in lines]
    assert stages[-1].shapes == ((1, 1024, 13, 13),)
    assert stages[0].cost.multiply_adds == 416 * 416 * 32 * 27
    assert sum(part.trainable for part in stages) == whole.trainable == 40_584_928
    assert sum(part.cost.multiply_adds for part in stages) == whole.cost.multiply_adds
    text = zoo_table.stages_as_text(lines).splitlines()
    assert re.fullmatch(r'stage5 +5 +32  1024 x 13 x 13 +[\d,]+ +25,704,448 +[\d,.]+ +[\d,.]+', text[-2])


def test_top_of_a_classifier_is_shown(monkeypatch):
    monkeypatch.setattr(zoo_table, 'REFERENCE', {})  # so that Darknet-53 counts as the classifier that it is
    parts = {line.part.name: line.part for line in zoo_table.stage_lines('darknet53', 256)}
    assert parts['top.classes'].total == 1024 * 1000 + 1000
    assert parts['top.classes'].cost.multiply_adds == 1024 * 1000
    assert parts['all'].trainable == 40_584_928 + 1_025_000
    assert zoo_table.describe('darknet53').exact is None


def test_json_holds_all_numbers(darknets):
    (row,) = json.loads(zoo_table.as_json(darknets[:1]))
    assert row['total'] == 40_620_640 and row['channels'] == [128, 256, 512, 1024] and row['exact'] is True


def test_markdown_folds_away_what_is_not_in_the_reference_table(darknets):
    other = replace(darknets[0], name='darknet53-mine', exact=None)
    text = zoo_table.as_markdown([*darknets, other])
    head, _, folded = text.partition('<details><summary>1 more networks</summary>')
    assert '| `darknet53` | 416 | 40,620,640 | 40,584,928 | ✓ | 24.52 G |' in head
    assert '`darknet53-mine`' not in head and '`darknet53-mine`' in folded
