"""The complete config of a benchmark's detector."""

from __future__ import annotations

from mmengine.config import Config

from mmcnn.benchmarks.options import NetworkOptions
from mmcnn.config.entries import merge_options
from mmcnn.config.load import load_config, set_backbone
from mmcnn.config.model import wire_model


def wired_config(options: NetworkOptions) -> Config:
    """Load the config, swap the backbone and override entries according to the options.

    Raises:
        MmcnnError: as in a training of the config.
    """
    cfg = load_config(options.config)
    set_backbone(cfg, options.backbone, options.cfg_options)
    merge_options(cfg, options.cfg_options)
    wire_model(cfg)
    return cfg
