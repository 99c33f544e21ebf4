"""A program that trains a config with a quiet console: CONFIG [iteration to stop after]."""

import os
import signal
import sys

from mmengine.config import Config
from mmengine.hooks import Hook

from mmcnn.cli.errors import friendly_errors
from mmcnn.console import Console
from mmcnn.registry import HOOKS
from mmcnn.runs import execution as training
from mmcnn.runs.causes import known_causes


@HOOKS.register_module()
class StopItself(Hook):
    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.after:
            os.kill(os.getpid(), signal.SIGTERM)


if __name__ == '__main__':
    cfg = Config.fromfile(sys.argv[1])
    if len(sys.argv) > 2:
        cfg.custom_hooks.append(dict(type='mmcnn.StopItself', after=int(sys.argv[2])))
    with friendly_errors(), known_causes():
        training.train(cfg, console=Console(launcher=cfg.get('launcher', 'none')))
