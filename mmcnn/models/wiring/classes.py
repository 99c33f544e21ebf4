"""Numbers of classes in a model's config."""

from __future__ import annotations

from mmcnn.models.wiring.parts import short


def is_classifier(model: dict) -> bool:
    """Return whether a model's config is that of :class:`~mmcnn.models.classifiers.Classifier`."""
    return 'type' in model and short(model) == 'Classifier'


def set_num_classes(model: dict, num_classes: int) -> None:
    """Set every ``num_classes`` inside a model's config, in place."""
    for value in model.values():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, dict):
                set_num_classes(part, num_classes)
    if 'num_classes' in model:
        model['num_classes'] = num_classes


def num_classes(model: dict) -> set[int]:
    """Return every ``num_classes`` of the heads in a model's config, except for that of a region proposal network."""
    parts = [part for name, part in model.items() if name != 'rpn_head']
    inside = (each for part in parts for each in (part if isinstance(part, list | tuple) else [part]))
    found = {number for each in inside if isinstance(each, dict) for number in num_classes(each)}
    return found | ({model['num_classes']} if 'num_classes' in model else set())
