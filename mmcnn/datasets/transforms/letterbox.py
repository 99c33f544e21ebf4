"""Aspect-preserving resize with centred padding, as in YOLOv5's validation."""

from mmcv.transforms import BaseTransform

from mmcnn.fit import Fit
from mmcnn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LetterBox(BaseTransform):
    """Resizes an image to fit ``img_scale`` and pads it evenly on both sides.

    With ``rect`` the padded size is ceil(resized / stride + extra) * stride in each direction, the shape that YOLOv5's
    validation gives a batch of this aspect ratio: at 640, 640 x 480 becomes 672 x 512 and a square image 672 x 672.
    Otherwise it is ``img_scale``. An odd pixel of padding goes right and bottom. The image is averaged (INTER_AREA)
    when it shrinks and interpolated linearly when it grows. The resized side is rounded, whereas the reference
    truncates it, which loses a pixel for some sizes.

    Args:
        img_scale: Size (w, h) in pixels into which the resized image fits.
        rect: Whether to pad to the next stride instead of to ``img_scale``.
        stride: Largest stride of the network, in pixels.
        extra: Padding beyond the image, in strides, before rounding up.
        pad_val: Grey value of the padding.

    A box (x, y) of the result is mapped to the original image by ``(x - left) / scale_factor[0]`` and
    ``(y - top) / scale_factor[1]`` with ``top, left = pad_param``.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        rect: bool = True,
        stride: int = 32,
        extra: float = 0.5,
        pad_val: int = 114,
    ) -> None:
        stride = stride if rect else None
        self.fit = Fit(scale=tuple(img_scale), stride=stride, extra=extra, value=(pad_val,) * 3)

    def transform(self, results: dict) -> dict:
        """Resize and pad ``img``, (H, W, 3) uint8, and transform ``gt_bboxes`` if there are any.

        Returns:
            ``results`` with ``img``, ``img_shape`` (h, w, padded), ``scale_factor`` (w, h: resized / original) and
            ``pad_param`` (top, left) in pixels.
        """
        fitted = self.fit.apply(results['img'])
        results['img'] = fitted.image
        results['img_shape'] = fitted.image.shape[:2]
        results['scale_factor'] = fitted.scale_factor
        results['pad_param'] = top, left = fitted.pad
        if 'gt_bboxes' in results:
            results['gt_bboxes'].rescale_(results['scale_factor'])
            results['gt_bboxes'].translate_((left, top))
        return results
