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
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmcnn import cli
from mmcnn.benchmarks import memory, memory_slope, nms, pipeline, step, waiting
from mmcnn.datasets import DetectorData, check_data


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


def step_seconds(args: argparse.Namespace) -> float:
    cfg = cli.load_config(args.config, cli.options_of(args))
    cli.wire_model(cfg)
    if args.keep_memory:
        cli.use_device('cpu')
    return step.measure(cfg, args.batch_size, args.img_size)


@contextlib.contextmanager
def data_folder(path: str | None) -> Iterator[DetectorData]:
    with tempfile.TemporaryDirectory() as folder:
        yield check_data(path or pipeline.make_photographs(Path(folder, 'photographs'))).usable()


def slope(args: argparse.Namespace, folder: DetectorData) -> str:
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


def waiting_times(args: argparse.Namespace, folder: DetectorData) -> str:
    cli.use_device(args.device)
    results: dict[str, list[tuple[float, float]]] = {'drawn by the workers': [], 'drawn by the device': []}
    for _ in range(args.runs):
        for name, on_device in zip(results, (False, True), strict=True):
            cfg = cli.load_config(args.config, cli.options_of(args))
            cli.set_data(cfg, str(folder.root))
            cli.set_img_size(cfg, args.img_size)
            args.launcher = 'none'
            cli.set_batches(cfg, args, folder.num_train)
            cli.merge_options(cfg, cli.options_of(args))
            cfg.train_dataloader.dataset.device_augmentation = on_device
            cli.set_cache(cfg, args.cache_gb)
            cli.wire_model(cfg)
            with tempfile.TemporaryDirectory() as cfg.work_dir:
                results[name].append(waiting.measure(cfg, args.samples))
            print(f'{name}: {results[name][-1][0]:.1f} images/s', flush=True)
    return waiting.report(results)


def main() -> None:
    args = parse_args()
    cli.at_least(1, args, 'img_size', 'batch_size', 'runs', 'samples', 'batches')
    if args.what == 'nms':
        for name, call in nms.sides().items():
            print(nms.report(name, *nms.measure(call, args.runs)))
    elif args.what == 'memory':
        command = [sys.executable, __file__, 'step', *sys.argv[2:]]
        print(memory.report(memory.measure(command, args.runs)))
    elif args.what in ('pipeline', 'slope', 'waiting'):
        with data_folder(args.data) as folder:
            if args.what == 'pipeline':
                calls = pipeline.sides(folder, args.img_size, args.cache_gb)
                print(pipeline.report(pipeline.images_a_second(calls, args.samples, args.runs)))
            else:
                print(slope(args, folder) if args.what == 'slope' else waiting_times(args, folder))
    else:
        print(step_seconds(args))


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
