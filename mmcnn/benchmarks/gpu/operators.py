"""Stage 2: NMS, RoIAlign and focal loss on the device against a reference on the CPU, and torchvision's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmcnn import ops
from mmcnn.benchmarks.gpu.card import seconds_of
from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer

#: Number of boxes and classes of the NMS; in the tiny form.
BOXES, CLASSES = ((1_000, 1), (30_000, 80)), 80
TINY_BOXES = ((200, 1), (400, 80))
#: Not a fraction of small integers, so that no IoU of boxes with integer corners is equal to it.
THRESHOLD = 0.6511
#: Largest difference of a pooled value or a loss, relative to the largest: for float32 sums of several dozen terms, and
#: the rounding of a value in each half precision, twice.
BOUNDS = {torch.float32: 1e-5, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
_NAMES = {torch.float32: 'fp32', torch.float16: 'fp16', torch.bfloat16: 'bf16'}


def nms(circumstances: Circumstances, timer: Timer, report: Report) -> None:
    """Compare the boxes that are kept on the device and on the CPU, and time the calls in milliseconds."""
    device = torch.device(circumstances.device)
    passed = True
    for count, classes in TINY_BOXES if circumstances.tiny else BOXES:
        boxes, scores, labels = _boxes(count, classes)
        here = boxes.to(device), scores.to(device), labels.to(device)
        calls: dict[str, Callable] = {
            f'nms {kind}': lambda b, s, _, kind=kind: ops.nms(b, s, THRESHOLD, kind=kind) for kind in ops.NMS_KINDS
        }
        if classes > 1:
            calls = {'batched_nms': lambda b, s, c: ops.batched_nms(b, s, c, THRESHOLD)}
        for name, call in calls.items():
            expected, found = call(boxes, scores, labels), call(*here).cpu()
            same = torch.equal(expected, found)
            passed = passed and same
            milliseconds = 1e3 * seconds_of(lambda call=call, here=here: call(*here), device, calls=1)
            report(**{
                f'{name}, {count} boxes': dict(
                    kept=len(found), same_as_cpu=same, differ=len({*expected.tolist()} ^ {*found.tolist()}),
                    ms=round(milliseconds, 3), ms_of_torchvision=_torchvision_nms(here, classes, device),
                )
            })  # fmt: skip
    report(passed=passed)


def roi_align(circumstances: Circumstances, timer: Timer, report: Report) -> None:
    """Compare pooled features and gradients with float64 on the CPU, relative to the largest, and time the calls."""
    device, tiny = torch.device(circumstances.device), circumstances.tiny
    channels, side, count = (4, 16, 20) if tiny else (256, 104, 1000)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, channels, side, side, generator=generator, dtype=torch.float64)
    corners = torch.rand(count, 2, generator=generator) * side * 6
    sides = torch.rand(count, 2, generator=generator) * side * 3 + 8
    image = torch.randint(0, 2, (count, 1), generator=generator)
    rois = torch.cat([image, corners, corners + sides], dim=1)
    keywords = dict(spatial_scale=1 / 8, sampling_ratio=0, pool_mode='avg', aligned=True)
    outputs = torch.randn(count, channels, 7, 7, generator=generator, dtype=torch.float64)
    empty = torch.empty(0)
    passed = True
    for dtype, bound in BOUNDS.items():
        # Values that are representable in the type are the same for both.
        exact, gradient = features.to(dtype).double(), outputs.to(dtype).double()
        expected = ops.roi_align_forward(exact, rois.double(), (7, 7), **keywords)[0]
        wanted = ops.roi_align_backward(gradient, rois.double(), empty, empty, exact.shape, **keywords)
        x, g, r = exact.to(device, dtype), gradient.to(device, dtype), rois.to(device)

        def forward(x: Tensor = x, r: Tensor = r) -> Tensor:
            return ops.roi_align_forward(x, r, (7, 7), **keywords)[0]

        def backward(g: Tensor = g, r: Tensor = r, shape: torch.Size = exact.shape) -> Tensor:
            return ops.roi_align_backward(g, r, empty.to(g.device), empty.to(g.device), shape, **keywords)

        error, of_gradient = _error(forward(), expected), _error(backward(), wanted)
        # A cell's gradient is the sum over all regions that cover it, each rounded.
        within = error <= bound and of_gradient <= 8 * bound
        passed = passed and within
        report(**{
            _NAMES[dtype]: dict(
                error=error, bound=bound, gradient_error=of_gradient, gradient_bound=8 * bound, passed=within,
                ms=round(1e3 * seconds_of(forward, device, calls=2), 3),
                ms_backward=round(1e3 * seconds_of(backward, device, calls=2), 3),
                **_torchvision_roi_align(x, r, expected, device),
            )
        })  # fmt: skip
    report(passed=passed)


def focal_loss(circumstances: Circumstances, timer: Timer, report: Report) -> None:
    """Compare losses and gradients with float64 on the CPU, relative to the largest, and time the calls."""
    device = torch.device(circumstances.device)
    count = 100 if circumstances.tiny else 100_000
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(count, CLASSES, generator=generator, dtype=torch.float64)
    target = torch.randint(0, CLASSES + 1, (count,), generator=generator)
    passed = True
    for dtype, bound in BOUNDS.items():
        exact = logits.to(dtype).double()
        x, t = exact.to(device, dtype), target.to(device)
        result = {}
        for name, function in (
            ('error', ops.sigmoid_focal_loss_forward),
            ('gradient_error', ops.sigmoid_focal_loss_backward),
        ):
            result[name] = _error(function(x, t), function(exact, target))
        within = max(result.values()) <= bound
        passed = passed and within
        milliseconds = 1e3 * seconds_of(lambda x=x, t=t: ops.sigmoid_focal_loss_forward(x, t), device)
        report(**{_NAMES[dtype]: dict(result, bound=bound, passed=within, ms=round(milliseconds, 3))})
    report(passed=passed)


def _boxes(count: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels for NMS.

    There are about twenty boxes per object with integer corners, whose areas float32 represents exactly; the scores
    are distinct; the labels are one per object.
    """
    generator = torch.Generator().manual_seed(0)
    objects = torch.arange(count) % max(count // 20, 1)
    corners = torch.randint(0, 600, (count, 2), generator=generator)[objects]
    sides = torch.randint(40, 140, (count, 2), generator=generator)[objects]
    corners, sides = (each + torch.randint(0, 16, (count, 2), generator=generator) for each in (corners, sides))
    scores = torch.randperm(count, generator=generator) / count
    labels = torch.randint(0, classes, (count,), generator=generator)[objects]
    return torch.cat([corners, corners + sides], dim=1).float(), scores, labels


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found.cpu().double() - expected).abs().max() / expected.abs().max())


def _torchvision_nms(boxes: tuple[Tensor, Tensor, Tensor], classes: int, device: torch.device) -> float | None:
    """Return milliseconds; None without torchvision's operator."""
    if ops.torchvision_op('nms', device.type) is None:
        return None
    from torchvision.ops import batched_nms, nms

    b, s, c = boxes
    call = (lambda: nms(b, s, THRESHOLD)) if classes == 1 else (lambda: batched_nms(b, s, c, THRESHOLD))
    return round(1e3 * seconds_of(call, device, calls=1), 3)


def _torchvision_roi_align(x: Tensor, rois: Tensor, expected: Tensor, device: torch.device) -> dict[str, float | str]:
    """Return its error and milliseconds; empty without its operator."""
    if ops.torchvision_op('roi_align', device.type) is None:
        return {}
    from torchvision.ops import roi_align

    def call() -> Tensor:
        return roi_align(x, rois.to(x.dtype), (7, 7), 1 / 8, 0, True)

    try:
        error = _error(call(), expected)
    except RuntimeError as failure:  # it has no kernel for the type
        return dict(torchvision=str(failure).splitlines()[0])
    return dict(error_of_torchvision=error, ms_of_torchvision=round(1e3 * seconds_of(call, device, calls=2), 3))
