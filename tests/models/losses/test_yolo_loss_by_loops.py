"""Both losses and their gradients against loops over slots and objects, on random batches in float64."""

import random

import pytest
import torch
import torch.nn.functional as F

from mmcnn.models.losses import DarknetLoss, YOLOMeanLoss, bbox_iou
from mmcnn.models.losses import yolo_loss as module
from mmcnn.models.task_modules import LevelOutput, RatioAssigner, ShapeIoUAssigner, YOLOGridCoder, host_device

ANCHORS = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45)]]
STRIDES = (8, 16)
CODERS = {'mean': YOLOGridCoder(), 'darknet': YOLOGridCoder((1.2, 1.1), 'exp')}
SIZE = (32, 64)
#: Seeds with which Darknet's loss ignores some slots.
IGNORING = (3, 6)


def batch(seed, kind):
    """Maps with boxes on some objects; objects lie on borders and in shared slots, and some images have none."""
    generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    images, classes = rng.choice([1, 2, 3]), rng.choice([1, 3])
    levels = []
    for i, (stride, anchors) in enumerate(zip(STRIDES, ANCHORS, strict=True)):
        shape = images, len(anchors), SIZE[0] // stride, SIZE[1] // stride, 5 + classes
        maps = torch.randn(shape, generator=generator, dtype=torch.float64)
        maps[..., :4] *= 0.3
        maps[..., 5:] += 1
        anchors = torch.tensor(anchors, dtype=torch.float64)
        levels.append(LevelOutput(maps.requires_grad_(), anchors, stride, i, CODERS[kind]))
    objects, labels = [], []
    for n in range(images):
        count = 0 if seed == 0 else rng.choice([0, 2, 6]) if n else 3
        boxes = torch.rand(count, 4, generator=generator, dtype=torch.float64)
        boxes = boxes * torch.tensor([SIZE[1], SIZE[0], 50, 50]) + torch.tensor([0, 0, 4, 4])
        if seed % 2:
            boxes[:, :2] = (boxes[:, :2] / 8).round() * 8
        on_slots = levels[0].boxes().detach()[n, 2].flatten(0, 1)[4:32:9] + torch.tensor([4.6, 0.2, 0, 0])
        boxes = torch.cat([boxes, boxes[: count // 2] + 0.25 * (seed % 3 > 0), on_slots if count else boxes])
        objects.append(boxes)
        labels.append(torch.randint(0, classes, (len(boxes),), generator=generator))
    image = torch.tensor([i for i, boxes in enumerate(objects) for _ in boxes], dtype=torch.long)
    assigner = RatioAssigner() if seed % 3 else ShapeIoUAssigner()
    sizes = [level.maps.shape[2:4] for level in levels]
    given = torch.cat(objects), torch.cat(labels), image, [level.anchors for level in levels], STRIDES, sizes
    return levels, objects, assigner, given


def by_slot(targets):
    """Slot -> its positives (object's box, label), in the assigner's order."""
    found = {}
    for n, a, r, c, box, label in zip(*(each.tolist() for each in targets[:6]), strict=True):
        found.setdefault((n, a, r, c), []).append((torch.tensor(box, dtype=torch.float64), label))
    return found


def predicted(level, slot):
    _, a, r, c = slot
    cell = torch.tensor([c, r])
    return level.coder.decode(level.maps[slot][:4], cell, level.anchors[a], level.stride, level.level)


def bce(logit, wanted):
    return F.softplus(logit) - logit * wanted


def mean_loss(levels, targets):
    total = 0
    for level, positives, balance in zip(levels, targets, (4.0, 1.0), strict=True):
        slots, count = by_slot(positives), len(positives.image)
        classes = level.maps.shape[-1] - 5
        wanted = torch.zeros(level.maps.shape[:4], dtype=torch.float64)
        for slot, owners in slots.items():
            for box, label in owners:
                iou = bbox_iou(predicted(level, slot) / level.stride, box / level.stride)
                total = total + 0.05 * (1 - iou) / count
                wanted[slot] = iou.detach().clamp(min=0)  # the last one is kept
                if classes > 1:
                    for k in range(classes):
                        loss = bce(level.maps[slot][5 + k], float(k == label))
                        total = total + 0.3 * classes / 80 * loss / (count * classes)
        total = total + 0.6 * balance * bce(level.maps[..., 4], wanted).mean()
    return 64 * total


def darknet_loss(levels, targets, objects):
    total, ignored = 0, 0
    for level, positives in zip(levels, targets, strict=True):
        slots, boxes = by_slot(positives), level.boxes().detach()
        for n, a, r, c in torch.cartesian_prod(*map(torch.arange, level.maps.shape[:4])).tolist():
            slot, owners = (n, a, r, c), slots.get((n, a, r, c), [])
            logits = level.maps[slot]
            for box, _ in owners:
                total = total + 4.0 * (1 - bbox_iou(predicted(level, slot), box)) / len(owners)
            if owners:
                have = {label for _, label in owners}
                total = total + bce(logits[4], 1.0)
                total = total + sum(bce(logit, float(k in have)) for k, logit in enumerate(logits[5:]))
                continue
            covers = any(bbox_iou(boxes[slot], box, 'iou') > 0.7 for box in objects[n])
            if covers and logits[5:].max().sigmoid() > 0.25:
                ignored += 1
            else:
                total = total + bce(logits[4], 0.0)
    return total / len(objects), ignored


@pytest.mark.parametrize('fixed', [False, True], ids=['selected', 'fixed shapes'])
@pytest.mark.parametrize('seed', (0, 1, 2, 3, 6))
@pytest.mark.parametrize('kind', ['mean', 'darknet'])
def test_losses_and_gradients(kind, seed, fixed, monkeypatch):
    levels, objects, assigner, given = batch(seed, kind)
    targets = assigner.assign(*given)
    expected, ignored = (mean_loss(levels, targets), 0) if kind == 'mean' else darknet_loss(levels, targets, objects)
    assert ignored or kind == 'mean' or seed not in IGNORING
    maps = [level.maps for level in levels]
    gradients = torch.autograd.grad(expected, maps)

    if fixed:
        monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
        monkeypatch.setattr(module, 'MAX_PAIRS', 500)  # objects are processed in several chunks
    loss = YOLOMeanLoss(level_balance=(4.0, 1.0)) if kind == 'mean' else DarknetLoss()
    found = sum(loss(levels, assigner.assign(*given), objects).values())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(found, maps), gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
