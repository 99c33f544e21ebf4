"""All measurements in their order: in each stage the most important first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcnn.benchmarks.gpu import card, determinism, drawing, latency, operators, parity, speed, training
from mmcnn.benchmarks.gpu.measurement import Measurement
from mmcnn.benchmarks.gpu.recipes import RECIPES

#: Recipes whose speed is measured; Darknet's form of YOLOv4 is only compared.
FAST = ('yolov5_s', 'yolov4', 'faster_rcnn', 'yolov3', 'classifier')
#: Recipes whose trainings must be deterministic.
STEADY = ('yolov5_s', 'faster_rcnn')
_BF16: dict[str, Any] = dict(precision='bf16', channels_last=True)


def measurements() -> list[Measurement]:
    """Return the measurements of all stages."""
    return [
        Measurement(stage='card', name='rates', function=card.measure),
        *(
            Measurement(stage='parity', name=recipe, function=parity.measure, arguments=dict(recipe=recipe))
            for recipe in RECIPES
        ),
        Measurement(stage='operators', name='nms', function=operators.nms),
        Measurement(stage='operators', name='roi_align', function=operators.roi_align),
        Measurement(stage='operators', name='focal_loss', function=operators.focal_loss),
        Measurement(stage='operators', name='renderer', function=drawing.measure, arguments=dict(recipe='yolov5_s')),
        *(
            Measurement(
                stage='determinism',
                name=recipe,
                function=determinism.measure,
                arguments=dict(recipe=recipe),
                environment=determinism.ENVIRONMENT,
            )
            for recipe in STEADY
        ),
        *(
            _speed(
                f'{recipe} {"deterministic" if deterministic else "as it is"}',
                recipe,
                'determinism',
                determinism.ENVIRONMENT,
                deterministic=deterministic,
                with_loader=False,
            )
            for recipe in STEADY
            for deterministic in (False, True)
        ),
        *(_speed(f'{recipe} bf16 channels_last', recipe, **_BF16) for recipe in FAST),
        *(_speed(f'{recipe} fp32', recipe) for recipe in FAST),
        _speed('yolov5_s bf16 channels_last, drawn by the device', 'yolov5_s', on_device=True, **_BF16),
        *(_speed(f'{recipe} fp16', recipe, precision='fp16') for recipe in FAST[:2]),
        *(
            Measurement(stage='latency', name=recipe, function=latency.measure, arguments=dict(recipe=recipe))
            for recipe in FAST
            if not RECIPES[recipe].is_classifier
        ),
        *(
            _speed(f'{recipe} bf16 channels_last compiled', recipe, 'compiled', compiled=True, **_BF16)
            for recipe in FAST[:2]
        ),
    ]


def of_training(data: str, config: str) -> list[Measurement]:
    """Return those of a real training (:mod:`~.training`)."""
    arguments = dict(data=data, config=config)
    return [Measurement(stage='training', name=config, function=training.measure, arguments=arguments)]


def _speed(
    name: str,
    recipe: str,
    stage: str = 'speed',
    environment: Mapping[str, str] | None = None,
    **arguments: Any,
) -> Measurement:
    return Measurement(
        stage=stage,
        name=name,
        function=speed.measure,
        arguments=dict(recipe=recipe, **arguments),
        environment=environment or {},
        needs_gpu=arguments.get('precision', 'fp32') != 'fp32',
    )
