import math

import pytest
import torch

from mmcnn.models.losses import DarknetLoss, YOLOMeanLoss
from mmcnn.models.task_modules import LevelOutput, RatioAssigner, ShapeIoUAssigner, YOLOGridCoder

V5 = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)], [(116, 90), (156, 198), (373, 326)]]
STRIDES = (8, 16, 32)
#: YOLOv5's gains for low augmentation, with a batch of one.
LOW = dict(box_gain=0.05, obj_gain=1.0, cls_gain=0.5, obj_by_area=True, nominal_batch_size=1)


def outputs(images=1, classes=80, size=640, fill=0.0, coder=None, dtype=torch.float64):
    levels = []
    for level, (stride, anchors) in enumerate(zip(STRIDES, V5, strict=True)):
        maps = torch.full((images, 3, size // stride, size // stride, 5 + classes), fill, dtype=dtype)
        anchors = torch.tensor(anchors, dtype=dtype)
        levels.append(LevelOutput(maps.requires_grad_(), anchors, stride, level, coder or YOLOGridCoder()))
    return levels


def assigned(levels, boxes, labels, image, assigner=None):
    sizes = [tuple(level.maps.shape[2:4]) for level in levels]
    boxes = torch.tensor(boxes, dtype=levels[0].maps.dtype).view(-1, 4)
    return (assigner or RatioAssigner()).assign(
        boxes, torch.tensor(labels).long(), torch.tensor(image).long(), [x.anchors for x in levels], STRIDES, sizes
    )


def test_without_objects():
    levels = outputs()
    losses = YOLOMeanLoss(**LOW)(levels, assigned(levels, [], [], []), None)
    assert sum(losses.values()).item() == pytest.approx(math.log(2) * 5.4, abs=1e-6)
    sum(losses.values()).backward()
    assert all(level.maps.grad is not None and level.maps.grad.isfinite().all() for level in levels)


def test_prior_of_the_biases():
    levels = outputs()
    for level, expected in zip(levels, (0.00124922, 0.00498754, 0.01980263), strict=True):
        with torch.no_grad():
            level.maps[..., 4] = math.log(8 / (640 / level.stride) ** 2)
        alone = torch.nn.functional.softplus(level.maps[..., 4]).mean()
        assert alone.item() == pytest.approx(expected, abs=1e-7)
    losses = YOLOMeanLoss(**LOW)(levels, assigned(levels, [], [], []), None)
    assert losses['loss_obj'].item() == pytest.approx(0.01790547, abs=1e-7)


def test_one_object():
    levels = outputs()
    targets = assigned(levels, [(321, 203, 60, 90)], [5], [0])
    assert [len(t.image) for t in targets] == [6, 9, 6]
    losses = YOLOMeanLoss(**LOW)(levels, targets, None)
    assert losses['loss_bbox'].item() == pytest.approx(0.1082908, abs=1e-5)
    assert losses['loss_obj'].item() == pytest.approx(3.742995, abs=1e-5)
    assert losses['loss_cls'].item() == pytest.approx(1.0397208, abs=1e-5)
    assert sum(losses.values()).item() == pytest.approx(4.8910063, abs=1e-5)


def test_objectness_target_is_the_detached_ciou():
    levels = outputs()
    targets = assigned(levels, [(321, 203, 60, 90)], [5], [0])
    YOLOMeanLoss(**{**LOW, 'box_gain': 0.0})(levels, targets, None)['loss_obj'].backward()
    # d BCE(0, target) / d logit = 0.5 - target; the loss is the mean over the level's slots times its weight.
    gradient = levels[0].maps.grad[..., 4] * 80 * 80 * 3 / 4
    slots = (targets[0].image, targets[0].anchor, targets[0].row, targets[0].column)
    assert (1 - (0.5 - gradient[slots])).mean().item() == pytest.approx(0.8897200, abs=1e-6)
    others = torch.ones_like(gradient, dtype=torch.bool)
    others[slots] = False
    assert torch.allclose(gradient[others], torch.tensor(0.5, dtype=gradient.dtype))
    assert levels[0].maps.grad[..., :4].abs().max() == 0  # objectness has no gradient to the box


DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'))]


@pytest.mark.parametrize('device', DEVICES)
def test_of_objects_in_one_slot_the_last_one_is_the_objectness_target(device):
    """An ordinary indexed write on a GPU would keep any of them."""
    widths = [40 + i % 37 for i in range(300)] + [33]
    with torch.device(device):
        levels = outputs()
    boxes = torch.tensor([(321, 203, width, 90) for width in widths], dtype=torch.float64, device=device)
    labels = torch.zeros(len(widths), dtype=torch.long, device=device)
    anchors, sizes = [x.anchors for x in levels], [tuple(level.maps.shape[2:4]) for level in levels]
    targets = RatioAssigner().assign(boxes, labels, labels, anchors, STRIDES, sizes)
    YOLOMeanLoss(**LOW)(levels, targets, None)['loss_obj'].backward()
    alone = outputs()
    single = assigned(alone, [(321, 203, 33, 90)], [0], [0])
    YOLOMeanLoss(**LOW)(alone, single, None)['loss_obj'].backward()
    target = single[1]
    slots = (target.image, target.anchor, target.row, target.column)
    assert len(target.image)
    torch.testing.assert_close(levels[1].maps.grad[slots].cpu()[:, 4], alone[1].maps.grad[slots][:, 4])


def test_one_class_has_no_class_loss_but_a_gradient():
    levels = outputs(classes=1)
    losses = YOLOMeanLoss(**LOW)(levels, assigned(levels, [(321, 203, 60, 90)], [0], [0]), None)
    assert losses['loss_cls'].item() == 0
    sum(losses.values()).backward()
    assert levels[0].maps.grad is not None


def test_settings_scale_what_they_say():
    levels = outputs(classes=20, size=320)
    targets = assigned(levels, [(161, 101, 60, 90)], [5], [0])
    small = YOLOMeanLoss(**LOW)(levels, targets, None)
    fixed = YOLOMeanLoss(**{**LOW, 'obj_by_area': False})(levels, targets, None)
    nominal = YOLOMeanLoss(**{**LOW, 'nominal_batch_size': 64})(levels, targets, None)
    assert (fixed['loss_obj'] / small['loss_obj']).item() == pytest.approx(4)
    assert small['loss_cls'].item() == pytest.approx(3 * math.log(2) * 0.5 * 20 / 80)
    assert all((nominal[k] / small[k]).item() == pytest.approx(64) for k in small)
    with pytest.raises(ValueError, match='3 weights, one per level'):
        YOLOMeanLoss(level_balance=(1.0, 1.0))(levels, targets, None)


def test_accumulated_micro_batches_equal_the_batch():
    """The mean over 4 x 16 images against 64 at once; every micro-batch has the same positives."""
    torch.manual_seed(3)
    maps = [torch.randn(64, 3, 64 // s, 64 // s, 9, dtype=torch.float64) for s in STRIDES]
    box, label = (33.0, 21.0, 20.0, 25.0), 2

    def gradients(parts):
        whole = [m.clone().requires_grad_() for m in maps]
        for part in range(parts):
            cut = slice(part * 64 // parts, (part + 1) * 64 // parts)
            levels = [
                LevelOutput(w[cut], torch.tensor(a, dtype=torch.float64), s, i, YOLOGridCoder())
                for i, (w, a, s) in enumerate(zip(whole, V5, STRIDES, strict=True))
            ]
            n = 64 // parts
            targets = assigned(levels, [box] * n, [label] * n, list(range(n)))
            (sum(YOLOMeanLoss()(levels, targets, None).values()) / parts).backward()
        return [w.grad for w in whole]

    for at_once, accumulated in zip(gradients(1), gradients(4), strict=True):
        torch.testing.assert_close(at_once, accumulated, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------------------------------------ Darknet's loss


def darknet(levels, boxes, labels, image, images=1, **settings):
    targets = assigned(levels, boxes, labels, image, ShapeIoUAssigner())
    boxes = torch.tensor(boxes, dtype=torch.float64).view(-1, 4)
    truth = [boxes[[j for j, owner in enumerate(image) if owner == i]] for i in range(images)]
    return DarknetLoss(**settings)(levels, targets, truth), targets


EXP = YOLOGridCoder((1.2, 1.1, 1.05), 'exp')


def test_darknet_sums_over_an_image_and_averages_over_images():
    slots = 3 * (80**2 + 40**2 + 20**2)
    one, _ = darknet(outputs(coder=EXP), [], [], [])
    two, _ = darknet(outputs(images=2, coder=EXP), [], [], [], images=2)
    for losses in (one, two):
        assert losses['loss_obj'].item() == pytest.approx(slots * math.log(2))
        assert losses['loss_bbox'].item() == losses['loss_cls'].item() == 0


def test_darknet_one_object():
    levels = outputs(coder=EXP)
    losses, targets = darknet(levels, [(100, 100, 20, 20)], [5], [0], box_gain=1.0)
    # A 20 x 20 object has a shape IoU over 0.213 with four of YOLOv3's nine anchors: (10, 13), (16, 30), (33, 23) and
    # (30, 61), the last with 400 / 1830 = 0.2186.
    assert [t.anchor.tolist() for t in targets] == [[0, 1, 2], [0], []]
    assert losses['loss_cls'].item() == pytest.approx(4 * 80 * math.log(2))
    # With zero logits a box is its anchor at the cell's centre: (100, 100) at stride 8, (104, 104) at stride 16.
    same_place = [(10 * 13, 10, 13), (16 * 20, 16, 30), (20 * 20, 33, 23)]
    expected = 0.0
    for inter, w, h in same_place:
        iou = inter / (w * h + 400 - inter)
        v = 4 / math.pi**2 * (math.atan(1) - math.atan(w / h)) ** 2
        expected += 1 - (iou - v / (1 - iou + v) * v)
    inter, w, h = 20 * 20, 30, 61
    iou = inter / (w * h + 400 - inter)
    v = 4 / math.pi**2 * (math.atan(1) - math.atan(w / h)) ** 2
    enclosing = (119 - 89, 134.5 - 73.5)
    expected += 1 - (iou - 32 / (enclosing[0] ** 2 + enclosing[1] ** 2) - v / (1 - iou + v) * v)
    assert losses['loss_bbox'].item() == pytest.approx(expected, abs=1e-5)


def test_darknet_ignores_sure_slots_on_an_object():
    """A slot that is not positive is ignored if its box overlaps an object *and* it has a high class score."""
    coder = YOLOGridCoder(1.0, 'exp')

    def counted(logit, box):
        levels = outputs(coder=coder)
        with torch.no_grad():
            for level in levels:
                level.maps[..., 5:] = -4.0
            levels[0].maps[0, 2, 12, 13, 5 + 7] = logit  # its box is the anchor 33 x 23 at (108, 100)
        losses, _ = darknet(levels, [box], [5], [0])
        return round(losses['loss_obj'].item() / math.log(2))

    sure, unsure = math.log(0.6 / 0.4), math.log(0.2 / 0.8)
    near = (103.0, 100.0, 33.0, 23.0)  # its cell is in column 12; its IoU with the slot's box is 28 / 38 = 0.74
    assert counted(unsure, near) - counted(sure, near) == 1
    apart = (83.0, 100.0, 33.0, 23.0)  # IoU (33 - 25) / (33 + 25) is below 0.7, so the score changes nothing
    assert counted(unsure, apart) == counted(sure, apart)


def test_darknet_shared_slot():
    """Two objects in one slot share its box loss, and each sets its own class."""
    levels = outputs(coder=EXP, classes=4)
    single, _ = darknet(outputs(coder=EXP, classes=4), [(100, 100, 8, 8)], [1], [0])
    double, targets = darknet(levels, [(100, 100, 8, 8)] * 2, [1, 3], [0, 0])
    assert len(targets[0].image) == 2
    assert double['loss_bbox'].item() == pytest.approx(single['loss_bbox'].item())
    assert double['loss_cls'].item() == pytest.approx(single['loss_cls'].item())
    double['loss_cls'].backward()
    gradient = levels[0].maps.grad[0, 0, 12, 12, 5:]
    assert gradient.tolist() == pytest.approx([0.5, -0.5, 0.5, -0.5])


@pytest.mark.parametrize('t', [10.0, 50.0, 1e4])
def test_darknet_s_unbounded_sizes_have_finite_losses_and_gradients(t):
    levels = outputs(coder=YOLOGridCoder((1.2, 1.1, 1.05), 'exp', max_exp=None), dtype=torch.float32)
    with torch.no_grad():
        for level in levels:
            level.maps[..., 2:4] = t
    boxes = torch.tensor([(100.0, 100.0, 20.0, 20.0)])
    losses = DarknetLoss()(levels, assigned(levels, boxes.tolist(), [5], [0], ShapeIoUAssigner()), [boxes])
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(level.maps.grad.isfinite().all() for level in levels)
