"""The numbers of the table of networks, counted and compared with the stored ones."""

import re

import pytest

import mmcnn
from mmcnn.zoo import measure, table
from mmcnn.zoo.reference_table import REFERENCE

STORED = {network.name: network for network in table.load()}
NAMES = mmcnn.list_backbones()


@pytest.mark.parametrize('name', REFERENCE)
def test_reference_row_is_exact_and_stored(name):
    network = measure.describe(name)
    assert (network.total, network.trainable) == (REFERENCE[name].total, REFERENCE[name].trainable)
    assert network.exact
    assert network == STORED.get(name), 'run make table'


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in NAMES if name not in REFERENCE])
def test_row_is_stored(name):
    assert measure.describe(name) == STORED.get(name), 'run make table'


def test_what_is_written_is_read(tmp_path):
    networks = [measure.describe('darknet53', 64), measure.describe('resnet18', 32)]
    path = tmp_path / 'table.json'
    measure.write_table(networks[::-1], path)
    assert table.load(path) == networks
    assert [line[:12] for line in path.read_text().splitlines()] == ['[', '{"name": "da', '{"name": "re', ']']


def test_line_of_a_network():
    network = measure.describe('darknet53')
    assert (network.name, network.family, network.classifier, network.size) == ('darknet53', 'Darknet', False, 416)
    assert (network.levels, network.channels, network.strides) == (
        (0, 1, 2, 3, 4, 5), (128, 256, 512, 1024), (4, 8, 16, 32)
    )  # fmt: skip
    # It has convolutions only, so twice the side takes four times the multiply-adds.
    assert measure.describe('darknet53', 832).multiply_adds == 4 * network.multiply_adds


def test_stages_of_a_network():
    lines = measure.stage_lines('darknet53')
    assert [(line.part.name, line.stride) for line in lines] == [
        ('stem', 1), ('stage1', 2), ('stage2', 4), ('stage3', 8), ('stage4', 16), ('stage5', 32), ('all', None)
    ]  # fmt: skip
    *stages, whole = [line.part for line in lines]
    assert stages[-1].shapes == ((1, 1024, 13, 13),)
    assert stages[0].cost.multiply_adds == 416 * 416 * 32 * 27
    assert sum(part.trainable for part in stages) == whole.trainable == 40_584_928
    assert sum(part.cost.multiply_adds for part in stages) == whole.cost.multiply_adds
    text = measure.stages_as_text(lines).splitlines()
    assert re.fullmatch(r'stage5 +5 +32  1024 x 13 x 13 +[\d,]+ +25,704,448 +[\d,.]+ +[\d,.]+', text[-2])


def test_top_of_a_classifier_is_shown(monkeypatch):
    monkeypatch.delitem(REFERENCE, 'darknet53')  # so that Darknet-53 is measured as a classifier
    parts = {line.part.name: line.part for line in measure.stage_lines('darknet53', 256)}
    assert parts['top.classes'].total == 1024 * 1000 + 1000
    assert parts['top.classes'].cost.multiply_adds == 1024 * 1000
    assert parts['all'].trainable == 40_584_928 + 1_025_000
    assert measure.describe('darknet53').exact is None
