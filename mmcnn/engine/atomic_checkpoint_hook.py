"""Checkpoints that are written completely or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from torch import nn

from mmcnn.compat import private_names
from mmcnn.engine.atomic_file import PART, write_whole
from mmcnn.errors import CheckpointError
from mmcnn.registry import HOOKS

#: Name of the checkpoint of a run that was asked to stop, also in the middle of an epoch.
STOPPED = 'stopped_at_iter_{}.pth'
#: Names of the links to the best and the last checkpoint of a run.
BEST, LAST = 'best.pth', 'last.pth'


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` for runs that may be killed at any moment.

    - A checkpoint, the best one and ``last_checkpoint`` are each written to a temporary file, synchronised and renamed
      (:func:`~mmcnn.engine.atomic_file.write_whole`), without a second copy in memory.
    - What a new checkpoint replaces (the oldest of ``max_keep_ckpts``, the former best one, that of a stop) is deleted
      after it is written. A kill in between leaves an extra file, which the resumed run deletes.
    - Gradients that are accumulated for a later step are stored and restored.
    - A validation that had nothing to measure (NaN, or -1 in COCO's numbers) is never the best one.
    - Only files with the hook's own names in the run's own folder are ever deleted: file names in a checkpoint from
      elsewhere are ignored.
    - A run that is not resumed ignores the ``last_checkpoint`` of an earlier one in its folder.
    - ``best.pth`` (of the first ``save_best``) and ``last.pth`` are relative symbolic links; hard links or copies where
      the file system has none. They are replaced after ``last_checkpoint`` and before anything is deleted, so that they
      never dangle. A file with such a name that is not such a link, or that existed before the run, is not touched.

    Writes to local folders only. The arguments are those of MMEngine's hook.

    Raises:
        ValueError: before training, if the folder is not local.
        CheckpointError: a checkpoint cannot be written; the message has the reason and the last complete checkpoint.
    """

    def before_train(self, runner) -> None:
        """Check the file names in the resumed checkpoint, and remove leftovers of a kill."""
        hub = runner.message_hub
        folder = str(self.out_dir or runner.work_dir)
        if '://' in folder:
            raise ValueError(f'AtomicCheckpointHook only writes to local folders, not to {folder}: use CheckpointHook')
        self._clean_info(runner)
        super().before_train(runner)
        self._links: dict[str, Path | None] = {}  # targets of best.pth and last.pth
        self._newest: tuple[int, Path] | None = (
            None  # iteration and file of the last checkpoint that was written or resumed
        )
        resumed = self._resumed(runner)
        if resumed is not None:
            self._newest = runner.iter, resumed
            if resumed.name == self.filename_tmpl.format(runner.epoch if self.by_epoch else runner.iter):
                self.last_ckpt = str(resumed)
        # A copy does not show who made it, so each checkpoint records which of the two names the run found free.
        own = [] if resumed is None else hub.get_info('own_links', [])
        self._own_links = [name for name in (BEST, LAST) if name in own or self._is_free(Path(self.out_dir) / name)]
        hub.update_info('own_links', self._own_links)
        if not is_main_process():
            return
        stale = [] if resumed is None else hub.get_info('stale_ckpts', [])
        if resumed is None:
            (Path(runner.work_dir) / 'last_checkpoint').unlink(missing_ok=True)
        self._link_best_and_last(resumed)
        self._remove(stale)
        for part in Path(self.out_dir).glob(f'*{PART}'):
            name = part.name.removesuffix(PART)
            if name in (BEST, LAST) or self._is_own(name):
                part.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the gradients that are accumulated for a later step."""
        if 'optimizer' in checkpoint and not runner.optim_wrapper.should_update():
            checkpoint['gradients'] = {
                name: parameter.grad.cpu()
                for name, parameter in _plain(runner.model).named_parameters()
                if parameter.grad is not None
            }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Restore accumulated gradients."""
        if not private_names.is_resumed(runner):
            return
        stored = checkpoint.get('gradients', {})
        for name, parameter in _plain(runner.model).named_parameters():
            if name in stored:
                parameter.grad = stored[name].to(parameter.device)

    def save_stopped(self, runner, epoch: int, iteration: int) -> Path:
        """Write a checkpoint of a run that stops, unless the last one is from this very iteration.

        Args:
            runner (Runner): The runner.
            epoch (int): Number of finished epochs.
            iteration (int): Number of finished iterations.

        Returns:
            Path: The file to resume from.
        """
        if self._newest is None or self._newest[0] != iteration:
            meta = dict(epoch=epoch, iter=iteration)
            self._save_whole(runner, STOPPED.format(iteration), meta, iteration)
        return self._newest[1]

    def best_and_last(self) -> tuple[Path | None, Path | None]:
        """Return ``best.pth`` and ``last.pth``, or their targets; None for one that does not exist yet."""
        return self._links.get(BEST), self._links.get(LAST)

    def what_is_left(self) -> str:
        """Return a phrase about the checkpoint to resume from, for the message of a run that ends."""
        if self._newest is None or not self._newest[1].is_file():
            return 'there is no checkpoint to resume from'
        return f'the last checkpoint, {self._newest[1]}, is complete'

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        stale = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                stale.append(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir) / filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        # In after_train_epoch, MMEngine's iteration counter already includes the whole epoch.
        self._save_whole(runner, filename, meta, meta['iter'], stale)

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if not self.save_best:
            return
        metrics = {k: float('nan') if value == -1 and k.startswith('coco/') else value for k, value in metrics.items()}
        self._former_best = self._best_paths()
        self._set_best(dict.fromkeys(self._former_best))  # so that MMEngine deletes nothing
        with self._written_whole():
            super()._save_best_checkpoint(runner, metrics)
            self._link_best_and_last(self._newest and self._newest[1])  # nothing was saved since
        self._set_best({key: path or self._former_best[key] for key, path in self._best_paths().items()})
        self._remove(self._replaced_best())
        self._former_best = {}

    def _save_whole(self, runner, filename: str, meta: dict, iteration: int, stale: list[str] | None = None) -> None:
        """Write a checkpoint with the whole state, record it in ``last_checkpoint``, and delete what it replaces."""
        own = Path(self.out_dir)
        stopped = sorted(path.name for path in own.glob(STOPPED.format('*')) if path.name != filename)
        stale = [*(stale or []), *self._replaced_best(), *stopped]
        runner.message_hub.update_info('stale_ckpts', stale)
        with self._written_whole():
            runner.save_checkpoint(
                self.out_dir,
                filename,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler and runner.param_schedulers is not None,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                record = Path(runner.work_dir) / 'last_checkpoint'
                write_whole(record, lambda file: file.write(str(own / filename).encode()))
                self._link_best_and_last(own / filename)
        self._newest = iteration, own / filename
        self._remove(stale)

    @contextmanager
    def _written_whole(self) -> Iterator[None]:
        """Make MMEngine's Runner write with :func:`write_whole`, with errors of one sentence."""

        def save(checkpoint: dict, filename: str, **kwargs: Any) -> None:
            write_whole(filename, lambda file: torch.save(checkpoint, file))

        try:
            with private_names.checkpoints_saved_by(save):
                yield
        except OSError as error:
            raise CheckpointError(
                f'cannot write a checkpoint to {self.out_dir}: {error.strerror}; {self.what_is_left()}'
            ) from error

    def _resumed(self, runner) -> Path | None:
        """Return the resumed checkpoint if it is in this run's folder."""
        path = private_names.resumed_file(runner)
        if path is None:
            return None
        path = path.resolve()  # last.pth is a link
        return Path(self.out_dir) / path.name if path.parent == Path(self.out_dir).resolve() else None

    def _clean_info(self, runner) -> None:
        """Adapt the file names in the message hub to this run's folder, or remove them."""
        hub = runner.message_hub
        # MMEngine sets the folder only after it has used these names.
        name = Path(runner.work_dir).name
        folder = Path(runner.work_dir) if self.out_dir in (None, runner.work_dir) else Path(self.out_dir) / name
        path = private_names.resumed_file(runner)
        own = path is not None and path.resolve().parent == folder.resolve()
        for key in [key for key in hub.runtime_info if key == 'best_ckpt' or key.startswith('best_ckpt_')]:
            best = Path(str(hub.get_info(key))).name
            if own and best.startswith('best_') and self._is_own(best):
                hub.update_info(key, str(folder / best))
            else:
                hub.pop_info(key)
        if 'keep_ckpt_ids' in hub.runtime_info:
            kept = hub.get_info('keep_ckpt_ids') if own else []
            hub.update_info('keep_ckpt_ids', [step for step in kept if type(step) is int])

    def _is_own(self, name: str) -> bool:
        """Return whether a file name has the form of this hook's names."""
        regular = re.escape(self.filename_tmpl).replace(r'\{\}', r'\d+')
        stopped = re.escape(STOPPED).replace(r'\{\}', r'\d+')
        return any(re.fullmatch(each, name) for each in (regular, f'best_.+_{regular}', stopped, 'last_checkpoint'))

    def _link_best_and_last(self, last: Path | None) -> None:
        """Make best.pth and last.pth links to the best checkpoint and to this one, or remove them."""
        if not is_main_process():
            return
        for name, target in ((BEST, self._best()), (LAST, last)):
            link = Path(self.out_dir) / name
            part = link.with_name(name + PART)
            part.unlink(missing_ok=True)
            self._links[name] = target
            if target is None:
                if self._is_link(link):
                    link.unlink()
                continue
            try:
                part.symlink_to(target.name)
            except OSError:  # the file system has no symbolic links
                if name not in self._own_links:
                    continue
                try:
                    os.link(target, part)
                except OSError:
                    shutil.copyfile(target, part)
            else:
                if not self._is_free(link):
                    part.unlink()
                    continue
            os.replace(part, link)
            part.unlink(missing_ok=True)  # renaming a hard link onto another link of the same file does nothing
            self._links[name] = link

    def _is_free(self, path: Path) -> bool:
        """Return whether a path is unused, a link made by this hook, or a broken link."""
        return not path.exists() or self._is_link(path)

    def _is_link(self, path: Path) -> bool:
        """Return whether a path is a link made by this hook."""
        return path.is_symlink() and self._is_own(os.readlink(path))

    def _best(self) -> Path | None:
        """Return the best checkpoint by the first indicator, if there is one."""
        if not self.save_best:
            return None
        key, path = next(iter(self._best_paths().items()))
        path = path or self._former_best.get(key)
        return Path(path) if path and Path(path).is_file() else None

    def _remove(self, names: list[str]) -> None:
        if is_main_process():
            for name in names:
                if self._is_own(str(name)) and name != 'last_checkpoint':
                    (Path(self.out_dir) / name).unlink(missing_ok=True)

    def _best_paths(self) -> dict[str, str | None]:
        # The name of a single indicator may still be 'auto'.
        return {'': self.best_ckpt_path} if len(self.key_indicators) == 1 else dict(self.best_ckpt_path_dict)

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = paths['']
        else:
            self.best_ckpt_path_dict = dict(paths)

    _former_best: dict[str, str | None] = {}

    def _replaced_best(self) -> list[str]:
        """Return the names of former best checkpoints that a new one has replaced."""
        new = self._best_paths() if self._former_best else {}
        return [Path(old).name for key, old in self._former_best.items() if old and new[key] and old != new[key]]


def _plain(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
