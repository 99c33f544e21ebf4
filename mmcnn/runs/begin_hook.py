"""The moment at which a run takes over its folder, and the way in which it ends."""

from __future__ import annotations

from datetime import datetime

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmcnn.runs.finished import EarlyEnd
from mmcnn.runs.prepare import Run
from mmcnn.runs.work_dirs import write_record
from mmcnn.version import __version__


class BeginHook(Hook):
    """Writes the record of a run once nothing can prevent its first step.

    Args:
        run: the run.

    Attributes:
        has_begun: whether that moment has come.
        early_end: information about a run that ended before its full length; None: it did not.
    """

    priority = 'LOWEST'  # earlier hooks find, for example, weights that do not fit

    def __init__(self, run: Run) -> None:
        self.run = run
        self.has_begun = False
        self.early_end: EarlyEnd | None = None

    def before_train(self, runner) -> None:
        """Write the record."""
        self.has_begun = True
        if is_main_process():
            write_record(
                self.run.work_dir,
                self.run.kind,
                epochs=runner.max_epochs,
                seed=runner.seed,
                mmcnn=__version__,
                started=datetime.now().astimezone().isoformat(timespec='seconds'),
            )

    def after_train(self, runner) -> None:
        """Check whether another hook has ended the training."""
        self.early_end = EarlyEnd.of(runner)
