"""Convolutions in 8-bit integers: ONNX files by ONNX Runtime's quantiser, OpenVINO files by NNCF.

Only convolutions are quantized, with a scale for each channel of their kernels, and in ONNX files the SiLU after them,
which ONNX Runtime then looks up in a table; in float it would take longer than the convolutions save
(docs/benchmarks.md). The first convolution stays in float there: with three input channels, it takes ONNX Runtime four
times as long in 8 bits. So do the last convolutions, since their predictions become boxes: in 8 bits a coordinate of
640 px has steps of 2.5 px.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.models.dense_heads import YOLOV3Head
from torch import nn

from mmcnn.datasets.check.detector import check_data, needs_draw
from mmcnn.deployment.files import keep_metadata
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import Plan
from mmcnn.errors import DataError, ExportError
from mmcnn.image_file import read_image_file
from mmcnn.models.dense_heads import YOLOHead
from mmcnn.runs.data import demo_data
from mmcnn.runs.drawn_split import draw_of
from mmcnn.runtime import Detector
from mmcnn.runtime.metadata import KEY, Metadata
from mmcnn.runtime.sessions import openvino_core
from mmcnn.silence import silenced

#: Number of images for measuring activation ranges.
CALIBRATION_IMAGES = 100
#: Minimum number of input channels for which ONNX Runtime's 8-bit convolutions, which sum four at a time, are faster.
LEAST_CHANNELS = 4


def calibration_images(options: ExportOptions) -> tuple[list[Path], str]:
    """Return the training images of ``data``, or the validation images if there are none, and a sentence about them.

    Raises:
        DataError: there are none.
    """
    root = Path(demo_data() if options.data == 'demo' else options.data)
    draw, reason = draw_of(options), ''
    names = ('train', 'val')
    if draw is None and needs_draw(root):
        names, reason = ('val',), f'{root} has no validation split, so all images are used for it'
    try:
        report = check_data(root, names, decode=False, draw=draw)
    except DataError as error:
        report, reason = check_data(root, ('val',), decode=False, draw=draw), str(error)
    split, entries = report.splits[0], report.kept[0]['images']
    if not entries:
        raise DataError(f'{split.title} has no images to measure activation ranges on')
    chosen = [entries[i * len(entries) // CALIBRATION_IMAGES] for i in range(min(CALIBRATION_IMAGES, len(entries)))]
    if len(entries) < CALIBRATION_IMAGES:
        chosen = entries
    said = f'calibrated on {len(chosen)} of the {len(entries):,} images of {split.title}'
    return [split.image_path(entry) for entry in chosen], (
        f'{said}, which also measure AP: {reason}' if split.name == 'val' else said
    )


def quantize(plan: Plan, path: Path, metadata: Metadata, images: Sequence[Path]) -> None:
    """Quantize a file in place.

    Args:
        plan: the plan that the file was written with, in float32.
        path: the file.
        metadata: the metadata of the quantized file.
        images: image files for measuring activation ranges.

    Raises:
        ExportError: the last convolutions are not found in the file.
        ImageError: an image cannot be read.
    """
    source = path.with_stem(f'{path.stem}-fp32')
    for suffix in {path.suffix, '.bin'} if path.suffix == '.xml' else {path.suffix}:
        os.replace(path.with_suffix(suffix), source.with_suffix(suffix))
    detector = Detector(source, score_thr=metadata.test_cfg['score_thr'])
    feeds = (detector.feeds(read_image_file(image)) for image in images)
    kept = {f'{name}.weight' for name in _predictions(plan.module)}
    with silenced(prints=True):
        (_quantize_openvino if path.suffix == '.xml' else _quantize_onnx)(source, path, metadata, feeds, kept)
    for suffix in {path.suffix, '.bin'} if path.suffix == '.xml' else {path.suffix}:
        source.with_suffix(suffix).unlink()


def _predictions(module: nn.Module) -> list[str]:
    """Return the names of a detector's last convolutions, which predict."""
    names = {each: name for name, each in module.named_modules()}
    found: list[nn.Module] = []
    for each in module.modules():
        if isinstance(each, YOLOHead):
            found += each.predictions
        elif isinstance(each, YOLOV3Head):
            found += each.convs_pred
        elif hasattr(each, 'rpn_head'):
            found += [each.rpn_head.rpn_cls, each.rpn_head.rpn_reg]
    return [names[each] for each in dict.fromkeys(found)]


def _quantize_onnx(
    source: Path, path: Path, metadata: Metadata, feeds: Iterator[dict[str, np.ndarray]], kept: set[str]
) -> None:
    import onnx
    from onnxruntime import quantization

    class Feeds(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(feeds, None)

    graph = onnx.load(source).graph
    nodes = graph.node
    convolutions = [node for node in nodes if node.op_type == 'Conv']
    _check_found({node.input[1] for node in convolutions}, kept)
    kernels = {each.name: each.dims for each in graph.initializer}
    wide = [node for node in convolutions if _channels(node, kernels[node.input[1]]) >= LEAST_CHANNELS]
    chosen = [node for node in wide if node.input[1] not in kept]
    chosen += _silus(nodes, {node.output[0] for node in chosen})
    quantization.quantize_static(
        source,
        path,
        Feeds(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=sorted({node.op_type for node in chosen}),
        nodes_to_quantize=[node.name for node in chosen],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    model = onnx.load(path)
    keep_metadata(model, metadata)
    onnx.save(model, path)


def _channels(convolution: Any, kernel: Sequence[int]) -> int:
    """Return the number of input channels of a convolution whose kernel is (C_out, C_in / groups, h, w)."""
    groups = next((each.i for each in convolution.attribute if each.name == 'group'), 1)
    return kernel[1] * groups


def _silus(nodes: Sequence[Any], maps: set[str]) -> list[Any]:
    """Return the nodes that compute x sigmoid(x) of maps x, two for each."""
    gates = {node.output[0]: node for node in nodes if node.op_type == 'Sigmoid' and node.input[0] in maps}
    found = []
    for node in nodes:
        for gate, x in (tuple(node.input), tuple(node.input)[::-1]) if node.op_type == 'Mul' else ():
            if gate in gates and gates[gate].input[0] == x:
                found += [gates[gate], node]
    return found


def _quantize_openvino(
    source: Path, path: Path, metadata: Metadata, feeds: Iterator[dict[str, np.ndarray]], kept: set[str]
) -> None:
    # NNCF reports its use to Google Analytics unless this is set before it is imported.
    os.environ.setdefault('NNCF_CI', '1')
    import nncf
    import openvino

    model = openvino_core().read_model(source)
    operators = model.get_ops()
    convolutions = [each for each in operators if each.get_type_name() in ('Convolution', 'GroupConvolution')]
    kernels = {each.friendly_name: each.input_value(1).get_node().friendly_name for each in convolutions}
    _check_found(set(kernels.values()), kept)
    others = {each.get_type_name() for each in operators} - {each.get_type_name() for each in convolutions}
    collected = list(feeds)
    model = nncf.quantize(
        model,
        nncf.Dataset(collected),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(collected),
        ignored_scope=nncf.IgnoredScope(
            names=[name for name, kernel in kernels.items() if kernel in kept], types=sorted(others), validate=False
        ),
    )
    model.set_rt_info(metadata.to_json(), ['model_info', KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def _check_found(kernels: set[str], kept: set[str]) -> None:
    if missing := sorted(kept - kernels):
        raise ExportError(
            f'the convolutions with the weights {", ".join(missing)} must stay in float, but are not in the file'
        )
