"""``mmcnn.export``: files compared with PyTorch, and requests that are refused before any work."""

import json
import signal

import numpy as np
import pytest
import torch

import mmcnn
from mmcnn.datasets.folders.shapes import make_shapes
from mmcnn.deployment import check, export
from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.errors import CheckpointError, ExportError, StoppedError, UsageError
from mmcnn.runtime import Detector
from mmcnn.runtime.metadata import KEY, Metadata
from tests.deployment.small_detectors import SMALL, TINY

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

OPTIONS = SMALL | dict(img_size=96)


@pytest.fixture(scope='session')
def scenes(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('scenes') / 'data', num_train=1, num_val=6, size=128)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope='session')
def written(scenes, tmp_path_factory):
    """One small detector, exported once."""
    target = tmp_path_factory.mktemp('written') / 'tiny.onnx'
    said = []
    result = export.run_export(ExportOptions(**OPTIONS, data=scenes, out=target), said.append)
    return result, said


def test_a_detector_gives_what_pytorch_gives(written):
    result, said = written
    assert 'note: the weights of yolov5_n are random; use weights=FILE for trained ones' in said
    assert said[-1].startswith('note: every image is padded to 96 x 96 px')
    matches = result.checked.matches
    assert matches.every >= check.FEWEST and matches.found >= 0.99 * matches.every
    assert result.size == result.path.stat().st_size
    assert [each.name for each in result.path.parent.iterdir()] == ['tiny.onnx']  # no temporary files are left


def test_what_the_file_says_of_itself(written):
    file = onnx.load(written[0].path)
    stored = {entry.key: entry.value for entry in file.metadata_props}
    said = Metadata.from_json(stored[KEY], 'tiny.onnx')
    assert said == written[0].metadata
    assert (said.task, said.form, said.classes) == ('detection', 'decoded', ('circle', 'square', 'triangle'))
    assert said.input.size == said.fit.canvas == (96, 96) and said.fit.scale == (96, 96) and said.input.batch is None
    assert said.test_cfg['nms'] == dict(type='iou', iou_threshold=0.65) and said.checkpoint is None
    assert torch.__version__.startswith(said.versions['torch'])  # PyPI's wheels omit the build suffix, +cu124
    assert {node.domain for node in file.graph.node} == {''}
    assert file.graph.input[0].type.tensor_type.shape.dim[0].dim_param == 'N'


def test_the_runner_reads_it(written):
    image = np.random.default_rng(0).integers(0, 256, (100, 60, 3), np.uint8)
    found = Detector(written[0].path, score_thr=0.0)(image)
    assert len(found) and set(found.names) <= {'circle', 'square', 'triangle'}


@pytest.mark.slow
def test_a_file_that_gives_something_else_is_not_there(scenes, tmp_path, monkeypatch):
    """The graph has a fault: it shifts boxes by three pixels to the lower right."""
    original = export.write

    def shifted(plan, path, metadata):
        decoded = plan.module.inner.forward
        plan.module.inner.forward = lambda images: (decoded(images)[0] + 3, decoded(images)[1])
        original(plan, path, metadata)
        del plan.module.inner.forward

    monkeypatch.setattr(export, 'write', shifted)
    with pytest.raises(
        ExportError, match=r'the results of the file differ from PyTorch: only 0\.00% of the boxes at 96 x 96 px'
    ):
        export.run_export(ExportOptions(**OPTIONS, data=scenes), lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_too_few_detections_are_no_check(scenes, tmp_path):
    never = {**TINY, 'model.test_cfg.score_thr': 0.999}
    with pytest.raises(ExportError, match='not checked: PyTorch finds 0 detections on 6 images'):
        export.run_export(ExportOptions(**{**OPTIONS, 'cfg_options': never}, data=scenes), lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_images_that_the_runner_would_make_otherwise(scenes):
    options = ExportOptions(**{**OPTIONS, 'img_size': None}, data=scenes)
    plan = plan_export(exportable(options, lambda line: None), options)
    images = list(export.images_to_check(options))
    assert len(images) == 6 and len({each.shape for each in images}) == 2
    check._compare_fit(plan, images)
    plan.found.config.test_dataloader.dataset.pipeline[1].pad_val = 113
    with pytest.raises(ExportError, match='the runner prepares images differently from the test pipeline of yolov5_n'):
        check._compare_fit(plan, images)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(source='yolov5_x9'), "'yolov5_x9' is neither a file, a network nor a config; did you mean"),
        (dict(source='mobilenetv2', form='decoded'), 'form=decoded: mobilenetv2 is a backbone, .* with form=maps'),
        (dict(source='yolov5_n', form='logits'), 'yolov5_n is a detector, .* with form=decoded or nms or raw'),
        (dict(source='fpn', form='logits'), 'fpn is not a classifier'),
        (dict(source='mobilenetv2', cfg_options={'a': 1}), 'cfg_options applies to configs, but mobilenetv2 is'),
        (dict(source='yolov5_n', img_size=100), 'img_size=100 x 100: each side must be a multiple of 32'),
        (dict(source='yolov5_n', img_size=(32, 64, 96)), r'img_size=\(32, 64, 96\): must be one integer'),
        (dict(source='yolov5_n', layout='tensorrt'), 'layout=tensorrt needs form=nms'),
        (dict(source='yolov5_n', score_thr=0.1), 'score_thr=0.1 needs form=nms'),
        (dict(source='yolov5_n', config='yolov5_s'), 'config=yolov5_s: yolov5_n is already a config'),
        (dict(source='mobilenetv2', classes='a,b'), 'classes: mobilenetv2 returns maps and has no classes'),
        (dict(source='yolov5_n', device='cuda'), 'device=cuda: exports run and are checked on the CPU'),
        (dict(source='yolov5_n', precision='int8'), 'precision=int8 needs data=PATH'),
        (dict(source='yolov5_n', to='torch-export', form='nms'), "form=nms needs ONNX's operators"),
        (dict(source='yolov5_n', out='a.pb'), r'out=a.pb: a file for to=onnx must end in .onnx'),
        (dict(source='yolov5_n', out='none/a.onnx'), 'out=none/a.onnx: the folder none'),
        (dict(source='yolov5_n', to='tflite'), "to='tflite'"),
        (dict(source='faster_rcnn_resnet-fpn', dynamic='batch'), 'Faster R-CNN processes one image at a time'),
        (dict(source='faster_rcnn_resnet-fpn', form='decoded'), 'a Faster R-CNN, which can be exported with form=nms'),
        (
            dict(source='yolov5_n', form='nms', cfg_options={**TINY, 'model.test_cfg.nms.type': 'greedy_diou'}),
            "nms.type='greedy_diou' has no ONNX operator; export with form=decoded",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        export.run_export(ExportOptions(**options), lambda line: None)


def test_a_file_that_exists_is_kept(tmp_path):
    (tmp_path / 'yolov5_n.onnx').write_text('mine')
    with pytest.raises(UsageError, match=r'out=yolov5_n\.onnx exists and would be overwritten'):
        mmcnn.export('yolov5_n')
    assert (tmp_path / 'yolov5_n.onnx').read_text() == 'mine'


@pytest.fixture
def interrupted(monkeypatch):
    """``interrupted(act)``: an export that writes a few bytes, and calls ``act(file)`` instead of checking them."""

    def run(act):
        checked = check.Checked('', 1.0)
        monkeypatch.setattr(export, 'write', lambda plan, path, metadata: path.write_bytes(b'file'))
        monkeypatch.setattr(export, 'check_export', lambda plan, path, *images: act(path) or checked)
        return mmcnn.export('mobilenetv2-035', img_size=32)

    return run


@pytest.mark.slow
def test_a_file_that_comes_meanwhile_is_kept(interrupted, tmp_path):
    target = tmp_path / 'mobilenetv2-035.onnx'
    with pytest.raises(UsageError, match=r'out=mobilenetv2-035\.onnx exists and would be overwritten'):
        interrupted(lambda path: target.write_text('mine') and None)
    assert [each.name for each in tmp_path.iterdir()] == [target.name] and target.read_text() == 'mine'


@pytest.mark.slow
def test_nothing_is_left_after_sigterm(interrupted, tmp_path):
    with pytest.raises(StoppedError, match='stopped by SIGTERM'):
        interrupted(lambda path: signal.raise_signal(signal.SIGTERM))
    assert list(tmp_path.iterdir()) == []


def test_sigterm_is_not_taken_for_a_fault_of_the_network(tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        try:
            raise StoppedError('stopped by SIGTERM', signal.SIGTERM)
        except StoppedError as error:
            raise torch.onnx.OnnxExporterError('Failed to export the model') from error

    monkeypatch.setattr(torch.onnx, 'export', stopped)
    with pytest.raises(StoppedError):
        mmcnn.export('mobilenetv2-035', img_size=32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_program_whose_sizes_pytorch_cannot_prove(tmp_path):
    """For pooling with ceil_mode, the check is the only proof; it chooses suitable sizes itself."""
    result = mmcnn.export('vovnet27-slim', to='torch-export', dynamic='all', out='a.pt2')
    assert '224 x 224 and 227 x 234 px' in result.checked.summary


def test_what_pytorch_cannot_trace_is_one_sentence(tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError('no such operator\nand more lines')

    monkeypatch.setattr(torch.export, 'export', fails)
    with pytest.raises(ExportError, match=r'mobilenetv2-035 cannot be exported by PyTorch [\w.+]+: no such operator$'):
        mmcnn.export('mobilenetv2-035', to='torch-export', img_size=32)
    assert list(tmp_path.iterdir()) == []


def test_weights_of_a_file_are_its_own(tmp_path):
    torch.save(mmcnn.build_backbone('resnet18').state_dict(), tmp_path / 'a.pth')
    with pytest.raises(UsageError, match=r'a\.pth contains weights'):
        mmcnn.export('a.pth', weights='b.pth')
    with pytest.raises(CheckpointError):  # a backbone's weights fit no config of a detector
        mmcnn.export('a.pth')


@pytest.mark.slow
@pytest.mark.parametrize('options', [
    dict(form='nms', input='uint8'),
    dict(form='nms', layout='tensorrt'),
    dict(form='nms', layout='deepstream', dynamic='none'),
    dict(form='raw'),
    dict(dynamic='all', img_size=160),
    dict(to='torch-export', dynamic='all'),
    dict(to='openvino', form='nms'),
], ids=str)  # fmt: skip
def test_every_form_is_checked(scenes, options):
    result = export.run_export(ExportOptions(**{**OPTIONS, **options}, data=scenes), lambda line: None)
    assert result.path.is_file() and (result.checked.matches or options.get('form') == 'raw' or 'to' in options)


def test_the_command_line(scenes, capsys):
    from mmcnn.cli.main import main

    args = ['export', 'resnet18', '--form', 'logits', '--img-size', '40', '48', '--data', str(scenes)]
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith('checked  6 images; 40 x 48 px in batches of 1 and 3; largest output difference')
    assert lines[3].startswith('resnet18.onnx: ') and lines[3].endswith('MB, classification, form logits')
    said = json.loads(onnx.load('resnet18.onnx').metadata_props[0].value)
    assert said['classes'][999] == 'class 999' and said['input']['size'] == [40, 48]
