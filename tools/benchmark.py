"""Measures what the documentation claims: python tools/benchmark.py nms|step|memory|pipeline|slope|waiting [options]

nms      one class-wise NMS of 30,000 boxes, in the pure-PyTorch form
step     seconds of a training step on the CPU (forward and backward, no loss), median of 6
memory   a training step on the CPU with freed memory kept and handed back, in turn (A B A B ...), medians and ratio
pipeline images a second that one process prepares for training, beside MMDetection's mosaic, in turn
slope    growth of memory over many batches, of this process and its workers together
waiting  images a second of training, drawn by the workers and by the device in turn, and the share of waiting for data
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmcnn import cli, cli_data, ops
from mmcnn.benchmarks import memory_slope, pipeline, waiting
from mmcnn.datasets import CocoFolder, read_coco_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['nms', 'step', 'memory', 'pipeline', 'slope', 'waiting'])
    parser.add_argument('--config', default='yolov4_cspdarknet53')
    parser.add_argument('--img-size', type=int, default=320, metavar='N')
    parser.add_argument('--batch-size', type=int, default=16, metavar='N')
    parser.add_argument('--runs', type=int, default=3, metavar='N', help='of each side')
    parser.add_argument('--keep-memory', action='store_true', help='of step')
    data = parser.add_argument_group('of pipeline, slope and waiting')
    data.add_argument('--data', metavar='PATH', help='a folder as of train.py (default: drawn photographs)')
    data.add_argument('--cache-gb', type=float, default=1.0, metavar='G', help='of decoded images (1)')
    data.add_argument('--samples', type=int, default=100, metavar='N', help='images, or iterations, of a run (100)')
    data.add_argument('--batches', type=int, default=2000, metavar='N', help='of slope')
    data.add_argument('--workers', type=int, default=2, metavar='N')
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


@contextlib.contextmanager
def data_folder(path: str | None) -> Iterator[CocoFolder]:
    with tempfile.TemporaryDirectory() as folder:
        yield read_coco_folder(path or pipeline.make_photographs(Path(folder, 'photographs')))


def slope(args: argparse.Namespace, folder: CocoFolder) -> str:
    from mmdet.registry import DATASETS

    dataset = DATASETS.build(pipeline.own_config(folder, args.img_size, cache_gb=args.cache_gb))
    loader = DataLoader(
        dataset,
        args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        collate_fn=pseudo_collate,
        persistent_workers=args.workers > 0,
    )
    return memory_slope.report(*memory_slope.measure(loader, args.batches))


def waiting_times(args: argparse.Namespace, folder: CocoFolder) -> str:
    cli.use_device(args.device)
    results: dict[str, list[tuple[float, float]]] = {'drawn by the workers': [], 'drawn by the device': []}
    for _ in range(args.runs):
        for name, on_device in zip(results, (False, True), strict=True):
            cfg = cli.load_config(args.config, cli.options_of(args))
            cli_data.set_data(cfg, str(folder.root))
            cli_data.set_img_size(cfg, args.img_size)
            args.launcher = 'none'
            cli.set_batches(cfg, args, folder.num_train)
            cli.merge_options(cfg, cli.options_of(args))
            cfg.train_dataloader.dataset.device_augmentation = on_device
            cli_data.set_cache(cfg, args.cache_gb)
            cli.wire_model(cfg)
            with tempfile.TemporaryDirectory() as cfg.work_dir:
                results[name].append(waiting.measure(cfg, args.samples))
            print(f'{name}: {results[name][-1][0]:.1f} images/s', flush=True)
    return waiting.report(results)


def main() -> None:
    args = parse_args()
    cli.at_least(1, args, 'img_size', 'batch_size', 'runs', 'samples', 'batches')
    if args.what == 'nms':
        nms(args.runs)
    elif args.what == 'memory':
        memory(args)
    elif args.what in ('pipeline', 'slope', 'waiting'):
        with data_folder(args.data) as folder:
            if args.what == 'pipeline':
                calls = pipeline.sides(folder, args.img_size, args.cache_gb)
                print(pipeline.report(pipeline.images_a_second(calls, args.samples, args.runs)))
            else:
                print(slope(args, folder) if args.what == 'slope' else waiting_times(args, folder))
    else:
        print(step(args))


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
