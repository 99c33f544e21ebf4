import pytest
import torch
from mmcv.ops import RoIAlign
from torch import nn

from mmcnn.deployment.operators import non_max_suppression, roi_align


def drawn(count, extent=100.0):
    corners = torch.rand(count, 2) * extent
    return torch.cat([corners, corners + 2 + torch.rand(count, 2) * extent / 2], dim=1)


def test_nms_of_boxes_worked_by_hand():
    """The IoU of the first two is 0.8; class 1 keeps two of its three, and scores of at most 0.3 count in neither."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 8], [20, 0, 30, 10]]])
    scores = torch.tensor([[[0.5, 0.6, 0.3], [0.9, 0.9, 0.7]]])
    kept = non_max_suppression(boxes, scores, 2, 0.75, 0.3)
    assert kept.tolist() == [[[-1, scores[0, 0, 1], -1], [scores[0, 1, 0], -1, scores[0, 1, 2]]]]
    assert non_max_suppression(boxes, scores, 1, 0.85, 0.3)[0, 1].tolist() == [scores[0, 1, 0], -1, -1]
    assert (non_max_suppression(boxes, scores, 3, 0.85, 0.3) > 0).sum() == 5


@pytest.mark.parametrize(('aligned', 'ratio'), [(True, 0), (False, 2)])
def test_roi_align_of_a_pyramid_is_mmcvs_level_by_level(aligned, ratio):
    torch.manual_seed(0)
    maps, rois = [torch.randn(1, 4, 32, 40), torch.randn(1, 4, 16, 20)], drawn(30)
    levels = torch.randint(0, 2, (30,))
    found = roi_align(maps, rois, levels, [7, 5], [1 / 4, 1 / 8], ratio, aligned)
    for row, (roi, level) in enumerate(zip(rois, levels, strict=True)):
        layer = RoIAlign((7, 5), [1 / 4, 1 / 8][level], ratio, 'avg', aligned)
        expected = layer(maps[level], torch.cat([torch.zeros(1), roi])[None])
        torch.testing.assert_close(found[row], expected[0], atol=1e-6, rtol=1e-5)


def test_what_torch_export_expects_of_their_shapes_is_what_they_give():
    boxes, scores = drawn(20)[None], torch.rand(1, 3, 20)
    tests = ('test_schema', 'test_faketensor')
    torch.library.opcheck(non_max_suppression, (boxes, scores, 5, 0.5, 0.1), test_utils=tests)
    maps = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)]
    args = (maps, drawn(6), torch.tensor([0, 1, 1, 0, 1, 0]), [7, 7], [0.25, 0.125], 0, True)
    torch.library.opcheck(roi_align, args, test_utils=tests)


class Both(nn.Module):
    def __init__(self, ratio, aligned):
        super().__init__()
        self.ratio, self.aligned = ratio, aligned

    def forward(self, boxes, scores, fine, coarse, levels):
        kept = non_max_suppression(boxes, scores, 4, 0.4, 0.2)
        return kept, roi_align([fine, coarse], boxes[0], levels, [7, 5], [0.25, 0.125], self.ratio, self.aligned)


@pytest.mark.parametrize(('ratio', 'aligned'), [(0, True), pytest.param(2, False, marks=pytest.mark.slow)])
def test_as_onnx_they_compute_the_same(exported, ratio, aligned):
    """They match for any number of images, boxes and RoIs, levels without RoIs, equal scores, and no kept boxes."""

    def inputs(images, count, levels=2):
        boxes, scores = (
            torch.stack([drawn(count) for _ in range(images)]),
            (torch.rand(images, 3, count) * 8).round() / 8,
        )
        return boxes, scores, torch.randn(1, 4, 16, 24), torch.randn(1, 4, 8, 12), torch.randint(0, levels, (count,))

    torch.manual_seed(0)
    n, b = torch.export.Dim('n'), torch.export.Dim('b')
    module = Both(ratio, aligned)
    run = exported(module, inputs(2, 20), ({0: n, 1: b}, {0: n, 2: b}, {}, {}, {0: b}))
    for images, count, levels in ((1, 40, 2), (3, 7, 1), (2, 1, 2)):
        for quiet in (False, True):
            tensors = list(inputs(images, count, levels))
            tensors[1][0] *= not quiet
            tensors[1][-1] *= not quiet
            for found, expected in zip(run(*tensors), module(*tensors), strict=True):
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
