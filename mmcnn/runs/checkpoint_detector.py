"""The PyTorch detector for an inference, built from its options."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from mmcnn.config.entries import merge_options
from mmcnn.config.load import load_config, set_backbone
from mmcnn.config.model import wire_model
from mmcnn.config.of_weights import config_of
from mmcnn.inference.detector import Detector
from mmcnn.runs.causes import known_causes
from mmcnn.runs.device import use_device
from mmcnn.runs.options import InferOptions
from mmcnn.runs.process_state import kept_process_state
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.own_modules import import_modules


@contextlib.contextmanager
def checkpoint_detector(options: InferOptions, say: Callable[[str], object]) -> Iterator[Detector]:
    """Provide the detector of a checkpoint; changes to the process are undone at the end.

    Args:
        options: name the checkpoint and the changes to its config.
        say: called with a sentence about each change of the config.

    Raises:
        UsageError: an option is invalid.
        CheckpointError: the checkpoint cannot be used.
    """
    with kept_process_state(), known_causes():
        import_modules(options.imports)
        use_device(options.device)
        yield _detector(options, Checkpoint.open(options.checkpoint), say)


def _detector(options: InferOptions, checkpoint: Checkpoint, say: Callable[[str], object]) -> Detector:
    cfg, classes = None, options.classes
    if options.config is not None:
        cfg = load_config(options.config, say=say)
    elif options.backbone is not None or options.cfg_options:
        cfg, names = config_of(checkpoint, classes, say)
        classes = names or None
    if cfg is not None:
        set_backbone(cfg, options.backbone, options.cfg_options, say)
        merge_options(cfg, options.cfg_options, say)
        wire_model(cfg)
    return Detector(checkpoint, cfg, options.device, options.score_thr, classes, say, amp=options.amp)
