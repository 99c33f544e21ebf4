"""tools/anchors.py on the command line."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from mmcnn.config.files import config_folder
from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.datasets.anchors import anchors_of
from mmcnn.runs.results import TrainResult


@pytest.fixture(scope='module')
def boxes(tmp_path_factory):
    """Create a data folder with one image of 640 x 320 pixels and boxes of the given sizes."""

    def make(sizes, copies=1):
        root = tmp_path_factory.mktemp('boxes')
        (root / 'images').mkdir()
        coco = dict(
            images=[dict(id=1, file_name='train.png', width=640, height=320)],
            categories=[dict(id=1, name='thing')],
            annotations=[
                dict(id=i, image_id=1, category_id=1, bbox=[0, 0, w, h], area=w * h, iscrowd=0)
                for i, (w, h) in enumerate(sizes * copies, start=1)
            ],
        )
        for name, colour in (('train', 'black'), ('val', 'white')):
            Image.new('RGB', (640, 320), colour).save(root / 'images' / f'{name}.png')
            coco['images'][0]['file_name'] = f'{name}.png'
            (root / f'{name}.json').write_text(json.dumps(coco))
        return root

    return make


#: Boxes 24 to 32 times as wide as high. An anchor matches up to a factor of 4 on each side, so YOLOv5's, at most
#: 1.4 times as wide as high (62 x 45), match nothing beyond 22.1.
WIDE = [(96, 4), (120, 4), (150, 5), (180, 6), (240, 8), (320, 10), (400, 13), (500, 16), (600, 20)]
SQUARE = [(60, 60)]


def proposed(out):
    """Return the printed entry, parsed as a config would."""
    text = re.search(r'^(anchors|base_sizes)=\[\n(    \[.*\],\n)+\]$', out, re.MULTILINE).group()
    return eval(f'dict({text})')


def test_recalls_and_anchors_that_fit(run_tool, boxes):
    data = boxes([*WIDE, *SQUARE])
    result = run_tool('anchors', '--data', data, '--generations', 100)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == f'10 boxes in {data} at 640 px'
    assert lines[1] == 'yolov5_s: best possible recall 0.1000'
    assert re.fullmatch(r'proposed:  best possible recall (0\.9|1\.0)000', lines[2])
    (anchors,) = proposed(result.out).values()
    assert [len(level) for level in anchors] == [3, 3, 3]
    areas = [w * h for level in anchors for w, h in level]
    assert areas == sorted(areas)
    assert sum(w > 20 * h for level in anchors for w, h in level) >= 8


def test_sizes_follow_the_network_s_input(run_tool, boxes):
    data = boxes(SQUARE, 20)  # 15 px at 160
    options = ['--data', data, '--config', 'yolov4_cspdarknet53']
    error = run_tool('anchors', *options, '--img-size', 160).err
    assert error == 'error: 9 anchors need at least 9 boxes of different sizes, but the 20 boxes have only 1\n'
    shapes = boxes([(16 * i, 16 * i) for i in range(1, 21)])
    result = run_tool('anchors', '--data', shapes, '--img-size', 320, '--generations', 0)
    (anchors,) = proposed(result.out).values()
    assert max(w for level in anchors for w, h in level) <= 160


@pytest.mark.parametrize(
    ('config', 'key'),
    [('yolov4_cspdarknet53', 'model.bbox_head.anchors'), ('yolov3_darknet53', 'model.bbox_head.anchor_generator')],
)
def test_what_is_printed_takes_the_place_of_the_config_s(run_tool, boxes, config, key, tmp_path):
    data = boxes([*WIDE, *SQUARE])
    result = run_tool('anchors', '--data', data, '--config', config, '--generations', 50)
    assert result.code == 0, result.err
    entry = proposed(result.out)
    part = dict(anchor_generator=entry) if 'base_sizes' in entry else entry
    path = tmp_path / 'mine.py'
    base = config_folder() / f'{config}.py'
    path.write_text(f'_base_ = [{str(base)!r}]\nmodel = dict(bbox_head=dict(**{part!r}))\n')
    cfg = load_config(str(path))
    wire_model(cfg)
    # The printed order is finest level first unless the head expects coarse to fine.
    (written,) = entry.values()
    areas = [sum(w * h for w, h in level) for level in written]
    present = next(iter(load_config(config).model.bbox_head.get('anchors') or [None]))
    assert areas == sorted(areas, reverse=present is None)
    again = run_tool('anchors', '--data', data, '--config', path, '--generations', 0).out.splitlines()[1]
    assert again.split()[-1] == result.out.splitlines()[2].split()[-1]  # the printed recall holds
    assert [list(map(tuple, level)) for level in anchors_of(cfg.model)] == sorted(written, key=lambda level: level[0])


def test_seed_decides(run_tool, boxes):
    data = boxes([(10 + 7 * i % 90, 10 + 11 * i % 80) for i in range(80)])
    first, same, other = (
        run_tool('anchors', '--data', data, '--generations', 20, '--seed', seed).out for seed in (0, 0, 1)
    )
    assert first == same != other


def test_config_s_own_data(run_tool, boxes, tmp_path):
    data = boxes([*WIDE, *SQUARE])
    (tmp_path / 'data' / 'coco' / 'annotations').mkdir(parents=True)
    for name in ('train', 'val'):
        (tmp_path / 'data' / 'coco' / f'{name}2017').mkdir()
        (tmp_path / 'data' / 'coco' / 'annotations' / f'instances_{name}2017.json').write_bytes(
            (data / f'{name}.json').read_bytes()
        )
    result = run_tool('anchors', '--generations', 0, cwd=tmp_path)
    assert result.code == 0, result.err
    assert result.out.startswith('10 boxes in data/coco/ at 640 px\nyolov5_s: best possible recall 0.1000\n')


def test_refusals(run_tool, boxes, tmp_path):
    data = boxes(WIDE[:3], 10)
    for args, message in (
        (['--data', data, '--config', 'faster_rcnn_fpn'], 'faster_rcnn_fpn has no anchors with fixed sizes'),
        (['--data', data], '9 anchors need at least 9 boxes of different sizes, but the 30 boxes have only 3'),
        (['--data', tmp_path / 'nowhere'], 'nowhere does not exist'),
        ([], 'the data of'),
        (['--data', data, '--img-size', 0], 'img_size=0: the value must be at least 1'),
        (['--data', data, '--config', 'yolov5_t'], "there is no config file 'yolov5_t'"),
    ):
        result = run_tool('anchors', *args, cwd=tmp_path)
        assert result.code == 1
        (line,) = result.err.splitlines()
        assert line.startswith('error: ')
        assert message in line


# ----------------------------------------------------------------------------------- warning at the start of a training


def test_training_warns_of_anchors_that_do_not_fit(run_tool, boxes, monkeypatch, tmp_path):
    def train(cfg, *args, notes, **kwargs):
        print(*notes, sep='\n')
        return TrainResult(Path(cfg.work_dir))

    monkeypatch.setattr('mmcnn.runs.execution.train', train)
    data = boxes([*WIDE, *SQUARE])
    options = ['--img-size', 320, '--device', 'cpu']
    result = run_tool('train', 'yolov5_s', '--data', data, *options, cwd=tmp_path)
    assert result.code == 0, result.err
    (line,) = [line for line in result.out.splitlines() if line.startswith('warning: ')]
    pattern = r'.* best possible recall .* is 0\.1000; to compute anchors that fit better: mmcnn (\w+) (.*)'
    tool, args = re.fullmatch(pattern, line).groups()
    # The printed command works and gives the same recall.
    again = run_tool(tool, *args.split(), '--generations', 0)
    assert again.code == 0, again.err
    assert again.out.startswith(f'10 boxes in {data} at 320 px\n')
    assert 'best possible recall 0.1000' in again.out
    fits = run_tool('train', 'yolov5_s', '--data', boxes(SQUARE, 3), *options, cwd=tmp_path)
    assert fits.code == 0, fits.err
    assert 'warning: ' not in fits.out
