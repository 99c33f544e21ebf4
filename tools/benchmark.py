"""Measures what the documentation claims: python tools/benchmark.py nms|step|memory [options]

nms      one class-wise NMS of 30,000 boxes, in the pure-PyTorch form
step     seconds of a training step on the CPU (forward and backward, no loss), median of 6
memory   a training step on the CPU with freed memory kept and handed back, in turn (A B A B ...), medians and ratio
"""

import argparse
import statistics
import subprocess
import sys
import time

import torch

from mmcnn import cli, ops


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['nms', 'step', 'memory'])
    parser.add_argument('--config', default='yolov4_cspdarknet53')
    parser.add_argument('--img-size', type=int, default=320, metavar='N')
    parser.add_argument('--batch-size', type=int, default=16, metavar='N')
    parser.add_argument('--runs', type=int, default=3, metavar='N', help='of each side')
    parser.add_argument('--keep-memory', action='store_true', help='of step')
    cli.add_backbone_argument(parser)
    cli.add_model_arguments(parser)
    return parser.parse_args()


def nms(runs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(30_000, 2, generator=generator) * 600
    boxes = torch.cat([corners, corners + torch.rand(30_000, 2, generator=generator) * 100 + 1], dim=1)
    scores = torch.rand(30_000, generator=generator)
    labels = torch.randint(0, 80, (30_000,), generator=generator)
    offset_boxes = boxes + (labels * 1000)[:, None]
    for name, call in (
        ('nms, classes apart by an offset', lambda: ops.nms(offset_boxes, scores, 0.65)),
        ('batched_nms', lambda: ops.batched_nms(boxes, scores, labels, 0.65)),
    ):
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            kept = len(call())
            seconds.append(time.perf_counter() - start)
        print(f'{name}: 30,000 boxes, 80 classes, {kept} kept: median {statistics.median(seconds):.3f} s of {runs}')


def step(args: argparse.Namespace) -> float:
    """Median seconds of a forward and backward pass of the whole detector without its loss."""
    from mmcnn.registry import MODELS

    cfg = cli.load_config(args.config, cli.options_of(args))
    cli.wire_model(cfg)
    if args.keep_memory:
        cli.use_device('cpu')
    model = MODELS.build({'_scope_': 'mmdet', **cfg.model}).train()
    images = torch.rand(args.batch_size, 3, args.img_size, args.img_size)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        sum(logits.square().mean() for logits in model(images)[0]).backward()
        model.zero_grad()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def memory(args: argparse.Namespace) -> None:
    command = [sys.executable, __file__, 'step', *sys.argv[2:]]
    seconds: dict[str, list[float]] = {'kept': [], 'handed back': []}
    for run in range(args.runs):
        for side, option in (('kept', ['--keep-memory']), ('handed back', [])):
            output = subprocess.run(command + option, capture_output=True, text=True, check=True).stdout
            seconds[side].append(float(output.split()[-1]))
            print(f'run {run + 1}, {side}: {seconds[side][-1]:.3f} s a step', flush=True)
    kept, back = (statistics.median(values) for values in seconds.values())
    print(f'medians of {args.runs}: kept {kept:.3f} s, handed back {back:.3f} s, ratio {kept / back:.2f}')


def main() -> None:
    args = parse_args()
    cli.at_least(1, args, 'img_size', 'batch_size', 'runs')
    if args.what == 'nms':
        nms(args.runs)
    elif args.what == 'memory':
        memory(args)
    else:
        print(step(args))


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
