"""Where a recipe waits for the device, and what starts its kernels: ``python -m tests.cuda_simulation.measure yolov5``.

Prints what the last training step and the last batch of the validation did, line by line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import torch

import mmcnn  # noqa: F401  before MMDetection

from .recipes import PRECISIONS, RECIPES, draw_data, train
from .simulation import CudaSimulation


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('recipe', choices=RECIPES)
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--kernels', type=int, default=15, help='lines with most kernels that are shown')
    parser.add_argument('--no-torchvision', action='store_true', help="as if torchvision's operators were not there")
    parser.add_argument('--go-on', action='store_true', help='note what a device refuses, and go on')
    parser.add_argument('--device-augmentation', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[args.recipe]
    options = {'train_dataloader.dataset.device_augmentation': True} if args.device_augmentation else {}
    gpu = CudaSimulation(strict=not args.go_on, torchvision=not args.no_torchvision, by_line=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        data = draw_data(Path(folder), recipe, args.batch_size)
        try:
            with gpu:
                training = train(
                    recipe, data, Path(folder) / 'run', precision=args.precision, batch_size=args.batch_size, gpu=gpu,
                    options=options,
                )  # fmt: skip
        except BaseException:
            with contextlib.suppress(Exception):
                print(said.getvalue()[-2000:], flush=True)
            raise
    for title, record in (
        ('a training step', training.steps[-1]),
        ('a batch of the validation', training.predictions[-1]),
    ):
        print(f'---- {title}\n{record.report(args.kernels)}')
    losses = ', '.join(f'{each["loss"]:.6g}' for each in training.losses)
    print(f'---- losses {losses}')


if __name__ == '__main__':
    main()
