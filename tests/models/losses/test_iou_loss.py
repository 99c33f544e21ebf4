import pytest
import torch

from mmcnn.models.losses import bbox_iou

# Boxes (cx, cy, w, h) and, in float64: IoU, GIoU, DIoU, CIoU without a gate, CIoU with MMDetection's gate.
VECTORS = [
    ((50, 50, 40, 20), (57, 53, 30, 30), 0.4912281, 0.3959900, 0.4694563, 0.4662599, 0.4694563),
    ((10, 10, 10, 10), (40, 40, 10, 20), 0.0, -0.8333333, -0.4965517, -0.4982412, -0.4965517),
    ((100, 100, 60, 120), (111, 90, 80, 100), 0.6344086, 0.5911987, 0.6238652, 0.6230151, 0.6230151),
    ((5, 5, 2, 8), (5, 5, 8, 2), 0.1428571, -0.4196429, 0.1428571, -0.0256105, 0.1428571),
    ((0, 0, 4, 4), (1, 1, 2, 2), 0.25, 0.25, 0.1875, 0.1875, 0.1875),
]


def pair(row):
    return torch.tensor(row[0], dtype=torch.float64), torch.tensor(row[1], dtype=torch.float64)


@pytest.mark.parametrize('row', VECTORS, ids=lambda row: str(row[0]))
def test_vectors(row):
    box, target = pair(row)
    for kind, expected in zip(('iou', 'giou', 'diou', 'ciou'), row[2:6], strict=True):
        assert bbox_iou(box, target, kind).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('row', VECTORS, ids=lambda row: str(row[0]))
def test_mmdet_gates_the_aspect_term(row):
    """MMDetection's CIoULoss is not used because it drops the aspect term at IoU <= 0.5."""
    from mmdet.models.losses.iou_loss import ciou_loss

    box, target = (torch.cat([b[:2] - b[2:] / 2, b[:2] + b[2:] / 2])[None] for b in pair(row))
    assert 1 - ciou_loss(box, target, reduction='none').item() == pytest.approx(row[6], abs=1e-4)


@pytest.mark.parametrize(
    ('row', 'gradient'),
    [
        (VECTORS[0], (-0.0307307, -0.0022523, -0.0046075, -0.0197880)),
        (VECTORS[1], (-0.0055933, -0.0042235, -0.0049541, -0.0066892)),
    ],
    ids=['overlapping', 'apart'],
)
def test_gradient_with_constant_alpha(row, gradient):
    box, target = pair(row)
    box.requires_grad_()
    (1 - bbox_iou(box, target)).backward()
    torch.testing.assert_close(box.grad, torch.tensor(gradient, dtype=torch.float64), rtol=0, atol=1e-5)


def test_half_precision_is_computed_in_float32():
    box = torch.tensor([300.0, 300.0, 400.0, 500.0], dtype=torch.float16)  # the area overflows float16
    assert bbox_iou(box, box.float()).item() == pytest.approx(1)


def test_flat_boxes_are_finite():
    box = torch.tensor([[5.0, 5.0, 4.0, 0.0]], requires_grad=True)
    loss = 1 - bbox_iou(box, torch.tensor([[5.0, 5.0, 4.0, 2.0]]))
    loss.sum().backward()
    assert loss.isfinite().all() and box.grad.isfinite().all()


def test_unknown_kind():
    with pytest.raises(ValueError, match="kind='eiou' must be one of"):
        bbox_iou(torch.ones(4), torch.ones(4), 'eiou')
