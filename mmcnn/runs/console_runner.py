"""MMEngine's Runner with a log that goes to its file instead of the screen."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from mmcnn.compat import pycocotools_prints
from mmcnn.compat.mmengine_warnings import concerns_users
from mmcnn.console import Console
from mmcnn.engine.data_workers import guard_workers
from mmcnn.engine.random_state import seed_from
from mmcnn.errors import MmcnnError, UsageError


def runner_for(console: Console) -> type[Runner]:
    """Return a Runner of which a console shows the warnings, and if it is verbose everything.

    What the console prints goes to the Runner's log file, too.
    """

    class ConsoleRunner(Runner):
        def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
            logger = super().build_logger(*args, **kwargs)
            if self.rank == 0:  # the other ranks print errors only
                redirect(logger, console)
            return logger

        def build_visualizer(self, visualizer: Any = None) -> Visualizer:
            nodes = visualizer.get('vis_backends') or [] if isinstance(visualizer, dict) else []
            names = [node.get('name') or node.get('type') for node in nodes if isinstance(node, dict)]
            if isinstance(visualizer, dict):  # MMEngine would go on with that of an earlier run, and in its folder
                visualizer = {**visualizer, 'name': self.experiment_name}
            built = super().build_visualizer(visualizer)
            if self.rank == 0:
                for name in names:
                    _start(built, name)
            return built

        def build_model(self, model: Any) -> nn.Module:
            if (seed := self.cfg.get('init_seed')) is not None:
                # All weights are drawn from here on, up to the first step, which has a seed of its own.
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
            # MMEngine warns of schedulers that it cannot resume where there are none.
            schedulers = resume_param_scheduler and self.param_schedulers is not None
            super().resume(filename, resume_optimizer, schedulers, map_location)

        def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict:
            # MMEngine prints where it loads from.
            with contextlib.redirect_stdout(io.StringIO()) as said:
                checkpoint = super().load_checkpoint(*args, **kwargs)
            self.logger.info(said.getvalue().strip())
            return checkpoint

    return ConsoleRunner


def _start(visualizer: Visualizer, name: Any) -> None:
    """Start a back end of a visualizer now; whoever is not logged in there, for example, is told so in a sentence."""
    backend = visualizer.get_backend(name.rpartition('.')[2]) if isinstance(name, str) else None
    if backend is None:
        return
    try:
        backend.experiment  # noqa: B018  starts it
    except MmcnnError:
        raise
    except Exception as error:  # of any library
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip('.')
        raise UsageError(f'{name} cannot start: {reason}; choose another logger, or none') from error


def redirect(logger: MMLogger, console: Console) -> None:
    """Print a log's warnings, or all of it, to the console; the console's own lines go to the log file as well."""
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    (screen,) = (handler for handler in logger.handlers if handler not in files)
    shown = _ConsoleHandler(console, screen.level, files[0].formatter)
    shown.filters += screen.filters  # MMEngine's, against warnings that repeat
    logger.handlers = [shown, *files]
    console.log = lambda text: logger.info(f'\n{text}' if '\n' in text else text, extra=dict(printed=True))


class _ConsoleHandler(logging.Handler):
    """Passes to a console the records that it has not printed itself."""

    def __init__(self, console: Console, level: int, formatter: logging.Formatter) -> None:
        super().__init__(level if console.verbose else max(level, logging.WARNING))
        self.console = console
        self.stream = io.StringIO()  # where MMEngine's MLflowVisBackend looks whether a handler is closed
        self.setFormatter(formatter)
        self.addFilter(concerns_users)
        self.addFilter(lambda record: not getattr(record, 'printed', False))

    def emit(self, record: logging.LogRecord) -> None:
        if self.console.verbose:
            self.console.show(self.format(record))
        else:
            self.console.show(f'{record.levelname.lower()}: {record.getMessage()}')
