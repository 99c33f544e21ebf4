import struct
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta
from mmcnn.config.of_weights import KNOWN_CLASSES, config_and_checkpoint, config_of, config_of_conversion
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.models.wiring import set_num_classes
from mmcnn.runs.convert import convert
from mmcnn.weights import convert as weights_convert
from mmcnn.weights.checkpoint import Checkpoint

COCO = KNOWN_CLASSES[80][0]
#: Numbers of floats in Darknet's YOLOv3 and YOLOv4 without classes; a class adds 3 anchors on maps of 1024, 512, 256.
FLOATS = {'yolov3': 62_001_757 - 80 * 5385, 'yolov4': 64_429_405 - 80 * 5385}


def found(path, classes=None, **keywords):
    """Return the config, the names of the classes and the notes."""
    said = []
    cfg, names = config_of(Checkpoint.open(path), classes, said.append, **keywords)
    return cfg, names, said


def darknet(path, network, classes, version=(0, 2, 5)):
    """Write a file of the right size; its floats are zeros in a sparse file."""
    head = struct.pack('<3iQ', *version, 0)
    with path.open('wb') as file:
        file.write(head)
        file.truncate(len(head) + 4 * (FLOATS[network] + 5385 * classes))
    return path


def test_config_and_checkpoint(trained):
    recorded, checkpoint = config_and_checkpoint(None, str(trained.checkpoint))
    assert recorded.model.bbox_head.num_classes == 3
    assert checkpoint.meta['epoch'] == 2
    named, _ = config_and_checkpoint('yolov4_cspdarknet53', str(trained.checkpoint))
    assert named.model.bbox_head.num_classes == 80


def test_of_a_run_all_is_as_recorded(trained):
    cfg, names, said = found(trained.checkpoint)
    assert cfg.model == Checkpoint.open(trained.checkpoint).config.model
    assert names == ('circle', 'square', 'triangle') and not said
    assert found(trained.checkpoint, 'a,b,c')[1] == ('a', 'b', 'c')
    with pytest.raises(UsageError, match=r'classes=a,b: 2 names, but .* has 3 classes'):
        found(trained.checkpoint, 'a,b')


# ---------------------------------------------------------------------------------------------------------- ultralytics


def test_yolov5_says_its_size_classes_and_anchors(tmp_path, yolov5):
    model = yolov5.model('n', nc=3)
    model.model[-1].anchors[0, 0, 0] = 2.0  # cells of 8 px
    cfg, names, said = found(yolov5.save(model, tmp_path / 'a.pt'))
    assert names == ('thing 0', 'thing 1', 'thing 2') == tuple(cfg.test_dataloader.dataset.metainfo.classes)
    assert cfg.model.backbone.type == 'mmcnn.cspdarknet-n'
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.model.bbox_head.anchors[0] == [(16, 13), (16, 30), (33, 23)]
    (line,) = said
    assert (
        'YOLOv5n (v6.0 to v7.0), which fits yolov5_n; its 3 classes have the names in the file; anchors are from'
        in line
    )


def test_yolov5_of_v5_has_the_focus_trunk(tmp_path, yolov5):
    cfg, names, said = found(yolov5.save(yolov5.model('s', focus=True, nc=2), tmp_path / 'a.pt'))
    assert cfg.model.backbone.type == 'mmcnn.cspdarknet-focus-s' and len(names) == 2
    assert 'YOLOv5s (v4.0 or v5.0)' in said[0]


def test_a_size_of_yolov5_that_is_none_of_ours(tmp_path, yolov5):
    with pytest.raises(
        CheckpointError,
        match=r'YOLOv5 with 8 channels in the first convolution, but the sizes .* have 16, 32, 48, 64, 80',
    ):
        found(yolov5.save(yolov5.model('tiny', nc=2), tmp_path / 'a.pt'))


def test_a_state_dict_of_yolov5_has_no_names(tmp_path, yolov5):
    torch.save(yolov5.model('n', nc=4).state_dict(), tmp_path / 'a.pt')
    with pytest.raises(CheckpointError, match=r'a\.pt has 4 classes without names: give them'):
        found(tmp_path / 'a.pt')
    cfg, names, said = found(tmp_path / 'a.pt', ['a', 'b', 'c', 'd'])
    assert names == ('a', 'b', 'c', 'd') and 'its 4 classes have the given names' in said[0]
    assert cfg.model.bbox_head.num_classes == 4
    with pytest.raises(UsageError, match=r'classes=a,b: 2 names, but .*a\.pt has 4 classes'):
        found(tmp_path / 'a.pt', 'a,b')
    cfg, names, _ = found(tmp_path / 'a.pt', names_needed=False)
    assert names == () and 'metainfo' not in cfg.test_dataloader.dataset


# -------------------------------------------------------------------------------------------------------------- Darknet


def test_yolov4_of_darknet_is_told_by_its_size(tmp_path):
    cfg, names, (line,) = found(darknet(tmp_path / 'yolov4.weights', 'yolov4', 80))
    assert names == COCO
    assert "Darknet's YOLOv4, by its size" in line and "assumed to be COCO's" in line
    assert 'the anchors of yolov4.cfg' in line and 'stretched to 608 x 608 px' in line
    assert cfg.model.bbox_head.bbox_coder == dict(
        type='mmcnn.YOLOGridCoder', scale_xy=(1.2, 1.1, 1.05), size='exp', max_exp=None
    )
    assert cfg.model.test_cfg.nms == dict(type='iou', iou_threshold=0.45) and cfg.model.test_cfg.score_thr == 0.005
    assert cfg.test_dataloader.dataset.pipeline[1] == dict(type='Resize', scale=(608, 608), keep_ratio=False)


@pytest.mark.parametrize('version', [(0, 2, 0), (0, 2, 5)])
def test_yolov3_of_darknet_has_the_images_of_the_program_that_wrote_it(tmp_path, version):
    cfg, names, (line,) = found(darknet(tmp_path / 'a.weights', 'yolov3', 2, version), 'cat,dog')
    assert names == ('cat', 'dog') and cfg.model.bbox_head.num_classes == 2
    _, resize, *_, pack = cfg.test_dataloader.dataset.pipeline
    if version == (0, 2, 0):
        assert resize == dict(type='mmcnn.LetterBox', img_scale=(608, 608), rect=False, pad_val=127)
        assert 'pad_param' in pack['meta_keys'] and 'letterboxed to 608' in line
    else:
        assert resize == dict(type='Resize', scale=(608, 608), keep_ratio=False) and 'stretched to 608' in line
    head = build_on_meta(cfg).bbox_head
    assert (type(head).__name__, type(head.bbox_coder).__name__) == ('DarknetYOLOV3Head', 'DarknetBBoxCoder')
    assert head.test_cfg.nms.iou_threshold == 0.45


def test_part_of_a_network_of_darknet_is_refused(tmp_path):
    cut = tmp_path / 'yolov4.conv.137'
    cut.write_bytes(struct.pack('<3iQ', 0, 2, 5, 0) + bytes(4 * 5_140_960))
    with pytest.raises(
        CheckpointError, match=r'5,140,960 floats, like yolov4-tiny.conv.29, which is not a complete YOLOv3'
    ):
        found(cut)


# ------------------------------------------------------------------------------------------------- MMDetection and ours


def small(state):
    """Return zeros with the same names and shapes that share one storage."""
    zeros = torch.zeros(max(value.numel() for value in state.values()))
    return {
        key: zeros[: value.numel()].view(value.shape)
        if value.is_floating_point()
        else torch.zeros_like(value, device='cpu')
        for key, value in state.items()
    }


def state_of(name, classes):
    cfg = load_config(name)
    set_num_classes(cfg.model, classes)
    return small(build_on_meta(cfg).state_dict())


def filled_state(name, classes):
    return {key: value.clone() for key, value in state_of(name, classes).items()}


def mmdet_state(path, backbone, **changes):
    cfg = Config.fromfile(Path(mmdet.__file__).parent / '.mim' / 'configs' / path)
    cfg.merge_from_dict({**changes, 'model.backbone.init_cfg': None, 'model.backbone.type': backbone})
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
        return small(MODELS.build(cfg.model).state_dict())


@pytest.mark.parametrize('meta', [{}, {'CLASSES': ('cat', 'dog')}, {'dataset_meta': {'classes': ['cat', 'dog']}}])
def test_yolov3_of_mmdetection_without_a_config(tmp_path, meta):
    state = mmdet_state('yolo/yolov3_d53_8xb8-ms-608-273e_coco.py', 'Darknet', **{'model.bbox_head.num_classes': 2})
    torch.save(dict(meta=meta, state_dict=state), tmp_path / 'a.pth')
    cfg, names, (line,) = found(tmp_path / 'a.pth', None if meta else 'cat,dog')
    assert names == ('cat', 'dog') and cfg.model.bbox_head.num_classes == 2
    assert "MMDetection's YOLOv3, which fits yolov3_darknet53" in line and 'size (608 px), anchors and NMS' in line


def test_faster_rcnn_of_mmdetection_on_another_depth(tmp_path):
    state = mmdet_state('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'ResNet', **{'model.backbone.depth': 101})
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'a.pth')
    cfg, names, (line,) = found(tmp_path / 'a.pth')
    assert names == COCO and cfg.model.backbone.type == 'mmcnn.resnet101-tv'
    assert cfg.model.roi_head.bbox_head.num_classes == 80 and "MMDetection's Faster R-CNN on resnet101-tv" in line


def test_a_resnet_of_style_caffe_is_refused(tmp_path):
    state = mmdet_state('faster_rcnn/faster-rcnn_r50-caffe_fpn_1x_coco.py', 'ResNet')
    meta = {'config': "model = dict(\n    backbone=dict(\n        type='ResNet',\n        style='caffe'))"}
    torch.save(dict(meta=meta, state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r"ResNet with style 'caffe'.* the weights would load but give wrong"):
        found(tmp_path / 'a.pth')
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'a.pth')
    assert "style 'pytorch' of the ResNet" in found(tmp_path / 'a.pth')[2][0]


def test_a_config_of_mmdetection_that_a_run_recorded_is_taken(tmp_path):
    """Its CocoDataset implies COCO's classes if nothing else gives them."""
    theirs = Config.fromfile(Path(mmdet.__file__).parent / '.mim/configs/yolo/yolov3_d53_8xb8-320-273e_coco.py')
    torch.save(dict(meta=dict(cfg=theirs.pretty_text), state_dict={'a': torch.zeros(1)}), tmp_path / 'a.pth')
    cfg, names, (line,) = found(tmp_path / 'a.pth')
    assert cfg.model.backbone.type == 'Darknet' and names == COCO and 'those of its CocoDataset' in line
    theirs.model.bbox_head.num_classes = 3
    torch.save(dict(meta=dict(cfg=theirs.pretty_text), state_dict={'a': torch.zeros(1)}), tmp_path / 'a.pth')
    assert found(tmp_path / 'a.pth')[1:] == ((), [])
    assert found(tmp_path / 'a.pth', 'a,b,c')[1:] == (('a', 'b', 'c'), [])


@pytest.mark.slow
def test_weights_of_ours_that_one_config_holds(tmp_path):
    torch.save(state_of('yolov5_n_small', 3), tmp_path / 'a.pth')
    cfg, _, (line,) = found(tmp_path / 'a.pth', 'a,b,c')
    assert cfg.model.backbone.type == 'mmcnn.cspdarknet-n' and 'fits yolov5_n' in line  # their training differs
    torch.save(state_of('yolov4_cspdarknet53_narrow', 3), tmp_path / 'b.pth')
    assert 'fits yolov4_cspdarknet53_narrow' in found(tmp_path / 'b.pth', 'a,b,c')[2][0]


@pytest.mark.slow
def test_weights_that_two_configs_make_other_boxes_of_are_refused(tmp_path):
    torch.save(state_of('yolov4_cspdarknet53', 3), tmp_path / 'a.pth')
    with pytest.raises(
        CheckpointError,
        match='fit yolov4_cspdarknet53 and yolov4_cspdarknet53_darknet, which produce different boxes',
    ):
        found(tmp_path / 'a.pth', 'a,b,c')


def test_a_file_that_is_no_detector_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr('mmcnn.config.held.likeliest', lambda state: ['resnet18'])
    torch.save({'conv1.weight': torch.zeros(8, 3, 3, 3), 'fc.weight': torch.zeros(10, 8)}, tmp_path / 'a.pth')
    with pytest.raises(
        CheckpointError, match=r'contains no config \(meta.cfg\), and its names and shapes fit no detector'
    ):
        found(tmp_path / 'a.pth')


def test_a_part_of_a_detector_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr('mmcnn.config.held.likeliest', lambda state: [])
    state = {key: value for key, value in state_of('yolov5_n', 3).items() if not key.startswith('neck.down4')}
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='names and shapes fit no detector'):
        found(tmp_path / 'a.pth', 'a,b,c')


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_a_conversion_keeps_config_and_classes(tmp_path, yolov5, ending):
    path, target = tmp_path / 'a.pt', tmp_path / f'b.{ending}'
    said = []
    convert(yolov5.save(yolov5.model('n', nc=3), path), target, 'yolov5_n', num_classes=3, say=said.append)
    cfg, names, lines = found(target)
    assert names == ('thing 0', 'thing 1', 'thing 2') and cfg.model.bbox_head.num_classes == 3 and not lines
    assert cfg.model == found(path)[0].model
    (line,) = said
    assert 'YOLOv5n (v6.0 to v7.0), which fits yolov5_n; its 3 classes have the names in the file' in line


@pytest.mark.parametrize(
    ('network', 'name', 'version'),
    [
        ('yolov3', 'yolov3_darknet53', (0, 2, 0)),
        ('yolov3', 'yolov3_darknet53', (0, 2, 5)),
        ('yolov4', 'yolov4_cspdarknet53_darknet', (0, 2, 5)),
        ('yolov4', 'yolov4_cspdarknet53', (0, 2, 5)),
    ],
)
def test_a_conversion_of_darknets_is_decoded_as_darknet_does(network, name, version, tmp_path):
    path = darknet(tmp_path / 'a.weights', network, 2, version)
    named, source = load_config(name), found(path, 'cat,dog')[0]
    set_num_classes(named.model, 2)
    cfg = config_of_conversion(Checkpoint.open(path), named, [].append)
    assert cfg.model == source.model
    assert cfg.test_dataloader.dataset.pipeline == source.test_dataloader.dataset.pipeline
    assert cfg.test_dataloader.dataset.pipeline != named.test_dataloader.dataset.pipeline


def test_a_conversion_without_a_config_is_refused(tmp_path):
    """Earlier versions wrote such files."""
    torch.save(filled_state('yolov5_n', 3), tmp_path / 'a.pth')
    weights_convert.convert(tmp_path / 'a.pth', tmp_path / 'b.pth', 'yolov5_n', None, 3, load_config('yolov5_n').model)
    with pytest.raises(
        CheckpointError, match=r'b\.pth is a conversion of a\.pth without its config, .* name the config'
    ):
        found(tmp_path / 'b.pth', 'a,b,c')
    named, said = load_config('yolov5_n'), []
    set_num_classes(named.model, 3)
    assert config_of_conversion(Checkpoint.open(tmp_path / 'b.pth'), named, said.append) is None
    assert 'so none is recorded; to detect with them, name one with the anchors' in said[-1]


def test_the_named_config_is_recorded_where_nothing_else_is_known(tmp_path):
    """The weights alone are refused, because two configs would give different boxes."""
    torch.save(state_of('yolov4_cspdarknet53', 3), tmp_path / 'a.pth')
    named = load_config('yolov4_cspdarknet53_darknet')
    set_num_classes(named.model, 3)
    assert config_of_conversion(Checkpoint.open(tmp_path / 'a.pth'), named, [].append) == named


def test_a_config_that_does_not_fit_the_converted_names_is_not_recorded(tmp_path):
    theirs = Config.fromfile(Path(mmdet.__file__).parent / '.mim/configs/yolo/yolov3_d53_8xb8-320-273e_coco.py')
    torch.save(dict(meta=dict(cfg=theirs.pretty_text), state_dict={'a': torch.zeros(1)}), tmp_path / 'a.pth')
    said = []
    assert (
        config_of_conversion(Checkpoint.open(tmp_path / 'a.pth'), load_config('yolov3_darknet53'), said.append) is None
    )
    assert 'has no config that fits the converted weights, so none is recorded' in said[-1]


@pytest.mark.parametrize('prefix', ['model.', 'module.net.'])
def test_weights_of_ours_behind_a_prefix(tmp_path, prefix):
    state = {prefix + key: value for key, value in state_of('yolov5_n', 3).items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    cfg, _, (line,) = found(tmp_path / 'a.pth', 'a,b,c')
    assert cfg.model.bbox_head.num_classes == 3 and 'fits yolov5_n' in line


def test_two_detectors_in_a_file_are_refused(tmp_path):
    own = state_of('yolov5_n', 3)
    state = {f'{prefix}.{key}': value for prefix in ('student', 'teacher') for key, value in own.items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(
        CheckpointError, match=r"with the prefixes 'student\.' and 'teacher\.' .* save one of them separately"
    ):
        found(tmp_path / 'a.pth', 'a,b,c')


def test_what_was_not_read_of_a_file_is_said(tmp_path):
    own = state_of('yolov5_n', 3)
    torch.save(dict(model=own, ema=own), tmp_path / 'a.pth')
    assert "its entry 'model' was used, 'ema' was not" in found(tmp_path / 'a.pth', 'a,b,c')[2][0]


def test_names_and_head_of_a_file_that_contradict_each_other(tmp_path):
    torch.save(
        dict(meta={'dataset_meta': {'classes': ('a', 'b')}}, state_dict=state_of('yolov5_n', 3)), tmp_path / 'a.pth'
    )
    with pytest.raises(CheckpointError, match='names 2 classes, but its head has 3'):
        found(tmp_path / 'a.pth')
