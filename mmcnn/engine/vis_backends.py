"""Trackers that MMEngine does not support, or whose naming rules exclude some of its metrics."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.visualization.vis_backend import BaseVisBackend
from mmengine.visualization.vis_backend import MLflowVisBackend as MMEngineMLflowVisBackend

from mmcnn.errors import DependencyError
from mmcnn.registry import VISBACKENDS

#: Characters that no release of MLflow allows in names: all except letters, digits and these.
_NOT_OF_MLFLOW = re.compile(r'[^\w/. -]')
#: trackio reserves this name; in MMEngine's log it is the seconds per iteration.
_OTHER_NAMES_FOR_TRACKIO = {'time': 'iter_time'}


@VISBACKENDS.register_module()
class TrackioVisBackend(BaseVisBackend):
    """Sends metrics to trackio (https://huggingface.co/docs/trackio): ``init``, ``log`` and ``finish``.

    Args:
        save_dir (str, optional): Not used; trackio stores the metrics in its own folder.
        init_kwargs (dict, optional): Arguments of ``trackio.init``; ``project`` defaults to 'mmcnn'.

    Raises:
        DependencyError: At the first use, if trackio is not installed.
    """

    def __init__(self, save_dir: str | None = None, init_kwargs: dict | None = None) -> None:
        super().__init__(save_dir or '')
        self.init_kwargs = dict(project='mmcnn') | dict(init_kwargs or {})
        self._trackio: Any = None

    @property
    def experiment(self) -> Any:
        """The package, with its run started."""
        if self._trackio is None:
            self._init_env()
        return self._trackio

    def _init_env(self) -> None:
        try:
            import trackio
        except ImportError as error:
            raise DependencyError(f'TrackioVisBackend: {error}: pip install trackio') from error
        trackio.init(**self.init_kwargs)
        self._trackio = trackio

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Start the run with the text of its config."""
        if self._trackio is None:
            self.init_kwargs.setdefault('config', dict(config=config.pretty_text))
        self.experiment  # noqa: B018  starts the run

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Send a number."""
        self.add_scalars({name: value}, step)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Send several numbers of one step."""
        numbers = {_OTHER_NAMES_FOR_TRACKIO.get(name, name): float(value) for name, value in scalar_dict.items()}
        self.experiment.log(numbers, step=step)

    def close(self) -> None:
        """End the run."""
        trackio, self._trackio = self._trackio, None
        if trackio is not None:
            trackio.finish()


@VISBACKENDS.register_module()
class MLflowVisBackend(MMEngineMLflowVisBackend):
    """MMEngine's backend with names that MLflow accepts: ``coco/bbox_AR@1`` is logged as ``coco/bbox_AR_1``.

    Names that would become equal get numbers appended. Without the address of a server, here or in the variable
    ``MLFLOW_TRACKING_URI``, everything is stored in ``mlflow.db`` and ``mlartifacts/`` beside the run's log; MLflow 3
    refuses the plain files that MMEngine asks for.

    Args:
        save_dir (str): Folder of the run's log.
        **kwargs: Arguments of MMEngine's backend.
    """

    def __init__(self, save_dir: str, **kwargs: Any) -> None:
        folder = Path(save_dir).absolute()
        if not kwargs.get('tracking_uri'):
            kwargs['tracking_uri'] = os.environ.get('MLFLOW_TRACKING_URI') or f'sqlite:///{folder / "mlflow.db"}'
        if kwargs['tracking_uri'].startswith('sqlite:'):
            kwargs.setdefault('artifact_location', (folder / 'mlartifacts').as_uri())
        super().__init__(save_dir, **kwargs)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log a number."""
        self.add_scalars({name: value}, step)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Log several numbers of one step."""
        allowed: dict[str, float] = {}
        for name, value in scalar_dict.items():
            first = new = _NOT_OF_MLFLOW.sub('_', name)
            count = 1
            while new in allowed or (new != name and new in scalar_dict):
                count += 1
                new = f'{first}_{count}'
            allowed[new] = float(value)
        super().add_scalars(allowed, step)

    def close(self) -> None:
        """End the run, also if it was never started, which MMEngine's backend cannot."""
        if hasattr(self, 'cfg'):
            super().close()
