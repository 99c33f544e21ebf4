import copy
import importlib
import math

import pytest
import torch
from mmengine.runner import get_state_dict
from mmengine.structures import InstanceData

import mmcnn
from mmcnn.models.dense_heads import YOLOHead, yolo_head
from mmcnn.models.losses import YOLOMeanLoss
from mmcnn.models.task_modules import ShapeIoUAssigner, host_device

nms_module = importlib.import_module('mmcnn.ops.nms')

V5 = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)], [(116, 90), (156, 198), (373, 326)]]


def head(classes=3, channels=(8, 16, 32), **settings):
    torch.manual_seed(0)
    return YOLOHead(classes, channels, anchors=V5, strides=(8, 16, 32), **settings)


def features(images=2, size=(64, 96), channels=(8, 16, 32)):
    return [torch.randn(images, c, size[0] // s, size[1] // s) for c, s in zip(channels, (8, 16, 32), strict=True)]


def objects(boxes, labels):
    return InstanceData(bboxes=torch.tensor(boxes).view(-1, 4), labels=torch.tensor(labels, dtype=torch.long))


def test_published_count_and_layout():
    with torch.device('meta'):
        yolov4 = head(80, (128, 256, 512))
        (logits,) = yolov4(features(2, (320, 320), (128, 256, 512)))
    assert mmcnn.count_parameters(yolov4)[1] == 6_654_461
    assert [tuple(x.shape) for x in logits] == [(2, 255, 40, 40), (2, 255, 20, 20), (2, 255, 10, 10)]


def test_prior_of_the_biases_is_added_once_however_often():
    """YOLOv5's values at 80 classes, added to PyTorch's default bias."""
    expected = [(-6.684612, -4.880274), (-5.298317, -4.880274), (-3.912023, -4.880274)]
    it = head(80)
    it.init_weights()
    it.init_weights()
    for conv, (objectness, cls) in zip(it.predictions, expected, strict=True):
        bias = conv.bias.detach().view(3, 85)
        bound = 1 / math.sqrt(conv.in_channels)
        assert (bias[:, :4].abs() <= bound).all()
        assert ((bias[:, 4] - objectness).abs() <= bound + 1e-5).all()
        assert ((bias[:, 5:] - cls).abs() <= bound + 1e-5).all()
        assert bias[:, 5:].std() > bound / 4  # added to the default, not set


def test_empty_and_unmatched_images_train_every_parameter():
    it = head()
    it.init_weights()
    for truth in (
        [objects([], []), objects([], [])],
        [objects([[10.0, 10.0, 12.0, 60.0]], [1]), objects([], [])],  # 2 x 50 matches no anchor
    ):
        it.zero_grad()
        losses = it.loss_by_feat(*it(features()), truth, [{}, {}])
        total = sum(losses.values())
        total.backward()
        assert total.isfinite()
        assert [n for n, p in it.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_order_of_images_does_not_matter():
    it = head().eval()
    maps = features()
    truth = [
        objects([[8.0, 8.0, 30.0, 30.0], [20.0, 5.0, 60.0, 50.0]], [0, 2]),
        objects([[40.0, 10.0, 90.0, 60.0]], [1]),
    ]
    one = it.loss_by_feat(*it(maps), truth, [{}, {}])
    other = it.loss_by_feat(*it([m.flip(0) for m in maps]), truth[::-1], [{}, {}])
    for key in one:
        torch.testing.assert_close(one[key], other[key])


def test_crowd_boxes_are_not_trained_on():
    from mmdet.structures import DetDataSample

    def sample(crowd):
        data = DetDataSample(metainfo=dict(img_shape=(64, 96)))
        data.gt_instances = objects([[8.0, 8.0, 30.0, 30.0]], [0])
        data.ignored_instances = objects([[0.0, 0.0, 60.0, 60.0]] if crowd else [], [1] if crowd else [])
        return data

    it, maps = head().eval(), features(1)
    with_crowd, without = it.loss(maps, [sample(True)]), it.loss(maps, [sample(False)])
    assert all(torch.equal(with_crowd[k], without[k]) for k in without)


def test_labels_beyond_the_classes_are_named():
    it = head(2)
    with pytest.raises(ValueError, match='labels from 2 to 2, but num_classes=2'):
        it.loss_by_feat(*it(features(1)), [objects([[8.0, 8.0, 30.0, 30.0]], [2])], [{}])


def logits_for(level, anchor, row, column, values, classes=3, size=(64, 96)):
    """Maps that find nothing except in one slot."""
    maps = [torch.full((1, 3 * (5 + classes), size[0] // s, size[1] // s), -20.0) for s in (8, 16, 32)]
    for channel, value in enumerate(values):
        maps[level][0, anchor * (5 + classes) + channel, row, column] = value
    return maps


def test_one_slot_to_one_box_in_the_original_image():
    """Row 2, column 3 at stride 16, anchor (62, 45), box logits 0: centre (56, 40) and the anchor's size."""
    maps = logits_for(1, 1, 2, 3, (0, 0, 0, 0, 3.0, -20.0, 1.0, -20.0))
    meta = dict(img_shape=(64, 96), ori_shape=(300, 500), scale_factor=(0.25, 0.2), pad_param=(8, 4))
    it = head()
    (found,) = it.predict_by_feat(maps, [meta])
    torch.testing.assert_close(found.bboxes, torch.tensor([[25.0, 17.5, 87.0, 62.5]]))
    sigmoid = [1 / (1 + math.exp(-x)) for x in (3.0, 1.0)]
    assert found.scores.item() == pytest.approx(sigmoid[0] * sigmoid[1]) and found.labels.tolist() == [1]
    (placed,) = it.predict_by_feat(maps, [meta], rescale=True)
    expected = [(25 - 4) / 0.25, (17.5 - 8) / 0.2, (87 - 4) / 0.25, (62.5 - 8) / 0.2]
    torch.testing.assert_close(placed.bboxes, torch.tensor([expected]))


def test_boxes_are_clipped_to_the_original_image():
    maps = logits_for(2, 2, 0, 0, (0, 0, 0, 0, 3.0, 3.0, -20.0, -20.0))
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))
    (found,) = head().predict_by_feat(maps, [meta], rescale=True)
    assert found.bboxes.tolist() == [[0.0, 0.0, 96.0, 64.0]]


def test_sizes_that_overflow_are_clipped_and_suppress_nothing_by_accident():
    """Without a bound, as in Darknet, a box of e^200 anchors covers the image; the small one inside it is kept."""
    maps = logits_for(2, 2, 0, 0, (0, 0, 200.0, 200.0, 3.0, 3.0, -20.0, -20.0))
    small = logits_for(0, 0, 1, 1, (0, 0, 0, 0, 2.0, 3.0, -20.0, -20.0))
    maps[0] = small[0]
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))
    it = head(bbox_coder=dict(type='mmcnn.YOLOGridCoder', scale_xy=(1.2, 1.1, 1.05), size='exp', max_exp=None))
    (found,) = it.predict_by_feat(maps, [meta], rescale=True)
    assert found.bboxes.tolist() == [[0.0, 0.0, 96.0, 64.0], [7.0, 5.5, 17.0, 18.5]]


def test_several_classes_of_one_box():
    maps = logits_for(0, 0, 1, 1, (0, 0, 0, 0, 3.0, 2.0, 1.0, -20.0))
    meta = [dict(img_shape=(64, 96))]
    many = head().predict_by_feat(maps, meta)[0]
    assert many.labels.tolist() == [0, 1] and many.scores[0] > many.scores[1]
    one = head(test_cfg=dict(multi_label=False)).predict_by_feat(maps, meta)[0]
    assert one.labels.tolist() == [0]


def test_kinds_of_nms_and_limits():
    """Two boxes of one class have IoU 0.6667 and rho**2 / c**2 = 0.0164: only Darknet's NMS keeps both at 0.6."""
    it = head()
    boxes = [(50.0, 50.0, 100.0, 100.0), (70.0, 50.0, 100.0, 100.0)]

    class Fixed(torch.nn.Module):
        def boxes(self):
            return torch.tensor(boxes).view(1, 1, 1, 2, 4)

        maps = torch.tensor([[4.0, 4.0, -9.0, -9.0], [3.0, 4.0, -9.0, -9.0]]).view(1, 1, 1, 2, 4)
        maps = torch.cat([torch.zeros(1, 1, 1, 2, 4), maps], -1)

    it._outputs = lambda logits: [Fixed()]
    meta = [dict(img_shape=(200, 200))]
    kept = {
        kind: len(it.predict_by_feat([], meta, cfg=dict(nms=dict(type=kind, iou_threshold=0.6), score_thr=0.1))[0])
        for kind in ('iou', 'greedy_diou', 'diou')
    }
    assert kept == {'iou': 1, 'greedy_diou': 2, 'diou': 1}
    cfg = dict(nms=dict(type='greedy_diou', iou_threshold=0.6), score_thr=0.1)
    (best,) = it.predict_by_feat([], meta, cfg=dict(cfg, max_per_img=1))
    assert best.bboxes.tolist() == [[0.0, 0.0, 100.0, 100.0]]
    (only,) = it.predict_by_feat([], meta, cfg=dict(cfg, nms_pre=1))
    assert only.bboxes.tolist() == best.bboxes.tolist()


def test_nothing_found():
    maps = [torch.full((1, 24, 64 // s, 96 // s), -20.0) for s in (8, 16, 32)]
    meta = [dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))]
    (found,) = head().predict_by_feat(maps, meta, rescale=True)
    assert found.bboxes.shape == (0, 4) and found.scores.shape == found.labels.shape == (0,)


def test_darknets_assigner_is_a_setting():
    it = head(train_cfg=dict(assigner=dict(type='mmcnn.ShapeIoUAssigner')))
    assert isinstance(it.assigner, ShapeIoUAssigner)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(num_classes=0), 'num_classes=0 must be at least 1'),
        (dict(strides=(8, 16)), 'one entry per level, got 3, 3 and 2'),
    ],
)
def test_errors(settings, words):
    arguments = dict(num_classes=3, in_channels=(8, 16, 32), anchors=V5, strides=(8, 16, 32))
    with pytest.raises(ValueError, match=words):
        YOLOHead(**{**arguments, **settings})


def random_batch(images=3, size=(64, 96)):
    torch.manual_seed(1)
    maps = [torch.randn(images, 24, size[0] // s, size[1] // s) for s in (8, 16, 32)]
    maps[0][1] = maps[1][1] = maps[2][1] = -20.0  # nothing is found in this image
    return maps, [dict(img_shape=size, ori_shape=(50, 60 + i), scale_factor=(1.5, 1.2)) for i in range(images)]


@pytest.mark.parametrize(
    'cfg',
    [
        dict(score_thr=0.1),
        dict(score_thr=0.1, nms_pre=50),
        dict(multi_label=False, max_per_img=7),
        dict(nms=dict(type='greedy_diou', iou_threshold=0.5)),
        dict(with_nms=False),
        dict(with_nms=False, nms_pre=50),
    ],
    ids=str,
)
def test_a_batch_on_a_gpu_is_predicted_as_on_the_cpu(cfg, monkeypatch):
    maps, metas = random_batch()
    with_nms = cfg.pop('with_nms', True)

    def predicted():
        found = head().predict_by_feat(maps, metas, cfg=cfg, rescale=True, with_nms=with_nms)
        return [{key: value.tolist() for key, value in each.items()} for each in found]

    expected = predicted()
    assert [len(each['scores']) > 5 for each in expected] == [True, False, True]
    calls = []
    on_device = nms_module._on_device
    monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
    monkeypatch.setattr(nms_module, '_of_images', lambda *args: calls.append(0) or on_device(*args))
    assert predicted() == expected and len(calls) == with_nms


def test_wrong_labels_on_a_gpu_are_refused_before_a_checkpoint(monkeypatch):
    monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda self: self)
    it = torch.nn.Sequential(head(2))
    losses = it[0].loss_by_feat(*it[0](features(1)), [objects([[8.0, 8.0, 30.0, 30.0]], [2])], [{}])
    assert all(value.isfinite() for value in losses.values())
    copied = copy.deepcopy(it)
    assert get_state_dict(copied).keys() == copied.state_dict().keys()  # the copy checks nothing
    with pytest.raises(ValueError, match='labels from 2 to 2, but num_classes=2'):
        get_state_dict(it)  # as when a checkpoint is written


class Counting(YOLOMeanLoss):
    """A user's loss that takes every target for a positive."""

    def forward(self, outputs, targets, ground_truth):
        return dict(loss_bbox=sum(len(level.labels) for level in targets))


def test_a_loss_that_does_not_know_of_valid_gets_positives_only(way, monkeypatch):
    """On a device the targets include all pairs that might be positive."""
    it = head()
    monkeypatch.setattr(it.label_range, 'check', lambda labels: None)  # it needs a device
    truth = [objects([[10.0, 10.0, 30.0, 40.0]], [1]), objects([[5.0, 5.0, 60.0, 50.0], [0.0, 0.0, 3.0, 3.0]], [0, 2])]
    (logits,) = it(features())
    expected = it.loss_by_feat(logits, truth, [{}] * 2)
    seen = []
    it.criterion.register_forward_pre_hook(lambda _, args: seen.extend(args[1]))
    it.loss_by_feat(logits, truth, [{}] * 2)
    positives = sum(len(level.labels) if level.valid is None else int(level.valid.sum()) for level in seen)
    assert positives > 0 and (way == 'host') == (positives == sum(len(level.labels) for level in seen))
    it.criterion = Counting()
    assert it.loss_by_feat(logits, truth, [{}] * 2) == dict(loss_bbox=positives)
    it.criterion = YOLOMeanLoss()
    assert all(torch.equal(value, expected[name]) for name, value in it.loss_by_feat(logits, truth, [{}] * 2).items())


def test_gradients_of_maps_in_channels_last_are_the_same_and_contiguous(monkeypatch):
    it, seen, losses = head(), {}, {}
    truth = [objects([[4.0, 5, 40, 50], [30, 9, 60, 33]], [1, 2]), objects([[10.0, 10, 20, 20]], [0])]
    ways = {'as it is': yolo_head._by_slot, 'plain': lambda maps, a: maps.unflatten(1, (a, -1)).permute(0, 1, 3, 4, 2)}
    for way, by_slot in ways.items():
        monkeypatch.setattr(yolo_head, '_by_slot', by_slot)
        torch.manual_seed(1)
        maps = [torch.randn(2, 24, 64 // s, 96 // s).to(memory_format=torch.channels_last) for s in (8, 16, 32)]
        for x in maps:
            x.requires_grad_().register_hook(seen.setdefault(way, []).append)
        losses[way] = it.loss_by_feat(maps, truth, [{}, {}])
        sum(losses[way].values()).backward()
    assert losses['as it is'] == losses['plain']
    for ours, plain in zip(seen['as it is'], seen['plain'], strict=True):
        assert torch.equal(ours, plain) and ours.any()
        assert ours.is_contiguous(memory_format=torch.channels_last)
        assert not plain.is_contiguous(memory_format=torch.channels_last)
