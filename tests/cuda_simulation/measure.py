"""Where a recipe waits for the device, and what starts its kernels.

``python -m tests.cuda_simulation.measure yolov5`` prints what the last training step and the last batch of the
validation did, line by line. ``--write-budgets`` measures all recipes and writes budgets.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from pathlib import Path

import torch

import mmcnn  # noqa: F401  before MMDetection

from . import budgets
from .recipes import PRECISIONS, RECIPES, Training, draw_data, train
from .simulation import CudaSimulation


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('recipe', nargs='*', metavar='RECIPE', help=f'{", ".join(RECIPES)} (default: all)')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32')
    parser.add_argument('--batch-size', type=int, default=budgets.BATCH_SIZES[0])
    parser.add_argument('--kernels', type=int, default=15, help='lines with most kernels that are shown')
    parser.add_argument('--no-torchvision', action='store_true', help="as if torchvision's operators were not there")
    parser.add_argument('--go-on', action='store_true', help='note what a device refuses, and go on')
    parser.add_argument('--device-augmentation', action='store_true', help='the device draws the mosaics')
    parser.add_argument('--write-budgets', action='store_true', help='measure these recipes for budgets.json instead')
    args = parser.parse_args()
    torch.set_num_threads(1)
    if unknown := set(args.recipe) - set(RECIPES):
        parser.error(f'there is no recipe {", ".join(sorted(unknown))}')
    recipes = args.recipe or list(RECIPES)
    if args.write_budgets:
        for case in budgets.cases():
            if case[0] in recipes:
                table = budgets.read() if budgets.PATH.exists() else {}
                table[case] = budgets.renewed(table.get(case), budgets.measured(run(*case, by_line=False)))
                budgets.write(table)
                print(*case, table[case], flush=True)
        return
    for recipe in recipes:
        training = run(
            recipe,
            args.precision,
            args.batch_size,
            strict=not args.go_on,
            torchvision=not args.no_torchvision,
            options={'train_dataloader.dataset.device_augmentation': True} if args.device_augmentation else {},
        )
        for title, records in (
            ('training step', training.steps),
            ('prediction', training.predictions),
            ('evaluation of it', training.evaluations),
        ):
            print(f'---- {recipe}, {args.precision}, batch {args.batch_size}: {title}')
            print(records[-1].report(args.kernels))


def run(name: str, precision: str, batch_size: int, *, options=None, **kwargs) -> Training:
    """Trains a recipe on the simulated device; its output is printed only if it fails."""
    recipe = RECIPES[name]
    gpu = CudaSimulation(**{'by_line': True, **kwargs})
    said = io.StringIO()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said), gpu:
            data = draw_data(Path(folder), recipe, batch_size)
            return train(
                recipe, data, Path(folder) / 'run', precision=precision, batch_size=batch_size, gpu=gpu, options=options
            )
    except BaseException:
        print(said.getvalue(), file=sys.stderr)
        raise


if __name__ == '__main__':
    main()
