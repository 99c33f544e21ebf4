"""Detectors with different backbones as ONNX files, checked against PyTorch by ``mmcnn export`` itself."""

import pytest

import mmcnn
from mmcnn.datasets.folders.shapes import make_shapes
from mmcnn.deployment.export import run_export
from mmcnn.deployment.options import ExportOptions
from mmcnn.zoo.matrix import DETECTORS, try_pair

pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

BACKBONE = {'model.backbone.widen_factor': 0.25, 'model.backbone.deepen_factor': 0.33}
NARROW = {
    'YOLOv3': {},
    'YOLOv4': {'model.neck.widen_factor': 0.25},
    'YOLOv5': {'model.neck.widen_factor': 0.25, 'model.neck.deepen_factor': 0.33},
    'Faster R-CNN': {
        'model.neck.out_channels': 32,
        'model.rpn_head.feat_channels': 32,
        'model.roi_head.bbox_head.fc_out_channels': 64,
        'model.test_cfg.rcnn.score_thr': 0.01,
    },
}


@pytest.fixture(scope='session')
def scenes(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('scenes') / 'data', num_train=1, num_val=4, size=96)


def export(network, detector, scenes, folder):
    options = {**BACKBONE, **NARROW[detector]}
    if detector == 'Faster R-CNN' and 'fpn' in network:
        options.pop('model.neck.out_channels')
    return run_export(
        ExportOptions(
            source=DETECTORS[detector],
            backbone=network,
            cfg_options=options,
            classes='circle,square,triangle',
            img_size=96,
            dynamic='none',
            data=scenes,
            out=folder / 'a.onnx',
        ),
        lambda line: None,
    )


@pytest.mark.slow
@pytest.mark.parametrize(('network', 'detector'), [
    ('mobilenetv2', 'YOLOv3'), ('cspresnext50', 'YOLOv4'), ('vovnet39', 'YOLOv5'), ('densenet121', 'Faster R-CNN')
])  # fmt: skip
def test_one_backbone_a_detector(network, detector, scenes, tmp_path):
    matches = export(network, detector, scenes, tmp_path).checked.matches
    assert matches.every >= 20


@pytest.mark.campaign
@pytest.mark.parametrize('detector', DETECTORS)
@pytest.mark.parametrize('network', mmcnn.list_backbones())
def test_all_pairs(network, detector, scenes, tmp_path):
    if try_pair(network, detector).missing is not None:
        pytest.skip('the backbone has not the level that the detector needs')
    assert export(network, detector, scenes, tmp_path).checked.matches.every >= 20
