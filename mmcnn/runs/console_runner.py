"""MMEngine's Runner with a log that goes to its file instead of the screen."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from mmcnn.compat import pycocotools_prints
from mmcnn.compat.mmengine_warnings import concerns_users
from mmcnn.config.formatted_once import FormattedOnce
from mmcnn.console import Console
from mmcnn.engine.data_workers import guard_workers
from mmcnn.engine.random_state import seed_from
from mmcnn.errors import MmcnnError, UsageError


def runner_for(console: Console) -> type[Runner]:
    """Return a Runner whose warnings, or in verbose mode all log lines, are shown by a console.

    The console's lines also go to the Runner's log file.
    """

    class ConsoleRunner(Runner):
        @classmethod
        def from_cfg(cls, cfg: Config | ConfigDict) -> Runner:
            return super().from_cfg(FormattedOnce.of(cfg) if isinstance(cfg, Config) else cfg)

        def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
            logger = super().build_logger(*args, **kwargs)
            if self.rank == 0:  # the other ranks only print errors
                redirect(logger, console)
            return logger

        def build_visualizer(self, visualizer: Any = None) -> Visualizer:
            nodes = visualizer.get('vis_backends') or [] if isinstance(visualizer, dict) else []
            names = [node.get('name') or node.get('type') for node in nodes if isinstance(node, dict)]
            if isinstance(visualizer, dict):  # MMEngine would reuse that of an earlier run, with its folder
                visualizer = {**visualizer, 'name': self.experiment_name}
            built = super().build_visualizer(visualizer)
            if self.rank == 0:
                for name in names:
                    _start(built, name)
            return built

        def build_model(self, model: Any) -> nn.Module:
            if (seed := self.cfg.get('init_seed')) is not None:
                # All initial weights are drawn after this; the first step has its own seed.
                seed_from(seed)
            return super().build_model(model)

        @staticmethod
        def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
            with pycocotools_prints.to_the_log():
                loader = Runner.build_dataloader(*args, **kwargs)
            guard_workers(loader)
            return loader

        def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
                   map_location: Any = 'default') -> None:  # fmt: skip
            # MMEngine warns of schedulers that it cannot resume even if there are none.
            schedulers = resume_param_scheduler and self.param_schedulers is not None
            super().resume(filename, resume_optimizer, schedulers, map_location)

        def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict:
            # MMEngine prints the path that it loads.
            with contextlib.redirect_stdout(io.StringIO()) as said:
                checkpoint = super().load_checkpoint(*args, **kwargs)
            self.logger.info(said.getvalue().strip())
            return checkpoint

    return ConsoleRunner


def _start(visualizer: Visualizer, name: Any) -> None:
    """Start a backend of a visualizer now, with errors of one sentence, for example if the user is not logged in."""
    backend = visualizer.get_backend(name.rpartition('.')[2]) if isinstance(name, str) else None
    if backend is None:
        return
    try:
        backend.experiment  # noqa: B018  starts it
    except MmcnnError:
        raise
    except Exception as error:  # errors of any library
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip('.')
        raise UsageError(f'{name} cannot start: {reason}; choose another logger, or none') from error


def redirect(logger: MMLogger, console: Console) -> None:
    """Print a log's warnings, or all of it, on the console; the console's own lines also go to the log file."""
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    (screen,) = (handler for handler in logger.handlers if handler not in files)
    shown = _ConsoleHandler(console, screen.level, files[0].formatter)
    shown.filters += screen.filters  # MMEngine's filters against repeated warnings
    logger.handlers = [shown, *files]
    console.log = lambda text: logger.info(f'\n{text}' if '\n' in text else text, extra=dict(printed=True))


class _ConsoleHandler(logging.Handler):
    """Passes records to a console, except for those that came from it."""

    def __init__(self, console: Console, level: int, formatter: logging.Formatter) -> None:
        super().__init__(level if console.verbose else max(level, logging.WARNING))
        self.console = console
        self.stream = io.StringIO()  # MMEngine's MLflowVisBackend checks whether it is closed
        self.setFormatter(formatter)
        self.addFilter(concerns_users)
        self.addFilter(lambda record: not getattr(record, 'printed', False))

    def emit(self, record: logging.LogRecord) -> None:
        if self.console.verbose:
            self.console.show(self.format(record))
        else:
            self.console.show(f'{record.levelname.lower()}: {record.getMessage()}')
