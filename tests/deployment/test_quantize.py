"""int8, bf16 and fp16: the precision of each operator, what is kept, and what is refused."""

import contextlib
import io
import json
import logging
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import mmcnn
from mmcnn.datasets.folders.shapes import make_shapes
from mmcnn.deployment import accuracy, export, quantize
from mmcnn.deployment.check import Checked
from mmcnn.deployment.files import check_packages, write
from mmcnn.deployment.forms import RationalMish
from mmcnn.deployment.half import in_half
from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import JUDGED_BY_AP, SUFFIXES, ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.errors import DependencyError, ExportError, UsageError
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runtime import Detector
from mmcnn.runtime.metadata import KEY, Metadata
from mmcnn.runtime.sessions import openvino_has_bfloat16
from tests.deployment.small_detectors import SMALL

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('scenes') / 'data', num_train=4, num_val=3, size=96)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A file with random weights of the small detector."""
    path = tmp_path_factory.mktemp('weights') / 'small.pth'
    torch.save(exportable(ExportOptions(**SMALL), lambda line: None).network.state_dict(), path)
    return path


def plan_of(scenes, weights, **options):
    options = ExportOptions(**SMALL, weights=weights, data=scenes, **options)
    return plan_export(exportable(options, lambda line: None), options)


@pytest.fixture(scope='module')
def float_file(scenes, weights, tmp_path_factory):
    """The small detector as a float32 file, to be quantised."""
    path = tmp_path_factory.mktemp('float') / 'small.onnx'
    plan = plan_of(scenes, weights, precision='int8')
    write(plan, path, plan.metadata())
    return path


@dataclass(frozen=True)
class Quantized:
    """The detector in 8 bits, the printed and logged output, and the temporary files that are left."""

    path: Path
    metadata: Metadata
    said: str
    left: list[Path]


@pytest.fixture(scope='module')
def int8_file(scenes, weights, float_file, tmp_path_factory):
    path, temporary = tmp_path_factory.mktemp('int8') / 'small.onnx', tmp_path_factory.mktemp('temporary')
    shutil.copy(float_file, path)
    plan, said, records = plan_of(scenes, weights, precision='int8'), io.StringIO(), logging.Handler()
    records.emit = lambda record: said.write(record.getMessage())
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patched.setattr(tempfile, 'tempdir', str(temporary))
        patched.setattr(logging.root, 'handlers', [records])
        quantize.quantize(plan, path, plan.metadata(), quantize.calibration_images(plan.options)[0])
        logging.warning('again')
    return Quantized(path, plan.metadata(), said.getvalue(), list(temporary.iterdir()))


def test_convolutions_are_in_8_bits_and_the_first_and_those_that_predict_in_float(int8_file):
    nodes = onnx.load(int8_file.path).graph.node
    made_by = {output: node for node in nodes for output in node.output}
    kernels = [made_by.get(node.input[1]) for node in nodes if node.op_type == 'Conv']
    in_float = [node.input[1] for node in nodes if node.op_type == 'Conv' and node.input[1] not in made_by]
    assert in_float == [
        'inner.network.backbone.stem.conv.weight',
        *(f'inner.network.bbox_head.predictions.{i}.weight' for i in range(3)),
    ]
    values = {each.name: each for each in onnx.load(int8_file.path).graph.initializer}
    for each in filter(None, kernels):
        assert each.op_type == 'DequantizeLinear'
        kernel, scale = (onnx.numpy_helper.to_array(values[name]) for name in each.input[:2])
        assert kernel.dtype == np.int8 and scale.shape == (len(kernel),)  # one scale per channel


def test_silu_is_looked_up_and_decoding_is_not(int8_file):
    nodes = onnx.load(int8_file.path).graph.node
    made_by = {output: node for node in nodes for output in node.output}
    sigmoids = [node for node in nodes if node.op_type == 'Sigmoid']
    looked_up = [node for node in sigmoids if made_by[node.input[0]].op_type == 'DequantizeLinear']
    convolutions = sum(node.op_type == 'Conv' for node in nodes)
    assert len(looked_up) == convolutions - 4
    assert len(sigmoids) > len(looked_up) + 1  # the first convolution's and the predictions'


@pytest.mark.parametrize(('kernel', 'groups', 'channels'), [((16, 3, 6, 6), 1, 3), ((8, 1, 3, 3), 8, 8)])
def test_channels_of_a_map(kernel, groups, channels):
    """In a depthwise convolution, each kernel has its own input channel."""
    attributes = dict(group=groups) if groups > 1 else {}
    assert quantize._channels(onnx.helper.make_node('Conv', ['x', 'w'], ['y'], **attributes), kernel) == channels


def test_metadata_are_kept_and_nothing_is_left_behind(int8_file):
    stored = {entry.key: entry.value for entry in onnx.load(int8_file.path).metadata_props}
    assert list(stored) == [KEY] and Metadata.from_json(stored[KEY], int8_file.path) == int8_file.metadata
    assert int8_file.metadata.precision == 'int8' and 'onnxruntime' in int8_file.metadata.versions
    assert [each.name for each in int8_file.path.parent.iterdir()] == ['small.onnx'] and int8_file.left == []


def test_the_quantiser_is_silent(int8_file):
    assert int8_file.said == 'again'  # messages logged afterwards are not lost


def test_it_runs(int8_file, scenes):
    detector = Detector(int8_file.path, score_thr=0.0)
    assert all(len(found) for found in detector.batch(sorted((scenes / 'images').iterdir())[:2]))


def test_a_tool_that_rewrites_the_file_keeps_the_metadata(float_file, tmp_path):
    onnxslim = pytest.importorskip('onnxslim')
    onnxslim.slim(str(float_file), str(tmp_path / 'slim.onnx'))
    assert Detector(tmp_path / 'slim.onnx').metadata == Detector(float_file).metadata


def test_calibration_is_on_training_images(scenes):
    paths, said = quantize.calibration_images(ExportOptions(**SMALL, data=scenes, precision='int8'))
    names = {image['file_name'] for image in json.loads((scenes / 'train.json').read_text())['images']}
    assert said == 'calibrated on 4 of the 4 images of train.json'
    assert len(paths) == 4 and {path.name for path in paths} == {name.rpartition('/')[2] for name in names}


def test_calibration_on_validation_images_is_said(scenes, tmp_path):
    alone = tmp_path / 'alone'
    alone.mkdir()
    for each in scenes.iterdir():
        if each.name != 'train.json':
            (alone / each.name).symlink_to(each)
    paths, said = quantize.calibration_images(ExportOptions(**SMALL, data=alone, precision='int8'))
    assert len(paths) == 3 and said.startswith('calibrated on 3 of the 3 images of val.json, which also measure AP: ')


def test_a_file_without_the_predictions_is_refused(scenes, weights, float_file, tmp_path):
    model = onnx.load(float_file)
    name = 'inner.network.bbox_head.predictions.1.weight'
    next(each for each in model.graph.initializer if each.name == name).name = 'other'
    for node in model.graph.node:
        node.input[:] = ['other' if each == name else each for each in node.input]
    onnx.save(model, tmp_path / 'small.onnx')
    plan = plan_of(scenes, weights, precision='int8')
    with pytest.raises(ExportError, match=f'the convolutions with the weights {re.escape(name)} must stay in float'):
        quantize.quantize(plan, tmp_path / 'small.onnx', plan.metadata(), [])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(source='resnet18'), 'measured as AP, but resnet18 is not a detector; use fp16'),
        (dict(source='yolov5_n'), 'measured as AP, but the weights of yolov5_n are random; use weights=FILE'),
        (dict(source='yolov5_n', form='raw'), 'measured as AP, but form=raw returns no boxes; use form=decoded'),
        (dict(source='yolov5_n', to='torch-export'), 'precision=int8 needs to=onnx or to=openvino'),
    ],
)
def test_what_int8_refuses(options, message, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        mmcnn.export(**options, precision='int8', data=scenes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(to='onnx'), 'precision=bf16 needs to=openvino; with to=onnx, use fp16'),
        (dict(to='openvino'), 'precision=bf16 needs data=PATH: AP is measured on its images'),
    ],
)
def test_options_that_do_not_fit_bf16(options, message):
    with pytest.raises(UsageError, match=message):
        ExportOptions(**SMALL, **options, precision='bf16')


def test_bf16_is_refused_where_its_cost_cannot_be_measured(scenes, weights, monkeypatch):
    monkeypatch.setattr('mmcnn.deployment.plan.openvino_has_bfloat16', lambda: False)
    with pytest.raises(UsageError, match=r'AP, but this processor does not compute in bfloat16 .*; use fp16'):
        plan_of(scenes, weights, precision='bf16', to='openvino')


def test_int8_of_openvino_needs_nncf(monkeypatch):
    pytest.importorskip('openvino')
    monkeypatch.setitem(sys.modules, 'nncf', None)
    check_packages('openvino')
    with pytest.raises(DependencyError, match=r"needs the package nncf: pip install 'mmcnn\[export,openvino\]'"):
        check_packages('openvino', 'int8')


@pytest.fixture
def ap(monkeypatch):
    """Replace the measured APs: PyTorch's, then the file's."""

    def use(*values):
        left = list(values)
        monkeypatch.setattr(accuracy.AccuracyCheck, '_ap', lambda self, find: (left.pop(0), 3))

    return use


@pytest.mark.parametrize(('after', 'most'), [(0.48, 0.01), (0.0, 0.4), (float('nan'), 0.01)])
def test_what_costs_too_much_is_not_there(after, most, ap, scenes, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, 'write', lambda plan, path, metadata: path.write_bytes(b'file'))
    monkeypatch.setattr(export, 'quantize', lambda *args: None)
    monkeypatch.setattr(export, 'check_export', lambda *args: Checked('', 1.0))
    monkeypatch.setattr(accuracy, 'Detector', lambda path, score_thr: type('Found', (), dict(find=None)))
    ap(0.5, after)
    options = ExportOptions(**SMALL, weights=weights, data=scenes, precision='int8', max_loss=most)
    with pytest.raises(ExportError, match=f'costs .* AP .0.5000 in PyTorch, .* more than max_loss={most:g}$'):
        export.run_export(options, lambda line: None)
    assert list(tmp_path.iterdir()) == []
    ap(0.5, 0.495)
    result = export.run_export(
        ExportOptions(**SMALL, weights=weights, data=scenes, precision='int8'), lambda line: None
    )
    assert result.accuracy.loss == pytest.approx(0.005) and result.path.is_file()


@pytest.mark.parametrize(
    ('values', 'ends'),
    [
        ((0.5, 0.495), None),
        ((0.5, 0.48), 'precision=fp16 costs 0.0200 AP .*'),
        (
            (0.005,),
            'one is missed; AP, which decides, cannot be measured: not checked: AP in PyTorch is 0.0050 .*',
        ),
    ],
)
def test_detections_in_half_that_are_others_are_weighed_by_ap(values, ends, ap, scenes, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, 'write', lambda plan, path, metadata: path.write_bytes(b'file'))
    monkeypatch.setattr(export, 'check_export', lambda *args: Checked('', 1.0, failure='one is missed'))
    monkeypatch.setattr(accuracy, 'Detector', lambda path, score_thr: type('Found', (), dict(find=None)))
    ap(*values)
    said, options = [], ExportOptions(**SMALL, weights=weights, data=scenes, precision='fp16')
    if ends is None:
        result = export.run_export(options, said.append)
        assert (result.accuracy.before, result.accuracy.after) == values and result.path.is_file()
    else:
        with pytest.raises(ExportError, match=f'^{ends}$'):
            export.run_export(options, said.append)
        assert list(tmp_path.iterdir()) == []
    assert 'note: one is missed; AP on the images of data decides' in said


@pytest.mark.parametrize('before', [0.0, 0.01, float('nan')])
def test_an_ap_that_cannot_fall_is_no_check(before, ap, scenes, weights):
    ap(before)
    message = r'not checked: AP in PyTorch is .* a loss of max_loss=0\.01'
    with kept_process_state(), pytest.raises(ExportError, match=message):
        accuracy.AccuracyCheck(plan_of(scenes, weights, precision='int8'), lambda line: None)


def test_ap_is_of_the_validation_images(scenes, weights, monkeypatch):
    """A detector that finds all annotated objects has an AP of 1; one that finds half of them has less."""
    truth = json.loads((scenes / 'val.json').read_text())
    images = iter(truth['images'] * 2)
    shown, kept = [], [1, 2]

    def found(plan, image):
        entry = next(images)
        shown.append(image.shape[:2] == (entry['height'], entry['width']))
        own = [each for each in truth['annotations'] if each['image_id'] == entry['id']]
        own = own[:: kept[len(shown) > len(truth['images'])]]
        boxes = np.array([each['bbox'] for each in own], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        return boxes, np.ones(len(own), np.float32), np.array([each['category_id'] for each in own]) - first

    first = min(each['id'] for each in truth['categories'])
    monkeypatch.setattr(accuracy, 'predicted', found)
    plan = plan_of(scenes, weights, precision='int8')
    with kept_process_state():
        assert accuracy.AccuracyCheck(plan, lambda line: None).before == pytest.approx(1.0)
    with kept_process_state():
        assert 0.1 < accuracy.AccuracyCheck(plan, lambda line: None).before < 0.9
    assert all(shown) and len(shown) == 6


def test_layers_are_in_half_and_boxes_are_not(scenes, weights):
    plan = plan_of(scenes, weights, precision='fp16')
    halved = in_half(plan.module)
    assert {each.dtype for each in halved.inner.network.parameters()} == {torch.float16}
    assert {each.dtype for each in plan.module.parameters()} == {torch.float32}  # the original is unchanged
    assert halved.mean.dtype == torch.float32
    boxes, scores = halved(*plan.example(1))
    wanted = plan.module(*plan.example(1))
    assert boxes.dtype == scores.dtype == torch.float32
    assert 0 < (boxes - wanted[0]).abs().max() < 0.5 and (scores - wanted[1]).abs().max() < 1e-2


@pytest.mark.parametrize(('to', 'dtype'), [('onnx', torch.float16), ('openvino', torch.float32)])
def test_what_is_traced(to, dtype, scenes, weights, tmp_path, monkeypatch):
    """For OpenVINO the trace is in float32; OpenVINO itself stores the weights in float16."""
    traced = []

    def trace(module, *args, **kwargs):
        traced.append(module)
        raise torch.onnx.OnnxExporterError('that is all')

    monkeypatch.setattr(torch.onnx, 'export', trace)
    plan = plan_of(scenes, weights, precision='fp16', to=to)
    with pytest.raises(ExportError, match=r'yolov5_n cannot be exported by PyTorch .*: that is all'):
        write(plan, tmp_path / f'half{SUFFIXES[to]}', plan.metadata())
    assert {each.dtype for each in traced[0].inner.network.parameters()} == {dtype}


@pytest.mark.slow
def test_a_file_in_half(scenes, weights, tmp_path):
    plan = plan_of(scenes, weights, precision='fp16')
    write(plan, tmp_path / 'half.onnx', plan.metadata())
    graph = onnx.load(tmp_path / 'half.onnx').graph
    kinds = {each.name: each.data_type for each in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == 'Conv']
    assert {kinds[node.input[1]] for node in convolutions} == {onnx.TensorProto.FLOAT16}
    assert {each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}
    assert sum(node.op_type == 'Cast' for node in graph.node) <= 1 + 3  # one for the input, one for each level


def test_rational_mish_in_half_does_not_overflow():
    x = torch.linspace(-30, 60, 2000)
    assert torch.allclose(RationalMish()(x.half()).float(), torch.nn.functional.mish(x), rtol=4e-3, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('to', 'precision'),
    [('onnx', 'fp16'), ('onnx', 'int8'), ('openvino', 'fp16'), ('openvino', 'bf16'), ('openvino', 'int8')],
)
def test_precisions_of_a_trained_detector(to, precision, scenes_to_train_on, trained, tmp_path, monkeypatch):
    """fp16 finds the same as PyTorch; bf16 and int8 keep AP."""
    if to == 'openvino':
        pytest.importorskip('nncf')
    if precision == 'bf16' and not openvino_has_bfloat16():
        pytest.skip('this processor does not compute in bfloat16')
    monkeypatch.chdir(tmp_path)
    result = mmcnn.export(trained, data=scenes_to_train_on, to=to, precision=precision, img_size=96)
    assert Detector(result.path).metadata.precision == precision
    if precision in JUDGED_BY_AP:
        assert result.accuracy.before > 0.03 and result.accuracy.loss <= 0.01  # the detector has learnt something
    else:
        assert result.checked.matches.every >= 20
    assert sorted(each.suffix for each in tmp_path.iterdir()) == sorted(
        ['.onnx'] if to == 'onnx' else ['.xml', '.bin']
    )  # fmt: skip


@pytest.fixture(scope='module')
def scenes_to_train_on(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('train') / 'data', num_train=64, num_val=24, size=96)


@pytest.fixture(scope='module')
def trained(scenes_to_train_on, tmp_path_factory):
    """A narrow detector, trained for a few epochs."""
    result = mmcnn.train(
        'yolov4_cspdarknet53_narrow',
        data=scenes_to_train_on,
        epochs=20,
        img_size=96,
        work_dir=tmp_path_factory.mktemp('trained') / 'run',
    )
    return result.work_dir / 'best.pth'
