import copy
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.models.wiring import set_num_classes, wire
from mmcnn.registry import MODELS
from mmcnn.weights.formats.ultralytics_file import is_ultralytics, read_ultralytics
from mmcnn.weights.loading import load_state, load_weights
from mmcnn.weights.sources.ultralytics import from_ultralytics

CONFIGS = Path(mmcnn.__file__).resolve().parents[1] / 'configs'


def detector(config, num_classes=3, **head):
    model = wire(Config.fromfile(CONFIGS / f'{config}.py').model)
    set_num_classes(model, num_classes)
    model.bbox_head.update(head)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model).eval()


def assert_close(ours, peers):
    """Compare maps, and return the largest difference relative to the largest value of its map."""
    assert len(ours) == len(peers) > 0
    assert [a.shape for a in ours] == [b.shape for b in peers]
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, peers, strict=True))
    assert difference <= 1e-4
    return difference


@pytest.mark.parametrize(
    ('config', 'size', 'focus'),
    [
        ('yolov5_n', 'n', False),
        ('yolov5_s', 's', False),
        ('yolov5_s_focus', 's', True),
        pytest.param('yolov5_m', 'm', False, marks=pytest.mark.slow),
        pytest.param('yolov5_l', 'l', False, marks=pytest.mark.slow),
        pytest.param('yolov5_x', 'x', False, marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_detectors_compute_what_the_files_modules_compute(config, size, focus, yolov5, record_property, tmp_path):
    peer = yolov5.model(size, focus=focus)
    path = yolov5.save(copy.deepcopy(peer).half(), tmp_path / 'yolov5.pt')
    ours = detector(config)
    translation = from_ultralytics(read_ultralytics(path), ours)
    load_state(ours, translation.state)
    anchors = ('model.24.anchors', 'model.24.anchor_grid')[: 1 + focus]
    assert translation.left_out == {'anchors, which the config defines': anchors}
    assert ours.backbone.stage1[0].bn.num_batches_tracked == 7

    x = torch.rand(2, 3, 64, 96)
    maps = peer.maps(x)
    assert_close(ours.backbone(x), [maps[4], maps[6], maps[9]])
    (logits,) = ours.bbox_head(ours.neck(ours.backbone(x)))
    difference = assert_close(logits, maps[24])
    record_property('parity', (config, f'ultralytics yolov5{size}{" with Focus" * focus}', '.pt', difference))
    every = dict(score_thr=-1.0, multi_label=False, nms_pre=10**6)
    found = ours.bbox_head.predict_by_feat(logits, [dict(img_shape=(64, 96))] * 2, cfg=every, with_nms=False)
    for boxes, result in zip(peer.boxes(maps[24]), found, strict=True):
        x1y1, x2y2 = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2
        limit = torch.tensor([96.0, 64.0])
        expected = torch.cat([x1y1.clamp(min=0).minimum(limit), x2y2.clamp(min=0).minimum(limit)], 1)
        scores, labels = (boxes[:, 4:5] * boxes[:, 5:]).max(1)
        assert_close([result.bboxes, result.scores], [expected, scores])
        assert (result.labels == labels).float().mean() > 0.99  # rounding may break ties differently


@pytest.mark.parametrize(
    ('variant', 'size', 'focus'), [('cspdarknet-n', 'n', False), ('cspdarknet-focus-s', 's', True)]
)
@torch.no_grad()
def test_bare_trunks(variant, size, focus, yolov5, record_property, tmp_path):
    peer = yolov5.model(size, focus=focus)
    file = read_ultralytics(yolov5.save(peer, tmp_path / 'yolov5.pt'))
    ours = mmcnn.build_backbone(variant).eval()
    translation = from_ultralytics(file, ours)
    load_state(ours, translation.state)
    ((reason, keys),) = translation.left_out.items()
    assert reason == 'neck and head of the detector'
    assert {int(key.split('.')[1]) for key in keys} == {10, 13, 14, 17, 18, 20, 21, 23, 24}
    x = torch.rand(1, 3, 64, 64)
    maps = peer.maps(x)
    difference = assert_close(ours(x), [maps[2], maps[4], maps[6], maps[9]])
    record_property('parity', (variant, f'ultralytics yolov5{size}{" with Focus" * focus}', '.pt', difference))


@torch.no_grad()
def test_files_are_recognised_and_loaded(yolov5, tmp_path):
    peer = yolov5.model('n')
    path = yolov5.save(copy.deepcopy(peer).half(), tmp_path / 'yolov5.pt')
    ours = detector('yolov5_n')
    report = load_weights(ours, path)
    assert report.source == 'ultralytics' and not report.missing and len(report.used) == 57 * 5 + 6
    assert report.left_out == {'anchors, which the config defines': ('model.24.anchors',)}
    assert report.notes[0] == 'an ultralytics file'
    x = torch.rand(1, 3, 64, 64)
    assert_close(ours.bbox_head(ours.neck(ours.backbone(x)))[0], peer.maps(x)[24])

    trunk = mmcnn.build_backbone('cspdarknet-n', out_indices=(2, 4)).eval()
    report = load_weights(trunk, path)
    assert set(report.left_out) == {'neck and head of the detector', 'stages that are not built'}
    assert_close(trunk(x), [peer.maps(x)[2], peer.maps(x)[6]])


@pytest.mark.parametrize(
    ('size', 'focus'),
    [(size, focus) for size in 'nsmlx' for focus in (False, True) if (size, focus) != ('n', True)],  # never published
)
def test_every_size_fits_entry_by_entry(size, focus, yolov5):
    """Compare names and shapes on the meta device."""
    with torch.device('meta'):
        state = yolov5.Model(size, focus=focus).state_dict()
        ours = mmcnn.build_backbone(f'cspdarknet-{"focus-" * focus}{size}')
    state['model.24.anchors'] = torch.rand(3, 3, 2)
    fitting = from_ultralytics(state, ours).state
    assert {key: value.shape for key, value in fitting.items()} == {k: v.shape for k, v in ours.state_dict().items()}


def test_the_reference_tables_focus_form_was_never_published(yolov5):
    with torch.device('meta'):
        state = yolov5.Model('l', focus=True).state_dict()
        ours = mmcnn.build_backbone('cspdarknet53-focus')
    state['model.24.anchors'] = torch.rand(3, 3, 2)
    with pytest.raises(
        CheckpointError, match=r'C3 layers of \[3, 9, 9, 3\] .*, but the model has 64 and \[3, 6, 9, 3\]$'
    ):
        from_ultralytics(state, ours)


def test_what_a_file_says(yolov5, tmp_path):
    peer = yolov5.model('n', nc=4)
    file = read_ultralytics(yolov5.save(copy.deepcopy(peer).half(), tmp_path / 'yolov5.pt'))
    assert (file.form, file.num_classes, file.strides) == ('v6', 4, (8, 16, 32))
    assert file.classes == ('thing 0', 'thing 1', 'thing 2', 'thing 3')
    assert file.anchors[0] == ((10, 13), (16, 30), (33, 23)) and file.anchors[2][2] == (373, 326)
    assert (file.eps, file.activations) == ((1e-3,), ('SiLU',))
    expected = peer.state_dict()
    assert file.state.keys() == expected.keys()
    for key, value in expected.items():
        assert file.state[key].dtype == value.dtype and torch.equal(file.state[key], value), key


def test_averaged_weights_go_first(yolov5, tmp_path):
    raw, averaged = yolov5.model('n'), yolov5.model('n')
    file = read_ultralytics(yolov5.save(raw, tmp_path / 'last.pt', ema=averaged))
    assert torch.equal(file.state['model.0.conv.weight'], averaged.model[0].conv.weight)
    file = read_ultralytics(yolov5.save(raw, tmp_path / 'last.pt'))
    assert torch.equal(file.state['model.0.conv.weight'], raw.model[0].conv.weight)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_other_forms_of_the_same_file(yolov5, tmp_path):
    peer = yolov5.model('s', focus=True)
    expected = peer.state_dict()
    old = yolov5.save(peer, tmp_path / 'old.pt', zipped=False)  # the format before zip archives
    torch.save(expected, tmp_path / 'state.pt')
    torch.save({'model': peer.half().state_dict()}, tmp_path / 'half.pt')
    for path in (old, tmp_path / 'state.pt', tmp_path / 'half.pt'):
        file = read_ultralytics(path)
        assert file.form == 'focus' and file.num_classes == 3
        assert all(torch.equal(file.state[key], value) for key, value in expected.items())
    assert file.classes == file.activations == file.eps == ()  # only files of modules record these
    ours = detector('yolov5_s_focus')
    load_state(ours, from_ultralytics(file.state, ours).state)  # what another reader returns
    assert torch.equal(ours.backbone.stem[1].conv.weight, expected['model.0.conv.conv.weight'])


def test_no_class_is_imported(yolov5, tmp_path):
    path = yolov5.save(yolov5.model('n'), tmp_path / 'yolov5.pt')
    assert not {'models', 'models.yolo', 'models.common'} & sys.modules.keys()
    read_ultralytics(path)
    assert not {'models', 'models.yolo', 'models.common'} & sys.modules.keys()


def test_another_number_of_classes_shows_in_the_head_only(yolov5, tmp_path):
    file = read_ultralytics(yolov5.save(yolov5.model('n', nc=5), tmp_path / 'yolov5.pt'))
    ours = detector('yolov5_n')
    report = load_state(ours, from_ultralytics(file, ours).state, allow_mismatch=('bbox_head.predictions.',))
    assert {key for key, *_ in report.mismatched} == {
        f'bbox_head.predictions.{level}.{kind}' for level in range(3) for kind in ('weight', 'bias')
    }


def test_recognised_by_names():
    assert is_ultralytics(['collections.OrderedDict', 'models.yolo.DetectionModel'])
    assert is_ultralytics(['ultralytics.nn.tasks.DetectionModel'])
    assert is_ultralytics(['model.0.conv.weight']) and is_ultralytics(['model.0.conv.conv.weight'])
    assert not is_ultralytics(
        ['torch.FloatStorage', 'model.0.conv1.weight', 'backbone.model.0.conv.weight', 'mymodels.yolo.X']
    )


# -------------------------------------------------------------------------------------------------------- refusals


def test_other_anchors(yolov5, tmp_path):
    peer = yolov5.model('n')
    peer.model[24].anchors[0, 0] += 0.125  # one pixel
    file = read_ultralytics(yolov5.save(peer, tmp_path / 'yolov5.pt'))
    with pytest.raises(
        CheckpointError, match=r'has the anchors \(11x14, 16x30, 33x23\) .* the model has \(10x13, 16x30, 33x23\)'
    ):
        from_ultralytics(file, detector('yolov5_n'))
    own = [[(11, 14), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)], [(116, 90), (156, 198), (373, 326)]]
    from_ultralytics(file, detector('yolov5_n', anchors=own))
    from_ultralytics(file, mmcnn.build_backbone('cspdarknet-n'))  # a backbone has no anchors


def set_eps(peer):
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5


def set_activation(peer):
    peer.model[3].act = nn.LeakyReLU(0.1)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (set_eps, r"has BatchNorm's eps 1e-05, but the model has 0\.001$"),
        (set_activation, r'has the activation LeakyReLU and SiLU, but the model has SiLU$'),
    ],
)
def test_what_no_shape_shows(change, message, yolov5, tmp_path):
    peer = yolov5.model('n')
    change(peer)
    file = read_ultralytics(yolov5.save(peer, tmp_path / 'yolov5.pt'))
    for ours in (detector('yolov5_n'), mmcnn.build_backbone('cspdarknet-n')):
        with pytest.raises(CheckpointError, match=message):
            from_ultralytics(file, ours)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: detector('yolov5_s'), r'another size of YOLOv5: it has 16 initial channels .* the model has 32 and'),
        (lambda: detector('yolov5_s_focus'), r'YOLOv5 for a CSPDarknetV6.* is a CSPDarknetFocus and YOLOv5PAFPN'),
        (lambda: detector('yolov4_cspdarknet53_narrow'), r'the model is a CSPDarknet and YOLOv4PAN'),
        (lambda: mmcnn.build_backbone('darknet53', widen_factor=0.1), r'the model is a Darknet$'),
        (
            lambda: mmcnn.build_backbone('cspdarknet-n', deepen_factor=2),
            r'bottlenecks, but the model has 16 and \[2, 4, 6',
        ),
    ],
)
def test_models_that_do_not_fit(build, message, yolov5, tmp_path):
    path = yolov5.save(yolov5.model('n'), tmp_path / 'yolov5.pt')
    with pytest.raises(CheckpointError, match=message) as error:
        from_ultralytics(read_ultralytics(path), build())
    assert str(path) in str(error.value)


def without_head(model):
    model.model = model.model[:24]


def contain_itself(model):
    model.model[0].act.itself = model.model[0]


def contain_itself_twice(model):
    model.model[0].act.first = model.model[0].act.second = model.model[0]


def no_tensor(model):
    model.model[0].conv._parameters['weight'] = 'text'


def other_strides(model):
    model.model[24].stride = torch.tensor([8.0, 16.0, float('nan')])


def other_anchors(model):
    model.model[24].anchors = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ('renamed', 'change', 'message'),
    [
        (
            {'Model': 'ultralytics.nn.tasks:DetectionModel'},
            None,
            r'holds a ultralytics\.nn\.tasks\.DetectionModel \(YOLOv8 or later\)',
        ),
        ({'C3': 'models.common:BottleneckCSP'}, None, r'before v4\.0 \(BottleneckCSP layers\)'),
        ({'Detect': 'models.yolo:Segment'}, None, r'layer 24 of its models\.yolo\.Model is Segment, not Detect'),
        ({'C3': 'models.common:C3TR'}, None, r'layer 23 of its models\.yolo\.Model is C3TR, not C3'),
        ({'SPPF': 'models.common:SPP'}, None, r'layer 9 of its models\.yolo\.Model is SPP, not SPPF'),
        ({}, without_head, r'layer 24 of its models\.yolo\.Model is not there, not Detect'),
        ({}, contain_itself, 'its modules contain each other'),
        ({}, contain_itself_twice, 'its modules contain each other'),
        ({}, no_tensor, r"its 'model\.0\.conv\.weight' is not a plain tensor"),
        ({}, other_strides, r'its strides are not \(8, 16, 32\)'),
        ({}, other_anchors, r'its anchors have the shape \(3, 3\), not \(3, n, 2\)'),
    ],
)
def test_other_networks_are_refused(renamed, change, message, yolov5, tmp_path):
    peer = yolov5.model('n')
    if change:
        change(peer)
    names = {getattr(yolov5, name): new for name, new in renamed.items()}
    path = yolov5.save(peer, tmp_path / 'yolov5.pt', renamed=names)
    with pytest.raises(CheckpointError, match=rf'^{re.escape(str(path))} was rejected: .*{message}') as error:
        read_ultralytics(path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'epoch': 1}, 'neither a module nor a state dict'),
        ([torch.ones(1)], 'neither a module nor a state dict'),
        ({'model': {'a': torch.ones(1)}}, r'does not have the entries of a YOLOv5 detector'),
        ({'model': nn.Linear(1, 1)}, r'layer 24 of its torch\.nn\.modules\.linear\.Linear is not there'),
        ({'model': torch.nn.Conv2d}, 'is not a module'),
    ],
)
def test_other_content(content, message, tmp_path):
    torch.save(content, tmp_path / 'x.pt')
    with pytest.raises(CheckpointError, match=message):
        read_ultralytics(tmp_path / 'x.pt')


def test_state_dict_of_the_oldest_form(yolov5, tmp_path):
    state = yolov5.model('n').state_dict() | {'model.2.cv4.conv.weight': torch.ones(1)}
    torch.save(state, tmp_path / 'x.pt')
    with pytest.raises(CheckpointError, match=r'before v4\.0'):
        read_ultralytics(tmp_path / 'x.pt')
