"""Handling of batches whose loss or gradient is not finite: they are reported, and end the run or are skipped."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmcnn.engine.step_guard import StepGuard
from mmcnn.errors import TrainingError

#: Maximum number of batches skipped in a row; 1 % of the whole run may be skipped, but at least this number.
MAX_SKIPPED = 10
#: Maximum number of images that a message lists; if there are more, this file in the work dir lists all.
SHOWN, ALL_IMAGES = 20, 'not_finite.txt'


class Refusals:
    """Reacts to losses and gradients that a :class:`~mmcnn.engine.step_guard.StepGuard` rejects: stops or skips.

    Skipping a batch restores the model's buffers (BatchNorm's statistics), and logs nothing but a warning. The number
    of skipped batches of the run is stored in checkpoints.

    Args:
        runner (Runner): The runner.
        guard (StepGuard): The run stops if its ``stop`` is set.
    """

    def __init__(self, runner, guard: StepGuard) -> None:
        self.runner = runner
        self.guard = guard
        self._model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._kept: list[torch.Tensor] = []
        self._images: list[str] = []  # images since the last step
        self._in_a_row = 0

    def before_step(self, batch: Any) -> None:
        """Note the batch's images, and the state that a forward pass changes."""
        self._images += image_paths(batch)
        self._kept = [] if self.guard.stop else [buffer.clone() for buffer in self._model.buffers()]

    def after_step(self, batch: Any, outputs: dict) -> dict | None:
        """Return the values to log for the step.

        Raises:
            TrainingError: something was rejected, and the run stops at that or has skipped too many batches.
        """
        if self.guard.refused is None:
            self._in_a_row = 0
        else:
            self._refuse(batch, outputs)
            outputs = None
        if self.runner.optim_wrapper.should_update():
            self._images.clear()
        return outputs

    def _refuse(self, batch: Any, outputs: dict) -> None:
        runner, refused = self.runner, self.guard.refused
        images = image_paths(batch) if refused == 'loss' else self._images
        images = list(dict.fromkeys(image for rank in all_gather_object(images) for image in rank))
        terms = [name for name, value in outputs.items() if not torch.as_tensor(value).isfinite().all()]
        what = f'the {refused} ({", ".join(terms)})' if terms else f'the {refused}'
        whose = 'the batch' if refused == 'loss' else 'the step'
        story = f'{what} is not finite in iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
        story += _overflow(runner.optim_wrapper)
        listed = self._listed(images, whose, story)
        if self.guard.stop:
            raise TrainingError(f'{story}; no checkpoint is affected; use on_nan=skip to drop such batches{listed}')
        for buffer, kept in zip(self._model.buffers(), self._kept, strict=True):
            buffer.copy_(kept)
        skipped = runner.message_hub.get_info('skipped_batches', 0) + 1
        runner.message_hub.update_info('skipped_batches', skipped)
        self._in_a_row += 1
        runner.logger.warning(f'{story}; {whose} is skipped (number {skipped} of this run){listed}')
        if self._in_a_row > MAX_SKIPPED or skipped > max(MAX_SKIPPED, runner.max_iters // 100):
            raise TrainingError(
                f'{story}; {skipped} batches were skipped, {self._in_a_row} of them in a row, which is too many{listed}'
            )

    def _listed(self, images: list[str], whose: str, story: str) -> str:
        """Return lines with the first images for the end of a message; if there are more, write all to a file."""
        if not images:
            return ''
        lines, more = images[:SHOWN], len(images) - SHOWN
        if more > 0:
            lines.append(f'and {more} more')
            file = Path(self.runner.work_dir) / ALL_IMAGES
            # A full disk must not hide the original error.
            with contextlib.suppress(OSError):
                if is_main_process():
                    with file.open('a', encoding='utf-8', errors='surrogateescape') as output:  # any file name
                        output.write('\n  '.join([story, *images]) + '\n')
                lines[-1] += f': all are in {file}'
        return '\n    '.join([f'\n  the images of {whose}:', *lines])


def _overflow(wrapper: OptimWrapper) -> str:
    """Return the likely cause if a network computes in fp16; empty for other precisions."""
    if not isinstance(wrapper, AmpOptimWrapper) or wrapper.cast_dtype not in (None, torch.float16):
        return ''
    return (
        f': the training is in fp16, whose largest number is {torch.finfo(torch.float16).max:,.0f}; an activation or '
        'gradient has probably exceeded it; bf16 has the range of float32 (--amp bf16)'
    )


def image_paths(batch: Any) -> list[str]:
    """Return the paths of a batch's images: all paths of each sample, because it may consist of several images."""
    samples = batch.get('data_samples', []) if isinstance(batch, dict) else []
    paths: list[str] = []
    for sample in samples:
        for key, value in getattr(sample, 'metainfo', {}).items():
            if key.startswith('img_path'):
                paths += [value] if isinstance(value, str) else list(value)
    return list(dict.fromkeys(paths))
