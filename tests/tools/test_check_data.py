"""tools/check_data.py on the command line."""

import json
import shutil

import pytest
from PIL import Image

from mmcnn.inference.detector import read_image


@pytest.fixture
def copy(shapes, tmp_path):
    """A copy of the shapes data."""
    shutil.copytree(shapes, tmp_path / 'data')
    return tmp_path / 'data'


def test_sound_data(run_tool, shapes, tmp_path):
    result = run_tool('check_data', shapes, '--img-size', 64, '--out', tmp_path / 'sub' / 'a.png')
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith(f'{shapes}: train.json: 8 images, ')
    assert lines[1] == 'no faults'
    assert lines[2].startswith('best possible recall of the anchors of yolov5_s at 64 px: ')
    assert lines[3:] == [f'figure: {tmp_path}/sub/a.png']
    assert read_image(tmp_path / 'sub' / 'a.png').std() > 10


def test_errors(run_tool, copy, tmp_path):
    coco = json.loads((copy / 'train.json').read_text())
    for annotation in coco['annotations'][:7]:
        annotation['bbox'][2] = 0
    (copy / 'train.json').write_text(json.dumps(coco))
    result = run_tool('check_data', copy, '--config', 'yolov4_cspdarknet53', '--plot', 'check_data.png', cwd=tmp_path)
    assert result.code == 1
    assert 'error: box of zero area (7)\n  train.json: annotation 1 has bbox ' in result.out
    assert '  and 2 more\n' in result.out
    assert (tmp_path / 'check_data.png').is_file()
    result = run_tool('check_data', copy, '--show', 7, cwd=tmp_path)
    assert result.out.count('without area') == 7
    assert 'more' not in result.out
    assert [path.name for path in tmp_path.iterdir() if path.suffix == '.png'] == ['check_data.png']  # only on request


def test_what_has_no_picture(run_tool, copy, tmp_path):
    coco = json.loads((copy / 'val.json').read_text())
    (copy / 'val.json').write_text(json.dumps({**coco, 'images': [], 'annotations': []}))
    result = run_tool('check_data', copy, '--plot', 'check_data.png', cwd=tmp_path)
    assert result.code == 1
    assert result.out.endswith('error: no images (1)\n  val.json: has no images\n')
    assert not (tmp_path / 'check_data.png').exists()


def test_warnings_are_no_errors(run_tool, copy, tmp_path):
    for name in ('train', 'val'):
        coco = json.loads((copy / f'{name}.json').read_text())
        coco['categories'].append(dict(id=99, name='細胞 $x'))
        (copy / f'{name}.json').write_text(json.dumps(coco))
    result = run_tool(
        'check_data', copy, '--config', 'faster_rcnn_fpn', '--plot', 'a.png', cwd=tmp_path
    )  # it has no fixed anchors
    assert result.code == 0
    assert 'warning: class without a box (2)' in result.out
    assert 'recall' not in result.out


def test_what_cannot_be_drawn_is_said_before_the_report(run_tool, shapes, shape_classes, tmp_path):
    copy = tmp_path / 'data'
    shutil.copytree(shapes, copy)
    coco = json.loads((copy / 'train.json').read_bytes())
    for annotation in coco['annotations']:
        annotation['iscrowd'] = 1
    (copy / 'train.json').write_text(json.dumps(coco))
    for folder, last in ((copy, 'iscrowd must be 0 for a box of a single object'), (shape_classes, 'no faults')):
        result = run_tool('check_data', folder, '--plot', 'a.png', cwd=tmp_path)
        lines = result.out.splitlines()
        assert (result.code, result.err) == (1, '')
        assert lines[0] == '--plot a.png: no figure was drawn, because no boxes can be read'
        assert lines[-1].endswith(last)
        assert not (tmp_path / 'a.png').exists()


def test_refusals(run_tool, shapes, tmp_path):
    (tmp_path / 'photo.jpg').write_bytes(b'a photograph')
    for args, message in (
        ((tmp_path / 'gone',), r'gone does not exist; a data folder has'),
        ((tmp_path, '--img-size', 0), 'img_size=0'),
        ((shapes, '--plot', 'a.png', '--config', 'yolov5_t'), "no config file 'yolov5_t'"),
        ((shapes, '--plot', '.'), "--plot '.': name a PNG file, such as ./figure.png"),
        ((shapes, '--plot', ''), "--plot '': name a PNG file, such as figure.png"),
        ((shapes, '--plot', 'photo.jpg'), '--plot photo.jpg: the figure is a PNG; name a file that ends in .png'),
        ((shapes, '--plot', 'photo.jpg/a.png'), 'cannot write the figure photo.jpg/a.png: File exists'),
    ):
        result = run_tool('check_data', *args, cwd=tmp_path)
        assert result.code == 1
        assert result.err.startswith('error: ')
        assert message in result.err
    assert (tmp_path / 'photo.jpg').read_bytes() == b'a photograph'


def test_a_classifier_s_folder(run_tool, shape_classes, tmp_path):
    result = run_tool('check_data', shape_classes)
    assert (result.code, result.out) == (
        0,
        f'{shape_classes}: train: 24 images; val: 12 images; 3 classes\nno faults\n',
    )
    shutil.copytree(shape_classes, tmp_path / 'data')
    Image.new('RGB', (9, 9)).save(tmp_path / 'data' / 'val' / 'square' / 'a.png')
    (tmp_path / 'data' / 'val' / 'square' / 'b.png').write_text('text')
    result = run_tool('check_data', tmp_path / 'data')
    assert result.code == 1
    assert 'val/square/b.png: is not an image' in result.out
