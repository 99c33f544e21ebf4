"""The computations of exported files as modules: images in their input form, tensors in their output form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmdet.models.dense_heads import YOLOV3Head
from torch import Tensor, nn

from mmcnn.deployment.nms import best_candidates
from mmcnn.image_format import ImageFormat
from mmcnn.models.dense_heads import YOLOHead
from mmcnn.models.layers import Mish


class Normalised(nn.Module):
    """Takes images as OpenCV reads them, normalises them, and passes them to a network.

    Args:
        inner: takes normalised images (N, 3, H, W), and any further arguments.
        image: mean, deviation and channel order that ``inner`` expects.
        uint8: images are (N, H, W, 3) uint8; else (N, 3, H, W) float32. Both are BGR in 0..255.
    """

    def __init__(self, inner: nn.Module, image: ImageFormat, uint8: bool) -> None:
        super().__init__()
        self.inner, self.uint8, self.swap = inner, uint8, image.order == 'rgb'
        for name in ('mean', 'std'):
            self.register_buffer(name, torch.tensor(getattr(image, name), dtype=torch.float32).view(-1, 1, 1))

    def forward(self, images: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the inner form on normalised images; ``others`` are passed on."""
        if self.uint8:
            images = images.permute(0, 3, 1, 2).float()
        if self.swap:
            images = images.flip(1)
        return self.inner((images - self.mean) / self.std, *others)


class Maps(nn.Module):
    """The maps of a backbone, fine to coarse, or of a detector's head: (N, 3, H, W) to a tuple of (N, C, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of a backbone or of a detector's head for images (N, C, H, W)."""
        if not hasattr(self.network, 'bbox_head'):
            return tuple(self.network(images))
        return tuple(_head_maps(self.network, images))


class Logits(nn.Module):
    """A classifier: (N, 3, H, W) to logits (N, C)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, C, H, W)."""
        return self.network(images)


class Decoded(nn.Module):
    """A YOLO detector: (N, 3, H, W) to boxes (N, B, 4), xyxy pixels of the input, and scores (N, B, C).

    Scores that PyTorch's post-processing always drops are 0: for MMDetection's YOLOV3Head, those of classes and objects
    below its thresholds and beyond its ``nms_pre`` best.

    Args:
        network: a detector with a :class:`~mmcnn.models.dense_heads.YOLOHead` or MMDetection's YOLOV3Head.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (N, B, 4), xyxy pixels of the input, and scores (N, B, C)."""
        maps = _head_maps(self.network, images)
        head = self.network.bbox_head
        boxes, scores = head.decode(maps) if isinstance(head, YOLOHead) else _decode_yolov3(head, maps)
        return boxes, scores[..., 1:] * scores[..., :1]


def _head_maps(network: nn.Module, images: Tensor) -> Sequence[Tensor]:
    maps = network.backbone(images)
    if network.with_neck:
        maps = network.neck(maps)
    return network.bbox_head(maps)[0]


def _decode_yolov3(head: YOLOV3Head, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the result of MMDetection 3.3's ``YOLOV3Head.predict_by_feat`` for the maps before NMS.

    Returns:
        Boxes (N, B, 4) xyxy pixels; scores (N, B, 1 + C) of object and classes, 0 for boxes that are not candidates.
    """
    cfg = head.test_cfg
    sizes = [m.shape[-2:] for m in maps]
    anchors = torch.cat(head.prior_generator.grid_priors(sizes, dtype=maps[0].dtype, device=maps[0].device))
    flat = [m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, head.num_attrib) for m in maps]
    strides = [m.new_full((m.shape[1], 1), float(s)) for m, s in zip(flat, head.featmap_strides, strict=True)]
    flat = torch.cat(flat, dim=1)
    offsets = torch.cat([flat[..., :2].sigmoid(), flat[..., 2:4]], dim=-1)
    boxes = head.bbox_coder.decode(anchors, offsets, torch.cat(strides))
    objects, classes = flat[..., 4:5].sigmoid(), flat[..., 5:].sigmoid()
    chosen = classes > cfg.get('score_thr', 0)
    if cfg.get('conf_thr', -1) > 0:
        chosen = chosen & (objects >= cfg['conf_thr'])
    candidates = torch.where(chosen, classes, 0.0)
    if cfg.get('nms_pre', -1) > 0:
        candidates = best_candidates(candidates, cfg['nms_pre'])
    return boxes, torch.cat([objects, candidates], dim=-1)


class RationalMish(nn.Module):
    """Mish without softplus and tanh: with e = exp(x) and n = e (e + 2), x tanh(ln(1 + e)) is x n / (n + 2).

    From x = 20 on, n / (n + 2) is 1 in float32, and from x = 5 on in float16, so neither exp nor n can overflow.
    ONNX Runtime computes this in half the time of its own Mish operators (docs/benchmarks.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply Mish to a tensor of any shape."""
        e = x.clamp(max=5.0 if x.dtype == torch.float16 else 20.0).exp()
        n = e * (e + 2.0)
        return x * (n / (n + 2.0))


class ZerosThatCount(nn.Module):
    """Zero padding around a map (N, C, H, W) that a following max-pool takes into account.

    ONNX Runtime 1.30 merges zero padding into a max-pool after it, where it means minus infinity (1.32 does not). The
    clamp between them changes nothing and prevents this.
    """

    def __init__(self, pad: nn.ZeroPad2d) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        """Pad with zeros that the following max-pool takes into account."""
        return self.pad(x).clamp(min=torch.finfo(x.dtype).min)


def with_rational_mish(network: nn.Module) -> int:
    """Replace every ``nn.Mish`` by :class:`RationalMish`, in place, and return their number."""
    return _replace(network, (nn.Mish, Mish), lambda mish: RationalMish())


def with_zeros_that_count(network: nn.Module) -> int:
    """Replace every ``nn.ZeroPad2d`` by :class:`ZerosThatCount`, in place, and return their number."""
    return _replace(network, (nn.ZeroPad2d,), ZerosThatCount)


def _replace(network: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[nn.Module], nn.Module]) -> int:
    found = [(parent, name, each) for parent in network.modules() for name, each in parent.named_children()
             if type(each) in kinds]  # fmt: skip
    for parent, name, each in found:
        setattr(parent, name, make(each))
    return len(found)
