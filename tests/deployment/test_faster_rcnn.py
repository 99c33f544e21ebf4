import copy
import operator
from functools import partial, reduce

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch.nn import functional as F

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.deployment.faster_rcnn import ExportableFasterRCNN, sigmoid
from mmcnn.errors import UsageError
from mmcnn.models.wiring import wire
from mmcnn.registry import MODELS

SLOW = pytest.mark.slow
#: Image sizes on the canvas of 128 x 160 pixels: without padding, padded in both directions, and in one.
SIZES = [(128, 160), (101, 143), (128, 90)]
CANVAS = (128, 160)
HALF = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
ROI_ALIGN = 'roi_head.bbox_roi_extractor.roi_layer'


def config_of(name='faster_rcnn_vgg16', classes=5, options=()):
    """Return a narrow config with some entries of ``model`` changed."""
    model = copy.deepcopy(load_config(name).model)
    model.backbone.update(init_cfg=None, frozen_stages=-1)
    model.backbone.widen_factor = 0.125
    if model.neck.type == 'FPN':
        model.neck.out_channels = 16
    model.rpn_head.feat_channels = 16
    model.roi_head.bbox_head.update(fc_out_channels=32, num_classes=classes)
    model.test_cfg.rpn.update(nms_pre=300, max_per_img=200)
    for path, value in dict(options).items():
        *parents, last = path.split('.')
        reduce(operator.getitem, parents, model)[last] = ConfigDict(value) if isinstance(value, dict) else value
    return model


def built(model):
    """Build the detector with weights that give detections everywhere: scores from 0 to 1, boxes of every size."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        network = MODELS.build(wire(model)).eval()
    head = network.roi_head.bbox_head
    # The RPN's spread must not make scores round to 1: among equal ones torch.topk takes any, ONNX's TopK the first.
    spread = {network.rpn_head.rpn_cls: 1.0, network.rpn_head.rpn_reg: 0.3, head.fc_cls: 1.0, head.fc_reg: 0.5}
    hooks = [
        layer.register_forward_hook(partial(scaled_to, spread.get(layer, 1.0), set()))
        for layer in network.modules()
        if type(layer) in (torch.nn.Conv2d, torch.nn.Linear)
    ]
    predicted(network, draw(CANVAS), CANVAS)
    for hook in hooks:
        hook.remove()
    return network


def folded(model):
    """Fold BatchNorms on both sides, since folding rounds differently, by more than 1e-5 with random weights."""
    return mmcnn.fuse(built(model))


def scaled_to(std, done, layer, inputs, output):
    """Draw the weights of a layer (as its hook) so that its first output has this standard deviation."""
    if done:
        return output
    done.add(True)
    with torch.no_grad():
        layer.weight.normal_()
        if layer.bias is not None:
            layer.bias.zero_()
        output = layer.forward(*inputs)
        layer.weight.mul_(std / output.std())
    return output * std / output.std()


def draw(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, size[0] // 16 + 1, size[1] // 16 + 1, generator=generator)
    return 2 * F.interpolate(coarse, size, mode='bilinear') + torch.randn(1, 3, *size, generator=generator)


def on_canvas(image, canvas, value):
    padded = torch.full((1, 3, *canvas), value)
    padded[..., : image.shape[2], : image.shape[3]] = image
    return padded


def predicted(network, image, canvas):
    """Return MMDetection's detections in an image that is padded like its preprocessor does."""
    size = tuple(image.shape[2:])
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), batch_input_shape=canvas, pad_shape=canvas)
    with torch.no_grad():
        samples = [DetDataSample(metainfo=meta)]
        value = float(network.data_preprocessor.pad_value)
        return network.predict(on_canvas(image, canvas, value), samples, rescale=False)[0].pred_instances


def at_threshold(box, others, threshold):
    """Return whether rounding decides if NMS keeps a box, because its IoU with another one is at the threshold."""
    sides = (torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])).clamp(min=0)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (box, others)]
    both = sides.prod(-1)
    return bool(((both / (areas[0] + areas[1] - both) - threshold).abs() < 1e-6).any())


def assert_matches(run, network, image, canvas, least=1.0):
    """Assert that all of MMDetection's detections above 0.25, and a share ``least`` of all, are found in order.

    Returns:
        the scores of MMDetection's detections.
    """
    size = torch.tensor(image.shape[2:])
    with torch.no_grad():
        # Pixels outside of the image must not matter.
        num, boxes, scores, labels = (each[0] for each in run(on_canvas(image, canvas, 50.0), size))
    expected = predicted(network, image, canvas)
    assert (scores[num:] == -1).all() and (boxes[num:] == -1).all() and (labels[num:] == -1).all()
    assert (scores[:num].diff() <= 0).all()
    found, theirs = (boxes[:num], scores[:num], labels[:num]), (expected.bboxes, expected.scores, expected.labels)
    same = (found[2] == theirs[2][:, None]) & ((found[1] - theirs[1][:, None]).abs() <= 1e-5)
    same &= (found[0] - theirs[0][:, None]).abs().amax(-1) <= 1e-3
    free, missing = torch.ones(len(found[1]), dtype=torch.bool), []
    for row, fits in enumerate(same):
        fits &= free
        if fits.any():
            free[fits.nonzero()[0, 0]] = False
        else:
            missing.append(row)
    threshold, open_ = network.test_cfg.rcnn.nms.iou_threshold, 0
    for rows, one, other in ((missing, theirs, found), (free.nonzero()[:, 0].tolist(), found, theirs)):
        for row in rows:
            open_ += at_threshold(one[0][row], other[0][other[2] == one[2][row]], threshold)
    # Where NMS decides differently, the last of max_per_img differs too.
    assert len(missing) + int(free.sum()) <= (1 - least) * (len(theirs[1]) + len(found[1])) + 2 * open_
    assert sum(theirs[1][row] > 0.25 for row in missing) <= open_
    return expected.scores


@pytest.fixture(scope='module')
def vgg():
    return built(config_of())


class WithSigmoid(torch.nn.Module):
    """A detector, and the sigmoid of the last input: one export of both takes half the time."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, images, im_size, logits):
        return *self.detector(images, im_size), sigmoid(logits)


LOGITS = torch.linspace(-17, 5, 5001)[None]


@pytest.fixture(scope='module')
def vgg_and_sigmoid(exported, vgg):
    inputs = (draw(CANVAS), torch.tensor(SIZES[1]), LOGITS)
    return exported(WithSigmoid(ExportableFasterRCNN(mmcnn.fuse(vgg))), inputs)


@pytest.fixture(scope='module')
def vgg_file(vgg_and_sigmoid):
    return lambda *inputs: vgg_and_sigmoid(*inputs, LOGITS)[:-1]


def test_as_onnx_it_finds_what_mmdetection_finds_on_padded_and_unpadded_images(vgg, vgg_file):
    for seed, size in enumerate(SIZES):
        scores = assert_matches(vgg_file, vgg, draw(size, seed), CANVAS)
        assert len(scores) == 100 and (scores > 0.25).sum() > 20


def test_as_onnx_it_finds_nothing_where_nothing_is(vgg, exported, vgg_file):
    """An image of size 0 gives no proposals; the outputs are filled with -1."""
    num, *rest = vgg_file(torch.zeros(1, 3, *CANVAS), torch.tensor([0, 0]))
    assert num.tolist() == [0] and all((each == -1).all() for each in rest)


#: Settings of a Faster R-CNN that may differ.
OPTIONS = {
    'as it is': {},
    'class-agnostic': {'roi_head.bbox_head.reg_class_agnostic': True},
    'one class': {'roi_head.bbox_head.num_classes': 1},
    'one level': {
        'backbone.out_indices': (4,),
        'neck': None,
        'rpn_head.anchor_generator': dict(type='AnchorGenerator', scales=[2, 4, 8], ratios=[0.5, 1.0, 2.0]),
    },
    'as torchvision': {
        'rpn_head.anchor_generator.type': 'mmcnn.TorchvisionAnchorGenerator',
        ROI_ALIGN: dict(type='RoIAlign', output_size=7, sampling_ratio=2, aligned=False),
    },
    'softmax': {'rpn_head.loss_cls.use_sigmoid': False},
    'coder': {
        'roi_head.bbox_head.bbox_coder': dict(HALF, target_means=[0.1, -0.1, 0.2, 0.0], clip_border=False),
        'rpn_head.bbox_coder': dict(type='DeltaXYWHBBoxCoder', add_ctr_clamp=True, ctr_clamp=3),
    },
    'small boxes': {'test_cfg.rpn.min_bbox_size': 20},
    'no limits': {'test_cfg.rpn.nms_pre': -1, 'test_cfg.rpn.min_bbox_size': -1, 'test_cfg.rcnn.score_thr': 0.0},
    'padding': {'data_preprocessor.pad_value': 3},
    'four convolutions': {'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead'},
}


@pytest.mark.parametrize('name', OPTIONS)
def test_its_settings_are_read_from_the_model(name):
    """Compared without ONNX, by calling the module, whose operators also run in PyTorch."""
    network = built(config_of(options=OPTIONS[name]))
    module = ExportableFasterRCNN(network)
    scores = assert_matches(module, network, draw(SIZES[1], 1), CANVAS)
    assert len(scores) > 10 and (scores > 0.25).any()


@SLOW
@pytest.mark.parametrize('name', ['faster_rcnn_resnet50_fpn', 'faster_rcnn_fpn', 'faster_rcnn_vovnet39'])
def test_configs_as_onnx(exported, name):
    network = folded(config_of(name, classes=20))
    run = exported(ExportableFasterRCNN(network), (draw(CANVAS), torch.tensor(SIZES[1])))
    for seed, size in enumerate(SIZES):
        assert len(assert_matches(run, network, draw(size, seed), CANVAS, least=0.999)) == 100


@SLOW
@pytest.mark.parametrize('name', ['as it is', 'one level', 'as torchvision'])
def test_any_canvas_of_a_multiple_of_32(exported, name):
    """Small ones have fewer anchors than nms_pre and fewer proposals than max_per_img."""
    network = folded(config_of(options=OPTIONS[name]))
    dims = {2: 32 * torch.export.Dim('height', min=1, max=64), 3: 32 * torch.export.Dim('width', min=1, max=64)}
    run = exported(ExportableFasterRCNN(network), (draw(CANVAS), torch.tensor(SIZES[1])), (dims, {}))
    for seed, canvas in enumerate([CANVAS, (64, 64), (256, 96), (32, 32), (320, 416)]):
        for size in (canvas, (canvas[0] - 7, canvas[1] - 19)):
            assert len(assert_matches(run, network, draw(size, seed), canvas, least=0.999))


@SLOW
def test_low_thresholds_and_real_numbers_of_candidates(exported):
    """1,000 anchors per level and 1,000 proposals of 20 classes, at a threshold of 0.001."""
    options = {'test_cfg.rpn.nms_pre': 1000, 'test_cfg.rpn.max_per_img': 1000, 'test_cfg.rcnn.score_thr': 0.001}
    network = folded(config_of('faster_rcnn_resnet50_fpn', classes=20, options=options))
    canvas = (320, 416)
    run = exported(ExportableFasterRCNN(network), (draw(canvas), torch.tensor((300, 400))))
    for seed, size in enumerate([canvas, (300, 416), (311, 401)]):
        assert_matches(run, network, draw(size, seed), canvas, least=0.999)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'rpn_head.bbox_coder.type': 'TBLRBBoxCoder'}, 'rpn_head.bbox_coder is a TBLRBBoxCoder'),
        ({ROI_ALIGN: dict(type='RoIPool', output_size=7)}, 'roi_layer is a RoIPool'),
        ({f'{ROI_ALIGN}.pool_mode': 'max'}, "pool_mode='max'"),
        ({'test_cfg.rcnn.nms.type': 'soft_nms'}, r"test_cfg.rcnn.nms.type='soft_nms'"),
        ({'test_cfg.rpn.nms.class_agnostic': True}, 'test_cfg.rpn.nms has class_agnostic'),
        ({'test_cfg.rcnn.max_per_img': -1}, 'test_cfg.rcnn.max_per_img=-1'),
        ({'roi_head.type': 'DoubleHeadRoIHead', 'roi_head.reg_roi_scale_factor': 1.3}, 'roi_head is a DoubleHead'),
        ({'roi_head.bbox_roi_extractor.type': 'GenericRoIExtractor'}, 'bbox_roi_extractor is a GenericRoIExtractor'),
        ({'roi_head.mask_head': dict(type='FCNMaskHead', in_channels=16, num_classes=5)}, 'mask_head=FCNMaskHead'),
    ],
)
def test_what_it_would_compute_otherwise_is_refused(options, said):
    model = wire(config_of(options=options))
    if 'mask_head' in model.roi_head:
        model.roi_head.mask_roi_extractor = model.roi_head.bbox_roi_extractor
    with DefaultScope.overwrite_default_scope('mmdet'):
        network = MODELS.build(model)
    with pytest.raises(UsageError, match=said):
        ExportableFasterRCNN(network)


def test_other_detectors_are_refused():
    with pytest.raises(UsageError, match='Conv2d cannot be exported'):
        ExportableFasterRCNN(torch.nn.Conv2d(1, 1, 1))


def test_low_scores_of_proposals_keep_their_order(vgg_and_sigmoid):
    """ONNX Runtime's own Sigmoid is wrong by 4 % at -13, so that NMS would keep other proposals."""
    *_, found = vgg_and_sigmoid(draw(CANVAS), torch.tensor(SIZES[1]), LOGITS)
    assert torch.allclose(found.double(), LOGITS.double().sigmoid(), rtol=1e-6, atol=0)
    assert sigmoid(torch.tensor([-200.0, 200.0])).tolist() == [0.0, 1.0]
