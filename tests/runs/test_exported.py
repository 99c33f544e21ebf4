"""Inference and evaluation with exported networks, without options for PyTorch."""

import json
from pathlib import Path

import cv2
import pytest

import mmcnn
from mmcnn.errors import CheckpointError, DataError, UsageError
from mmcnn.runs.exported import WITHOUT_MEANING
from mmcnn.runs.infer import infer
from mmcnn.runs.options import InferOptions, TestOptions

RED = (0, 0, 255)


@pytest.fixture
def image(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('a.png', exported.cells((0, 1, RED)))
    return 'a.png'


def test_infer(exported, image):
    result = infer(InferOptions(checkpoint=exported(), sources=image, out='found', format=['coco', 'yolo']))
    assert (result.images, result.objects, result.left_out) == (1, 1, ())
    record = json.loads((result.folder / 'detections.json').read_text())
    assert record == {'a.png': [dict(bbox=[16.0, 0.0, 64.0, 32.0], score=1.0, label=2, name='red')]}
    categories = json.loads((result.folder / 'coco.json').read_text())['categories']
    assert [each['name'] for each in categories] == ['blue', 'green', 'red']


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(backbone='vgg16'), 'backbone=vgg16 has no effect on {path}, an exported network: the network is in'),
        (dict(config='yolov4'), 'config=yolov4 has no effect on {path}, an exported network: the network is in'),
        (dict(cfg_options={'model.x': 1}), "cfg_options={{'model.x': 1}} has no effect"),
        (
            dict(device='cuda'),
            'device=cuda has no effect on {path}, an exported network: it runs on the CPU; for a GPU, use mmcnn.r',
        ),
        (dict(device=0), 'device=0 has no effect'),
        (dict(amp='bf16'), 'amp=bf16 has no effect on {path}, an exported network: the file has its precision; for'),
        (dict(classes='a,b'), 'classes=a,b has no effect on {path}, an exported network: the class names'),
    ],
)
def test_infer_refuses_what_would_change_nothing(options, reason, exported, image):
    path = exported()
    with pytest.raises(UsageError) as error:
        infer(InferOptions(checkpoint=path, sources=image, out='found', **options))
    assert str(error.value).startswith(reason.format(path=path))


def test_every_option_of_the_network_is_looked_at():
    """All options of an inference except for its input, score threshold and output."""
    heeded = {'checkpoint', 'sources', 'out', 'score_thr', 'format', 'font', 'batch_size', 'max_frames', 'classes'}
    assert InferOptions.__dataclass_fields__.keys() - heeded <= WITHOUT_MEANING.keys()


def test_infer_of_a_file_that_is_none(image, tmp_path):
    with pytest.raises(CheckpointError, match=r'there is no file gone\.onnx'):
        infer(InferOptions(checkpoint='gone.onnx', sources=image, out='found'))
    assert not (tmp_path / 'found').exists()


# ---------------------------------------------------------------------------------------------------------- evaluation


@pytest.fixture
def data(exported_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return exported_data


@pytest.mark.parametrize('batch_size', [None, 2])
def test_evaluation(batch_size, exported, data, capsys):
    path = exported()
    result = mmcnn.evaluate(path, data=data, batch_size=batch_size, work_dir='test')
    # Two red detections have score 1; the first is correct, so precision is 1 at every recall.
    assert result.class_ap == pytest.approx(dict(blue=0, green=1, red=1))
    assert result.metrics['AP50'] == pytest.approx(2 / 3)
    stored = json.loads(Path('test/metrics.json').read_text())
    assert stored['checkpoint'] == str(path)
    assert stored['coco/bbox_mAP_50'] == result.metrics['AP50']
    out = capsys.readouterr().out
    assert 'model    cells, exported in form decoded, fp32\nweights  m.onnx\n' in out
    assert '3 test images; 3 classes (blue, green, red)\ndevice   cpu (ONNX Runtime ' in out
    assert out.endswith('numbers  test/metrics.json\nAP = 0.67\nAP50 = 0.67\n')
    log = next(Path('test').glob('*/*.log')).read_text()
    assert 'Average Precision' in log
    assert 'numbers  test/metrics.json' in log


def test_evaluation_of_some_classes(exported, data):
    result = mmcnn.evaluate(exported(), data=data, classes=['red', 'green'])
    assert result.class_ap == pytest.approx(dict(green=1, red=1))
    assert result.work_dir.parent == Path('work_dirs')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(data=None), 'is an exported network without data: add data=PATH'),
        (
            dict(img_size=64),
            'img_size=64 has no effect on .*m.onnx, an exported network: the file determines its input sizes',
        ),
        (dict(device='cpu'), 'device=cpu has no effect on'),
        (dict(config='yolov4'), 'config=yolov4 has no effect on'),
        (dict(workers=2), 'workers=2 has no effect on'),
        (dict(launcher='pytorch'), 'launcher=pytorch has no effect on'),
        (dict(classes=['pink']), "classes='pink': "),
        (dict(data='nowhere'), 'nowhere'),
    ],
)
def test_evaluation_refuses(options, message, exported, data, tmp_path):
    before = {*tmp_path.rglob('*')}
    path = exported()
    with pytest.raises((UsageError, DataError), match=message):
        mmcnn.evaluate(path, **dict(data=data) | options)
    assert {*tmp_path.rglob('*')} - before <= {path}


def test_evaluation_of_data_with_other_classes(exported, data):
    with pytest.raises(UsageError, match=r"trained on the classes \('blue', 'green', 'pink'\), but .* has"):
        mmcnn.evaluate(exported(classes=('blue', 'green', 'pink')), data=data)


def test_every_option_of_an_evaluation_is_looked_at():
    heeded = {'checkpoint', 'data', 'classes', 'skip_bad', 'val_fraction', 'split_seed', 'batch_size', 'work_dir'}
    assert TestOptions.__dataclass_fields__.keys() - heeded - {'verbose'} <= WITHOUT_MEANING.keys()
