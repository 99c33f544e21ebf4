"""Sizes of the tensors of all networks and detectors: ``python -m mmcnn.zoo.sizes`` rewrites weights/sizes.json.

:mod:`mmcnn.weights.likeliest` uses them to find the network that a file of weights belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from mmcnn.config.files import new_name, own_configs
from mmcnn.config.load import load_config
from mmcnn.models.classifiers import build_classifier, list_classifiers
from mmcnn.models.families import build_backbone, list_backbones
from mmcnn.models.wiring import wire
from mmcnn.weights.likeliest import STORED, Sizes, sizes_of_parts


def sizes_of_network(name: str) -> Sizes:
    """Return the sizes of a row, with its top if it has one."""
    with torch.device('meta'):
        if name in list_classifiers():
            return sizes_of_parts(build_classifier(name).state_dict(), is_detector=False)
        state = build_backbone(name).state_dict()
    return sizes_of_parts({f'backbone.{key}': value for key, value in state.items()}, is_detector=False)


def sizes_of_config(name: str) -> Sizes:
    """Return the sizes of a detector's config."""
    model = wire(load_config(name).model)
    model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        return sizes_of_parts(MODELS.build(model).state_dict(), is_detector=True)


def detector_configs() -> list[str]:
    """Return the detector configs of mmcnn, by their current names."""
    return [name for name, path in own_configs().items() if '/' not in name and not new_name(path)]


def write_sizes(sizes: Mapping[str, Sizes], path: Path = STORED) -> None:
    """Write the file for :mod:`mmcnn.weights.likeliest`: a line for each network."""
    lines = [f'{json.dumps(name)}: {json.dumps(each, separators=(",", ":"))}' for name, each in sizes.items()]
    path.write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')


if __name__ == '__main__':
    networks = {name: sizes_of_network(name) for name in list_backbones()}
    write_sizes(networks | {name: sizes_of_config(name) for name in detector_configs()})
