"""mmcnn zoo on the command line."""

import json
import re
from dataclasses import replace

import pytest
from PIL import Image

from mmcnn.errors import UsageError
from mmcnn.zoo import measure
from mmcnn.zoo.reference_table import REFERENCE


def test_whole_table_is_read_and_not_counted(run_command, monkeypatch):
    monkeypatch.setattr(measure, 'describe', None)
    result = run_command('zoo')
    assert result.code == 0
    assert result.out.splitlines()[-1] == '35 of 35 reference rows exact'
    assert sum('✓' in line for line in result.out.splitlines()) == 35
    assert len(re.findall(r'^[a-z0-9-]+ +\d{3} +[\d,]+ ', result.out, flags=re.MULTILINE)) == 105


def test_table_of_some(run_command, tmp_path):
    result = run_command('zoo', '--filter', '*darknet53', '--sort', 'total', '--plot', tmp_path / 'zoo.png')
    assert result.code == 0
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[-3:-1]] == ['darknet53', 'cspdarknet53']
    assert re.search(r'^darknet53 +416 +40,620,640 +40,584,928  ✓ +24\.52', lines[-3])
    assert lines[-1] == '2 of 2 reference rows exact'
    assert Image.open(tmp_path / 'zoo.png').width == 900


@pytest.mark.parametrize('size', [[], ['--img-size', 416]], ids=['stored', 'counted'])
def test_a_row_that_is_off_is_exit_code_1(run_command, monkeypatch, size):
    monkeypatch.setitem(REFERENCE, 'darknet53', replace(REFERENCE['darknet53'], trainable=1))
    result = run_command('zoo', '--filter', '*darknet53', *size)
    assert result.code == 1
    assert result.out.splitlines()[-1] == '1 of 2 reference rows exact; not: darknet53'
    assert re.search(r'^darknet53 .*✗', result.out, flags=re.MULTILINE)


def test_json_alone_is_on_stdout(run_command):
    result = run_command('zoo', '--filter', 'darknet53', '--json', '--img-size', 64)
    (row,) = json.loads(result.out)
    assert (row['name'], row['size']) == ('darknet53', 64)
    (stored,) = json.loads(run_command('zoo', '--filter', 'darknet53', '--json').out)
    assert stored.keys() == row.keys()
    # There are only convolutions, so costs are proportional to the number of pixels.
    assert stored['multiply_adds'] * 64**2 == row['multiply_adds'] * 416**2


def test_show(run_command):
    result = run_command('zoo', 'show', 'cspdarknet53-focus')
    assert result.code == 0
    assert re.search(r'^stem +1 +2  64 x 304 x 304 +7,232 +7,104 ', result.out, flags=re.MULTILINE)
    assert re.search(r'^all +26,633,792 +26,599,872 ', result.out, flags=re.MULTILINE)


def test_costs(run_command):
    assert '| DenseNet-40 | 3.68 M |' in run_command('zoo', 'costs').out


def test_matrix(run_command):
    result = run_command('zoo', '--matrix', '--filter', '*fpn')
    assert result.code == 0, result.err
    assert [re.split(r' {2,}', line) for line in result.out.splitlines()] == [
        ['network', 'YOLOv3', 'YOLOv4', 'YOLOv5', 'Faster R-CNN'],
        ['fpn', *['no level 5'] * 4],
        ['resnet-fpn', *['✓'] * 4],
        ['4 of 8 pairs build, 4 refused for want of a level'],
    ]


def test_matrix_ends_with_exit_code_1_if_a_pair_fails(run_command):
    result = run_command('zoo', '--matrix', '--filter', 'vgg11', '--img-size', 600)
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[1].split() == ['vgg11', '✗', '✗', '✗', '✓']
    assert lines[3].startswith('vgg11 in YOLOv4: a map of (38, 38) cannot be upsampled to one of (75, 75)')
    assert lines[-1] == '1 of 4 pairs build, 0 refused for want of a level, 3 fail'


@pytest.mark.slow
def test_matrix_of_mmdetections_configs(run_command, tmp_path):
    page, kept = tmp_path / 'page.md', tmp_path / 'kept.json'
    page.write_text('<!-- matrix -->\n<!-- end of matrix -->\n')
    options = ['zoo', 'matrix', '--detectors', 'mmdet', '--until', 'build', '--results', kept, '--into', page]
    result = run_command(*options, '--configs', 'retinanet/*')
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == '1 of 1 pairs build, 0 are refused before the first step'
    result = run_command(*options, '--configs', '[rl]*/[rl]*_r[51]*')  # RetinaNet's result is in the file and reused
    assert result.code == 0, result.err
    assert '✗ ld/ld_r18-gflv1-r101_fpn_1x_coco with mobilenetv2: refused: Knowledge' in result.out
    text = page.read_text()
    assert '| `retinanet/retinanet_r50_fpn_1x_coco` | ✓ |' in text
    assert '| `ld/ld_r18-gflv1-r101_fpn_1x_coco` | refused |' in text and "learns from a teacher's file" in text


def test_into_a_file(run_command, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- zoo -->\nyesterday\n<!-- end of zoo -->\nafter\n')
    assert run_command('zoo', '--filter', 'darknet53', '--into', page).code == 0
    once = page.read_text()
    assert once.startswith('before\n<!-- zoo -->\n\n') and once.endswith('\n\n<!-- end of zoo -->\nafter\n')
    assert '| `darknet53` | 416 | 40,620,640 |' in once and 'yesterday' not in once
    assert run_command('zoo', '--filter', 'darknet53', '--into', page).code == 0
    assert page.read_text() == once


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['show', 'darknet35'], r"no network is called 'darknet35'; did you mean darknet53"),
        (['show'], r'show needs the name of a network: mmcnn zoo show NAME'),
        (['--filter', 'darknet35'], r"--filter 'darknet35' matches no network; did you mean darknet53"),
        (
            ['--filter', 'darknet35', '--img-size', 64],
            r"--filter 'darknet35' matches no network; did you mean darknet53",
        ),
        (['--filter', 'darknet53', '--sort', 'totl'], r"--sort 'totl': did you mean total\?"),
        (['--filter', 'darknet53', '--into', 'nowhere.md'], r'nowhere\.md is not a file with the marks <!-- zoo -->'),
        (['table', 'darknet53'], r"'darknet53': only show takes a name; use mmcnn zoo show darknet53, or --filter"),
        (['show', 'darknet53', '--markdown'], r'--markdown cannot be combined with show'),
        (['costs', '--filter', 'darknet53'], r'--filter cannot be combined with costs'),
        (['--filter', 'darknet53', '--plot', '.'], r'--plot .\..: name a PNG file'),
        (['--filter', 'inceptionv3', '--img-size', '64'], r'--img-size 64: too small for a network \('),
        (['show', 'inceptionv3', '--img-size', '64'], r'--img-size 64: too small for a network \('),
        (['--matrix', '--sort', 'total'], r'--sort cannot be combined with matrix'),
        (['show', '--matrix'], r'--matrix cannot be combined with show'),
        (['--matrix', '--filter', 'darknet35'], r"--filter 'darknet35' matches no network; did you mean darknet53"),
        (['matrix', '--configs', 'detr/*'], r'--configs cannot be combined with matrix'),
        (
            ['matrix', '--detectors', 'mmdet', '--img-size', '64'],
            r'--img-size cannot be combined with matrix --detectors mmdet',
        ),
        (['matrix', '--detectors', 'mmdet', '--configs', 'detr'], r"--configs 'detr' matches no config; did you mean"),
        (['matrix', '--detectors', 'mmdet', '--jobs', '0'], r'--jobs 0: the value must be at least 1'),
        (['--detectors', 'mmdet'], r'--detectors cannot be combined with table'),
        (['--img-size', '0'], r'--img-size 0: the value must be at least 32'),
    ],
    ids=lambda value: ' '.join(map(str, value)) if isinstance(value, list) else '',
)
def test_errors(run_command, args, message, tmp_path):
    with pytest.raises(UsageError, match=rf'^{message}[^\n]*$'):
        run_command('zoo', *args, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_loads_nothing_heavy(loaded_by):
    loaded = loaded_by('zoo')
    assert 'mmcnn' in loaded and not loaded & {'torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'matplotlib', 'cv2'}
