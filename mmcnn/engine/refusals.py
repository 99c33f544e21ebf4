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

#: Batches in a row that may be skipped; of the whole run, 1 % may be, but at least so many.
MAX_SKIPPED = 10
#: Images that a message lists; where there are more, this file in the work dir has all of them.
SHOWN, ALL_IMAGES = 20, 'not_finite.txt'


class Refusals:
    """Acts on what a :class:`~mmcnn.engine.step_guard.StepGuard` rejects: stops the run or skips the batch.

    A skipped batch leaves the model's buffers (BatchNorm's statistics) as they were, and no entry in the log but its
    warning. How many there were in the run goes into checkpoints.

    Args:
        runner (Runner): The runner.
        guard (StepGuard): Stops where its ``stop`` is set.
    """

    def __init__(self, runner, guard: StepGuard) -> None:
        self.runner = runner
        self.guard = guard
        self._model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._buffers: list[torch.Tensor] = []
        self._images: list[str] = []  # since the last step
        self._in_a_row = 0

    def before_step(self, batch: Any) -> None:
        """Note the batch's images, and what a forward pass changes."""
        self._images += image_paths(batch)
        self._buffers = [] if self.guard.stop else [buffer.clone() for buffer in self._model.buffers()]

    def after_step(self, batch: Any, outputs: dict) -> dict | None:
        """Return what is to be logged of the step.

        Raises:
            TrainingError: something was refused, and the run stops at that or has skipped too much.
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
            raise TrainingError(f'{story}; nothing of it was saved, on_nan=skip leaves such batches out{listed}')
        for buffer, kept in zip(self._model.buffers(), self._buffers, strict=True):
            buffer.copy_(kept)
        skipped = runner.message_hub.get_info('skipped_batches', 0) + 1
        runner.message_hub.update_info('skipped_batches', skipped)
        self._in_a_row += 1
        runner.logger.warning(f'{story}; {whose} is skipped, number {skipped} of this run{listed}')
        if self._in_a_row > MAX_SKIPPED or skipped > max(MAX_SKIPPED, runner.max_iters // 100):
            raise TrainingError(
                f'{story}; {skipped} batches were skipped, {self._in_a_row} of them in a row: that is too many{listed}'
            )

    def _listed(self, images: list[str], whose: str, story: str) -> str:
        """Lines for the end of a message: the first images; where there are more, all of them go to a file as well."""
        if not images:
            return ''
        lines, more = images[:SHOWN], len(images) - SHOWN
        if more > 0:
            lines.append(f'and {more} more')
            file = Path(self.runner.work_dir) / ALL_IMAGES
            # A full disk must not hide what happened.
            with contextlib.suppress(OSError):
                if is_main_process():
                    with file.open('a', encoding='utf-8', errors='surrogateescape') as output:  # any name of a file
                        output.write('\n  '.join([story, *images]) + '\n')
                lines[-1] += f': all are in {file}'
        return '\n    '.join([f'\n  the images of {whose}:', *lines])


def _overflow(wrapper: OptimWrapper) -> str:
    """Return what is likely behind it where a network computes in fp16; nothing in other precisions."""
    if not isinstance(wrapper, AmpOptimWrapper) or wrapper.cast_dtype not in (None, torch.float16):
        return ''
    return (
        f': the training is in fp16, whose numbers end at {torch.finfo(torch.float16).max:,.0f}, and a map or a '
        'gradient inside the network has likely passed that; bf16 has the range of float32 (--amp bf16)'
    )


def image_paths(batch: Any) -> list[str]:
    """Paths of a batch's images: of each sample all that it names, for it may be made of several."""
    samples = batch.get('data_samples', []) if isinstance(batch, dict) else []
    paths: list[str] = []
    for sample in samples:
        for key, value in getattr(sample, 'metainfo', {}).items():
            if key.startswith('img_path'):
                paths += [value] if isinstance(value, str) else list(value)
    return list(dict.fromkeys(paths))
