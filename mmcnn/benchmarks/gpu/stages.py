"""All measurements, in the order in which they run: of a stage the most wanted first."""

from __future__ import annotations

from typing import Any

from mmcnn.benchmarks.gpu import card, latency, operators, parity, speed
from mmcnn.benchmarks.gpu.measurement import Measurement
from mmcnn.benchmarks.gpu.recipes import RECIPES

#: Of the recipes those whose speed is measured; Darknet's form of YOLOv4 is compared only.
FAST = ('yolov5_s', 'yolov4', 'faster_rcnn', 'yolov3', 'classifier')
_BF16: dict[str, Any] = dict(precision='bf16', channels_last=True)


def measurements() -> list[Measurement]:
    """Of all stages."""
    return [
        Measurement(stage='card', name='rates', function=card.measure),
        *(
            Measurement(stage='parity', name=recipe, function=parity.measure, arguments=dict(recipe=recipe))
            for recipe in RECIPES
        ),
        Measurement(stage='operators', name='nms', function=operators.nms),
        Measurement(stage='operators', name='roi_align', function=operators.roi_align),
        Measurement(stage='operators', name='focal_loss', function=operators.focal_loss),
        *(_speed(f'{recipe} bf16 channels_last', recipe, **_BF16) for recipe in FAST),
        *(_speed(f'{recipe} fp32', recipe) for recipe in FAST),
        _speed('yolov5_s bf16 channels_last, drawn by the device', 'yolov5_s', on_device=True, **_BF16),
        *(_speed(f'{recipe} fp16', recipe, precision='fp16') for recipe in FAST[:2]),
        *(_speed(f'{recipe} bf16 channels_last compiled', recipe, compiled=True, **_BF16) for recipe in FAST[:2]),
        *(
            Measurement(stage='latency', name=recipe, function=latency.measure, arguments=dict(recipe=recipe))
            for recipe in FAST
            if not RECIPES[recipe].is_classifier
        ),
    ]


def _speed(name: str, recipe: str, **arguments: Any) -> Measurement:
    return Measurement(
        stage='speed',
        name=name,
        function=speed.measure,
        arguments=dict(recipe=recipe, **arguments),
        needs_gpu=arguments.get('precision', 'fp32') != 'fp32',
    )
