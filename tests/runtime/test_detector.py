"""The runner of exported files: it finds drawn objects, and refuses unreadable files in one sentence."""

import json
import subprocess
import sys
import warnings

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image

import mmcnn
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runtime import Detector

RED, GREEN = (0, 0, 255), (0, 255, 0)
#: The box of a red cell in the upper row, second column, clipped to an image of 96 x 64.
RED_BOX = [16, 0, 64, 32]


@pytest.fixture
def image(exported):
    return exported.cells((0, 1, RED))


def listed(found):
    boxes = found.boxes.round(3).tolist()
    return list(zip(found.names, boxes, found.scores.astype(float).round(4).tolist(), strict=True))


@pytest.mark.parametrize(
    'of',
    [
        {},
        dict(dtype='uint8', layout='NHWC'),
        dict(batch=1),
        dict(batch=3),
        dict(channel_order='rgb'),
        dict(channel_order='rgb', normalised=True, mean=(0.0,) * 3, std=(255.0,) * 3),
    ],
)
def test_inputs(of, exported, image):
    detector = Detector(exported(input=of))
    assert listed(detector(image)) == [('red', RED_BOX, 1)]
    green = exported.cells((1, 2, GREEN))
    found = detector([image, green, image, np.zeros_like(image)])
    assert [each.names for each in found] == [['red'], ['green'], ['red'], []]
    assert listed(found[1]) == [('green', [48, 16, 96, 64], 1)]


def test_every_form_of_image(exported, image, tmp_path):
    detector = Detector(exported())
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    from_file = detector(tmp_path / 'a.png')
    assert (listed(from_file), from_file.path) == ([('red', RED_BOX, 1)], tmp_path / 'a.png')
    for each in (str(tmp_path / 'a.png'), (tmp_path / 'a.png').read_bytes(), Image.fromarray(image[..., ::-1])):
        assert listed(detector(each)) == listed(from_file)
    assert [frame.found.names for frame in detector.stream(tmp_path / 'a.png')] == [['red']]
    assert detector.batch([]) == []


def test_boxes_come_back_from_the_canvas(exported):
    """The image has twice the input's scale; on the canvas, half a column of padding remains on either side."""
    image = exported.cells((0, 0, RED), shape=(2, 2), side=64)
    found = Detector(exported())(image)
    # On the canvas, the red cell covers x from 16 to 48, half of each of two cells, whose boxes end at 32 and 64.
    assert listed(found) == [('red', [0, 0, 32, 64], 0.5), ('red', [0, 0, 96, 64], 0.5)]


def test_dynamic_sizes_are_grouped(exported, monkeypatch):
    detector = Detector(exported(size=None))
    wide, tall = exported.cells((0, 1, RED)), exported.cells(*((row, 0, GREEN) for row in range(3)), shape=(3, 2))
    session, shapes = detector._session, []
    run = session.run
    session.run = lambda feeds: shapes.append(feeds['images'].shape) or run(feeds)
    found = detector([wide, tall, wide])
    assert [each.names for each in found] == [['red'], ['green', 'green'], ['red']]
    # The tall image is resized to 64 of 96 rows and 43 of 64 columns, which need two cells.
    assert shapes == [(2, 3, 64, 96), (1, 3, 64, 64)]


@pytest.mark.parametrize('layout', ['plain', 'tensorrt', 'deepstream'])
@pytest.mark.parametrize('batch', [None, 1])
def test_form_nms(layout, batch, exported):
    path = exported(form='nms', layout=layout, input=dict(batch=batch))
    two = exported.cells((0, 1, RED), (1, 2, (0, 0, 128)))
    found = Detector(path)([two, np.zeros_like(two), exported.cells((0, 0, RED))])
    assert [each.names for each in found] == [['red', 'red'], [], ['red']]
    assert listed(found[0]) == [('red', RED_BOX, 1), ('red', [48, 16, 96, 64], 0.502)]
    assert len(Detector(path, score_thr=0.9)(two)) == 1


def test_a_score_below_that_of_the_file_is_not_silent(exported):
    path = exported(form='nms', test_cfg=dict(score_thr=0.3))
    with pytest.warns(UserWarning, match=r'score_thr=0\.1: .*m\.onnx itself drops scores up to 0\.3$') as seen:
        Detector(path, score_thr=0.1)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Detector(path, score_thr=0.5)
        Detector(path, score_thr=0)


def test_image_size_is_handed_over(exported):
    """As in Faster R-CNN, the image is in the upper left corner, and the file itself clips boxes to it."""
    changes = dict(input=dict(image_size=True, batch=1), fit=dict(place='corner'), clip=False)
    image = np.zeros((64, 80, 3), np.uint8)
    image[:32, 64:] = RED  # the third cell of the canvas, whose box ends at 96 unless it is clipped
    found = Detector(exported(form='nms', **changes))(image)
    assert listed(found) == [('red', [48, -16, 80, 32], 0.5)]  # the runner clips nothing itself


@pytest.mark.parametrize(
    ('cfg', 'names'),
    [
        (dict(), ['red', 'green']),
        (dict(multi_label=False), ['red']),
        (dict(nms_pre=1), ['red']),
        (dict(nms_pre=-1), ['red', 'green']),
        (dict(max_per_img=1), ['red']),
        (dict(score_thr=0.85), ['red']),
    ],
)
def test_test_cfg(cfg, names, exported):
    image = exported.cells((0, 1, (0, 200, 255)))
    assert Detector(exported(test_cfg=cfg))(image).names == names


@pytest.mark.parametrize(('kind', 'count'), [('iou', 1), ('diou', 1), ('greedy_diou', 2)])
def test_kinds_of_nms(kind, count, exported):
    """Two boxes of 48 x 48, 32 px apart: IoU 0.2; rho^2 / c^2 = 32^2 / (80^2 + 48^2) = 0.118, and 0.118^0.6 = 0.277."""
    image = exported.cells((0, 0, RED), (0, 1, RED))
    nms = dict(type=kind, iou_threshold=dict(iou=0.19, diou=0.07, greedy_diou=0.01)[kind])
    assert len(Detector(exported(test_cfg=dict(nms=nms)))(image)) == count


def test_padding_of_fractions_of_a_value(exported):
    """The grey padding of Faster R-CNN is not an integer; float32 preserves it."""
    found = Detector(exported(fit=dict(value=(0.0, 0.0, 127.5))))(np.zeros((64, 32, 3), np.uint8))
    assert found.scores.max() == 0.5


# ------------------------------------------------------------------------------------------------------------ refusals


def refused(path, **options):
    with pytest.raises((CheckpointError, UsageError)) as error:
        Detector(path, **options)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_files_that_are_none(exported, tmp_path):
    path = exported()
    content = path.read_bytes()
    assert refused(tmp_path / 'gone.onnx') == f'there is no file {tmp_path / "gone.onnx"}'
    assert refused(tmp_path) == f'{tmp_path} is a folder, not an exported file'
    for name, data, said in (
        ('empty.onnx', b'', 'is empty'),
        ('text.onnx', b'no ONNX at all', 'cannot be read as an ONNX file: it is damaged, truncated or of another'),
        ('cut.onnx', content[: len(content) // 2], 'cannot be read as an ONNX file'),
        ('best.pth', b'PK\x03\x04' + bytes(99), 'cannot be read as an ONNX file'),
        ('cut.xml', b'<?xml version="1.0"?><net name="a"', "cannot be read as OpenVINO's"),
    ):
        (tmp_path / name).write_bytes(data)
        assert refused(tmp_path / name).startswith(f'{tmp_path / name} {said}')


def test_every_cut_is_one_sentence(exported, tmp_path):
    content = exported().read_bytes()
    for length in range(1, len(content), 97):
        (tmp_path / 'cut.onnx').write_bytes(content[:length])
        refused(tmp_path / 'cut.onnx')


def test_metadata_that_are_none(exported):
    said = json.loads(exported.metadata_of().to_json())
    assert 'has no metadata of mmcnn' in refused(exported(text=None))
    assert 'has metadata of format 99, but this mmcnn only reads up to' in refused(
        exported(text=json.dumps(said | dict(format_version=99)))
    )
    assert 'has invalid metadata of mmcnn' in refused(exported(text='{"format_version": 1}'))
    assert 'is for classification, not for detection' in refused(
        exported(text=exported.metadata_of(task='classification', form='logits').to_json())
    )
    assert 'outputs raw maps, which cannot be decoded here: export with --form decoded' in refused(
        exported(text=exported.metadata_of(form='raw').to_json())
    )


@pytest.mark.parametrize(
    'changes',
    [
        dict(input=dict(dtype='uint8', layout='NHWC')),
        dict(input=dict(image_size=True)),
        dict(input=dict(batch=2)),
        dict(size=(96, 96)),
        dict(fit=dict(canvas=(64, 64))),
        dict(fit=dict(canvas=None)),
        dict(classes=('one', 'two')),
        dict(form='nms'),
        dict(form='nms', layout='deepstream'),
    ],
)
def test_metadata_of_another_file(changes, exported):
    network = exported.metadata_of(input=dict(batch=1))
    assert 'has the metadata of another file: it takes' in refused(exported(network=network, **changes))


def test_a_class_without_a_name(exported, image):
    changes = dict(form='nms', classes=('blue', 'green'))
    with pytest.raises(CheckpointError, match=r'm\.onnx detects class 2, but has only 2 class names'):
        Detector(exported(**changes))(image)


def test_options_that_are_none(exported):
    path = exported()
    assert refused(path, score_thr=25).startswith('score_thr=25: the value must be between 0 and 1')
    assert refused(path, threads=0) == 'threads=0: the value must be at least 1'


@pytest.mark.parametrize('reader', [mmcnn.Detector, mmcnn.load_weights])
@pytest.mark.parametrize('name', ['m.onnx', 'm.xml', 'm.pt2'])
def test_readers_of_weights_say_that_it_is_an_export(reader, name, exported):
    path = exported(name)
    with pytest.raises(CheckpointError) as error:
        reader(path) if reader is mmcnn.Detector else reader(mmcnn.build_backbone('mobilenet'), path)
    who = 'torch.export.load' if name == 'm.pt2' else 'mmcnn.runtime.Detector, mmcnn infer and mmcnn test'
    assert str(error.value) == f'{path} is an exported network, not a file of weights; open it with {who}'


# ------------------------------------------------------------------------------------------------------ without PyTorch

BLOCKED = ('torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'PIL', 'matplotlib', 'yaml', 'onnx', 'hotcoco')
#: Runs the rest of a program without these packages, which cannot be imported.
WITHOUT = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {BLOCKED}:
            raise AssertionError(f'{{name}} is imported')

sys.meta_path.insert(0, Blocked())
"""


def test_without_pytorch(exported, image, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    code = (
        WITHOUT
        + f"""
from mmcnn.runtime import Detector
detector = Detector({str(exported())!r})
found = detector({str(tmp_path / 'a.png')!r})
print(found.names, found.boxes.tolist(), len(list(detector.stream({str(tmp_path)!r}))))
"""
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (result.stderr, result.stdout) == ('', "['red'] [[16.0, 0.0, 64.0, 32.0]] 1\n")


def test_tools_keep_the_metadata(exported, image):
    """Tools that change and save a graph keep the metadata entry."""
    path = exported()
    model = onnx.shape_inference.infer_shapes(onnx.version_converter.convert_version(onnx.load(path), 20))
    onnx.save(model, path)
    assert listed(Detector(path)(image)) == [('red', RED_BOX, 1)]
