"""Operators in the exported files."""

import logging

import pytest

import mmcnn
from mmcnn.deployment.files import _quiet, write
from mmcnn.deployment.networks import Exportable
from mmcnn.deployment.options import SUFFIXES, ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.runtime.sessions import openvino_core

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')


@pytest.mark.parametrize(('to', 'mish', 'rational'), [
    ('onnx', None, True), ('openvino', None, False),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in [('onnx', 'exact', False), ('openvino', 'fast', True)]),
])  # fmt: skip
def test_mish_is_what_the_runtime_computes_faster(to, mish, rational, tmp_path):
    if to == 'openvino':
        pytest.importorskip('openvino')
    narrow = dict(widen_factor=0.125, deepen_factor=0.1, out_indices=(2,))
    network = mmcnn.build_backbone('cspdarknet53', **narrow).eval()
    found = Exportable(network=network, task='features', name='a', image=network.arch.image, classes=())
    plan = plan_export(found, ExportOptions(source='a', to=to, img_size=64, mish=mish))
    path = tmp_path / f'a{SUFFIXES[to]}'
    write(plan, path, plan.metadata())
    if to == 'onnx':
        kinds = [node.op_type for node in onnx.load(path).graph.node]
    else:
        kinds = [each.get_type_name() for each in openvino_core().read_model(path).get_ops()]
    assert ('Mish' in kinds, 'Exp' in kinds) == (not rational, rational)


def test_zeros_in_front_of_a_max_pool_stay_apart_from_it(tmp_path):
    """ONNX Runtime 1.30 would fuse them and replace the zeros by minus infinity, which made resnet50v2 wrong."""
    network = mmcnn.build_backbone('resnet50v2', widen_factor=0.125, deepen_factor=0.1, out_indices=(2,)).eval()
    found = Exportable(network=network, task='features', name='a', image=network.arch.image, classes=())
    plan = plan_export(found, ExportOptions(source='a', img_size=64))
    write(plan, tmp_path / 'a.onnx', plan.metadata())
    graph = onnx.load(tmp_path / 'a.onnx').graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    pools = [makers[node.input[0]] for node in graph.node if node.op_type == 'MaxPool']
    assert 'Pad' in makers.values() and pools and 'Pad' not in pools


def test_what_the_exporters_say_of_themselves_is_not_printed(caplog):
    def warn():
        for name in ('torch.onnx._internal.exporter', 'onnxscript.optimizer._constant_folding'):
            logging.getLogger(name).warning('of %s', name)

    with _quiet():
        warn()
    assert caplog.messages == []
    warn()
    assert len(caplog.messages) == 2  # afterwards, both messages appear again
