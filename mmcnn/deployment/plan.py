"""The plan of an export before any work is done: form, size, dynamic dimensions, and the module to export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mmcnn.deployment.deformable import has_deform_conv, with_exportable_deform_conv
from mmcnn.deployment.detectors import padding, set_score_thr
from mmcnn.deployment.faster_rcnn import ExportableFasterRCNN
from mmcnn.deployment.forms import Decoded, Logits, Maps, Normalised, with_rational_mish, with_zeros_that_count
from mmcnn.deployment.networks import Exportable
from mmcnn.deployment.nms import KINDS, OUTPUTS, NmsSettings, WithNMS
from mmcnn.deployment.options import JUDGED_BY_AP, ExportOptions
from mmcnn.errors import UsageError
from mmcnn.fit import Fit
from mmcnn.models.fuse import fold
from mmcnn.runtime.metadata import CLASSIFICATION, DETECTION, FEATURES, FORMS, Input, Metadata
from mmcnn.runtime.sessions import openvino_has_bfloat16
from mmcnn.version import __version__

#: Batch of the tracing example: 2, since PyTorch treats 1 as a constant.
EXAMPLE_BATCH = 2
#: Maximum batch and side in pixels of a file with dynamic ones.
MAX_BATCH, MAX_SIDE = 1024, 8192
#: Minimum side in pixels of a backbone's input with dynamic sides.
SMALLEST = 64
#: Name of the second input: height and width of the image on the canvas.
IM_SIZE = 'im_size'
#: The package that quantizes each kind of file.
QUANTIZERS = {'onnx': 'onnxruntime', 'openvino': 'nncf'}


@dataclass(frozen=True)
class Plan:
    """The plan of an export.

    Attributes:
        found: the network.
        options: options of the export.
        form: form of the outputs.
        size: (H, W) in pixels of the input, or of the example if they are dynamic.
        dynamic: 'batch', 'all' or 'none'.
        fit: how an image is fitted to the input of a detector; None: not a detector.
    """

    found: Exportable
    options: ExportOptions
    form: str
    size: tuple[int, int]
    dynamic: str
    fit: Fit | None

    @property
    def uint8(self) -> bool:
        """Whether images are (N, H, W, 3) uint8."""
        return self.options.input == 'uint8'

    @property
    def padding(self) -> list[str]:
        """A sentence that says that images are padded differently from PyTorch's test, if they are."""
        return [] if self.fit is None else padding(self.fit, self.found.config)

    @property
    def batch(self) -> int | None:
        """Number of images per call of the file; None: any."""
        return 1 if self.dynamic == 'none' or self.found.is_two_stage else None

    @cached_property
    def module(self) -> nn.Module:
        """What the file computes: a copy of the network in evaluation mode with BatchNorm folded."""
        network = fold(self.found.network)
        with_exportable_deform_conv(network)
        if self.options.mish == 'fast':
            with_rational_mish(network)
        if self.options.to == 'onnx':
            with_zeros_that_count(network)
        return self.around(network)

    def around(self, network: nn.Module) -> nn.Module:
        """Return a module with the file's outputs, computed by a network like the exported one."""
        return Normalised(self._inner(network), self.found.image, self.uint8).eval()

    def _inner(self, network: nn.Module) -> nn.Module:
        if self.found.is_two_stage:
            return ExportableFasterRCNN(network, self.options.layout)
        if self.form == 'logits':
            return Logits(network)
        if self.form in ('maps', 'raw'):
            return Maps(network)
        decoded, layout = Decoded(network), self.options.layout
        return WithNMS(decoded, self.found.test_cfg, layout) if self.form == 'nms' else decoded

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs."""
        if self.form in ('maps', 'raw'):
            with torch.no_grad():
                return [f'map{i}' for i in range(len(self.module(*self.example(1))))]
        if self.form == 'nms':
            return list(OUTPUTS[self.options.layout])
        return dict(logits=['logits'], decoded=['boxes', 'scores'])[self.form]

    def example(self, batch: int | None = None) -> tuple[Tensor, ...]:
        """Return random inputs for tracing the module."""
        height, width = self.size
        draw, count = np.random.default_rng(0), batch or self.batch or EXAMPLE_BATCH
        return self.inputs([draw.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)], self.size)

    def inputs(self, images: Sequence[np.ndarray], size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Return images (H, W, 3) uint8 BGR, stretched to a size (h, w) in pixels, as inputs of the module."""
        pixels = torch.from_numpy(np.stack([cv2.resize(image, size[::-1]) for image in images]))
        pixels = pixels if self.uint8 else pixels.permute(0, 3, 1, 2).float().contiguous()
        return (pixels, torch.tensor(size)) if self.found.is_two_stage else (pixels,)

    def feeds(self, inputs: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """Return the inputs by name, as inputs of a file."""
        return {name: each.numpy() for name, each in zip(self.input_names, inputs, strict=True)}

    def canvases(self, images: Sequence[np.ndarray]) -> Tensor:
        """Return images (H, W, 3) uint8 BGR as inputs of the network: (N, 3, H, W) of the input size, normalised."""
        fit = self.fit and replace(self.fit, canvas=self.size)
        fitted = [fit.apply(each, np.float32).image if fit else cv2.resize(each, self.size[::-1]) for each in images]
        inputs, image = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).float(), self.found.image
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (image.mean, image.std))
        return ((inputs.flip(1) if image.order == 'rgb' else inputs) - mean) / std

    @property
    def other_size(self) -> tuple[int, int]:
        """A second size (H, W) in pixels to test a file with dynamic sizes: odd if possible."""
        height, width = self.size
        return (height + 32, max(width - 64, 64)) if self.found.stride > 1 else (height + 3, width + 10)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return ['images', IM_SIZE] if self.found.is_two_stage else ['images']

    def dynamic_shapes(self, proven: bool = True) -> tuple[Any, ...]:
        """Return which axes of the inputs are dynamic, in the form of ``torch.export``.

        Args:
            proven: PyTorch must prove that the graph is correct at every size. It cannot do so for the conditions of a
                pool with ``ceil_mode``; False leaves the proof to the check, at sizes that it chooses.
        """
        axes: dict[int, Any] = {}
        if self.batch is None:
            axes[0] = torch.export.Dim('N', min=1, max=MAX_BATCH)
        if self.dynamic == 'all':
            first, stride = (1 if self.uint8 else 2), self.found.stride
            for axis, name in ((first, 'height'), (first + 1, 'width')):
                least = 1 if stride > 1 else SMALLEST
                dim = torch.export.Dim(name, min=least, max=MAX_SIDE // stride)
                axes[axis] = (dim if stride == 1 else stride * dim) if proven else torch.export.Dim.DYNAMIC
        return (axes, ({},)) if self.found.is_two_stage else (axes,)

    def metadata(self) -> Metadata:
        """Return the metadata of the file."""
        found, image = self.found, self.found.image
        test_cfg = dict(found.test_cfg or {})
        if test_cfg:
            kind = test_cfg['nms']['type']
            test_cfg['nms'] = dict(test_cfg['nms'], type='iou' if kind == 'nms' else kind)
        turn = slice(None, None, -1 if image.order == 'rgb' else 1)
        return Metadata(
            task=found.task,
            form=self.form,
            network=found.name,
            classes=found.classes,
            input=Input(
                dtype='uint8' if self.uint8 else 'float32',
                layout='NHWC' if self.uint8 else 'NCHW',
                mean=tuple(image.mean[turn]),
                std=tuple(image.std[turn]),
                size=None if self.dynamic == 'all' else self.size,
                stride=found.stride,
                batch=self.batch,
                image_size=found.is_two_stage,
            ),
            fit=self.fit,
            test_cfg=test_cfg,
            clip=found.clip,
            layout=self.options.layout,
            precision=self.options.precision,
            dropped=tuple(getattr(self.module.inner, 'dropped', ())),
            versions=_versions(self.options.to, self.options.precision),
            checkpoint=found.checkpoint,
            licence=found.licence,
        )


def plan_export(found: Exportable, options: ExportOptions) -> Plan:
    """Return the plan for a network and options.

    Raises:
        UsageError: an option does not apply to the network.
    """
    form = _form(found, options)
    if form != 'nms' and options.layout != 'plain':
        raise UsageError(f'layout={options.layout} needs form=nms, but the form is {form}')
    if options.score_thr is not None:
        if form != 'nms':
            raise UsageError(
                f'score_thr={options.score_thr:g} needs form=nms; with form={form}, the caller chooses the threshold'
            )
        set_score_thr(found.network, options.score_thr)
        found = replace(found, test_cfg={**found.test_cfg, 'score_thr': options.score_thr})
    if form == 'nms' and not found.is_two_stage:
        NmsSettings.of(found.test_cfg)
    if options.to == 'torch-export' and has_deform_conv(found.network):
        raise UsageError(
            f"the deformable convolutions of {found.name} need ONNX's operator, which PyTorch does not have; "
            'use to=onnx'
        )
    dynamic = options.dynamic or ('all' if found.is_two_stage else 'batch')
    if found.is_two_stage and dynamic == 'batch':
        raise UsageError('dynamic=batch: Faster R-CNN processes one image at a time; use all or none')
    if options.precision in JUDGED_BY_AP:
        _check_judgeable(found, form, options.precision)
    size, fit = options.img_size, found.fit
    if size is not None and any(side % found.stride for side in size):
        raise UsageError(
            f'img_size={size[0]} x {size[1]}: each side must be a multiple of {found.stride}, the coarsest stride'
        )
    if fit is None:
        return Plan(found, options, form, size or (found.image.size,) * 2, dynamic, None)
    if size is not None:
        fit = replace(fit, scale=size[::-1])
    else:
        sides = (max(fit.scale),) * 2 if fit.rule == 'inside' else (min(fit.scale), max(fit.scale))
        size = fit.padded(*fit.resized(*sides))
    if dynamic != 'all':
        fit = replace(fit, canvas=size)
    return Plan(found, options, form, size, dynamic, fit)


def _form(found: Exportable, options: ExportOptions) -> str:
    possible = ('nms',) if found.is_two_stage else FORMS[found.task]
    kinds = {DETECTION: 'a detector', CLASSIFICATION: 'a classifier', FEATURES: 'a backbone'}
    what = 'a Faster R-CNN' if found.is_two_stage else kinds[found.task]
    if options.web is not None and found.task != DETECTION:
        raise UsageError(f'web={options.web}: the page needs a detector, but {found.name} is {what}')
    form = options.form or possible[0]
    if options.web is not None and options.form is None and found.test_cfg['nms']['type'] in KINDS:
        form = 'nms'
    if form not in possible:
        raise UsageError(
            f'form={form}: {found.name} is {what}, which can be exported with form={" or ".join(possible)}'
        )
    if options.to == 'torch-export' and form == 'nms':
        raise UsageError(
            "form=nms needs ONNX's operators, which PyTorch does not have; to=torch-export supports "
            f'{" and ".join(each for each in possible if each != "nms") or "no form of a Faster R-CNN"}'
        )
    return form


def _check_judgeable(found: Exportable, form: str, precision: str) -> None:
    """Raise UsageError if AP, which decides about a precision, cannot be measured."""
    reason = None
    if found.task != DETECTION:
        reason = f'{found.name} is not a detector; use fp16'
    elif form == 'raw':
        reason = 'form=raw returns no boxes; use form=decoded'
    elif found.checkpoint is None:
        reason = f'the weights of {found.name} are random; use weights=FILE for trained ones'
    elif precision == 'bf16' and not openvino_has_bfloat16():
        reason = 'this processor does not compute in bfloat16 (AVX512-BF16 or AMX); use fp16'
    if reason is not None:
        raise UsageError(f'precision={precision}: its cost is measured as AP, but {reason}')


def _versions(to: str, precision: str) -> dict[str, str]:
    packages = dict(onnx=('torch', 'onnx', 'onnxscript'), openvino=('torch', 'onnx', 'openvino')).get(to, ('torch',))
    if precision == 'int8':
        packages += (QUANTIZERS[to],)
    found = dict(mmcnn=__version__)
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # built from source, without metadata
            continue
    return found
