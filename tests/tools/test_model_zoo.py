"""tools/model_zoo.py as its command line is used."""

import json
import re

import pytest
from PIL import Image


def test_table_of_some(run_tool, tmp_path):
    result = run_tool('model_zoo', '--filter', '*darknet53', '--sort', 'total', '--plot', tmp_path / 'zoo.png')
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[-3:-1]] == ['darknet53', 'cspdarknet53']
    assert re.search(r'^darknet53 +416 +40,620,640 +40,584,928  ✓ +24\.52', lines[-3])
    assert lines[-1] == '2 of 2 reference rows exact'
    assert Image.open(tmp_path / 'zoo.png').width == 900


def test_a_row_that_is_off_is_exit_code_1(run_tool, monkeypatch):
    from dataclasses import replace

    from mmcnn.models.reference_table import REFERENCE

    monkeypatch.setitem(REFERENCE, 'darknet53', replace(REFERENCE['darknet53'], trainable=1))
    result = run_tool('model_zoo', '--filter', '*darknet53')
    assert result.code == 1
    assert result.out.splitlines()[-1] == '1 of 2 reference rows exact; not: darknet53'
    assert re.search(r'^darknet53 .*✗', result.out, flags=re.MULTILINE)


def test_json_alone_is_on_stdout(run_tool):
    result = run_tool('model_zoo', '--filter', 'darknet53', '--json', '--img-size', 64)
    (row,) = json.loads(result.out)
    assert (row['name'], row['size']) == ('darknet53', 64)


def test_show(run_tool):
    result = run_tool('model_zoo', 'show', 'cspdarknet53-focus')
    assert result.code == 0
    assert re.search(r'^stem +1 +2  64 x 304 x 304 +7,232 +7,104 ', result.out, flags=re.MULTILINE)
    assert re.search(r'^all +26,633,792 +26,599,872 ', result.out, flags=re.MULTILINE)


def test_costs(run_tool):
    assert '| DenseNet-40 | 3.68 M |' in run_tool('model_zoo', 'costs').out


def test_matrix(run_tool):
    result = run_tool('model_zoo', '--matrix', '--filter', '*fpn')
    assert result.code == 0, result.err
    assert [re.split(r' {2,}', line) for line in result.out.splitlines()] == [
        ['network', 'YOLOv3', 'YOLOv4', 'YOLOv5', 'Faster R-CNN'],
        ['fpn', *['no level 5'] * 4],
        ['resnet-fpn', *['✓'] * 4],
        ['4 of 8 pairs build, 4 refused for want of a level'],
    ]


def test_matrix_ends_with_exit_code_1_if_a_pair_fails(run_tool):
    result = run_tool('model_zoo', '--matrix', '--filter', 'vgg11', '--img-size', 600)
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[1].split() == ['vgg11', '✗', '✗', '✗', '✓']
    assert lines[3].startswith('vgg11 in YOLOv4: a map of (38, 38) cannot be doubled onto one of (75, 75)')
    assert lines[-1] == '1 of 4 pairs build, 0 refused for want of a level, 3 fail'


def test_into_a_file(run_tool, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- zoo -->\nyesterday\n<!-- end of zoo -->\nafter\n')
    assert run_tool('model_zoo', '--filter', 'darknet53', '--into', page).code == 0
    once = page.read_text()
    assert once.startswith('before\n<!-- zoo -->\n\n') and once.endswith('\n\n<!-- end of zoo -->\nafter\n')
    assert '| `darknet53` | 416 | 40,620,640 |' in once and 'yesterday' not in once
    assert run_tool('model_zoo', '--filter', 'darknet53', '--into', page).code == 0
    assert page.read_text() == once


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['show', 'darknet35'], r"no network is called 'darknet35'; did you mean darknet53"),
        (['show'], r'show needs the name of a network'),
        (['--filter', 'darknet35'], r"--filter 'darknet35' fits no network; did you mean darknet53"),
        (['--filter', 'darknet53', '--sort', 'totl'], r"--sort 'totl': did you mean total\?"),
        (['--filter', 'darknet53', '--into', 'nowhere.md'], r'nowhere\.md is no file with the marks <!-- zoo -->'),
        (['table', 'darknet53'], r"'darknet53': only show takes a name; tools/model_zoo\.py show darknet53"),
        (['show', 'darknet53', '--markdown'], r'--markdown does not go with show'),
        (['costs', '--filter', 'darknet53'], r'--filter does not go with costs'),
        (['--filter', 'darknet53', '--plot', '.'], r'--plot \. is a folder: name a file'),
        (['--filter', 'inceptionv3', '--img-size', '64'], r'--img-size 64: too small for a network \('),
        (['show', 'inceptionv3', '--img-size', '64'], r'--img-size 64: too small for a network \('),
        (['--matrix', '--sort', 'total'], r'--sort does not go with --matrix'),
        (['--matrix', '--filter', 'darknet35'], r"--filter 'darknet35' fits no network; did you mean darknet53"),
        (['--img-size', '0'], r'--img-size 0: it has to be at least 32'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_errors(run_tool, args, message, tmp_path):
    result = run_tool('model_zoo', *args, cwd=tmp_path)
    assert result.code == 1
    assert re.match(f'error: {message}', result.err), result.err
    assert len(result.err.splitlines()) == 1
