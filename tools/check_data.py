"""Checks a data folder as a training does, and draws what is in it: python tools/check_data.py PATH ...

Faults are listed by kind, with file and id. The picture shows boxes of each class, box sizes, aspect ratios and the
recall of a config's anchors. Exits with 1 where there are errors. Nothing is written to PATH.
"""

import argparse
import sys
from pathlib import Path

from mmcnn import cli, data_picture
from mmcnn.datasets.anchors import anchors_of
from mmcnn.datasets.class_check import check_class_images
from mmcnn.datasets.class_folder import read_class_folder
from mmcnn.datasets.data_check import check_data, is_detector_folder
from mmcnn.datasets.findings import SHOWN, listed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('path', help='a data folder, as --data of tools/train.py')
    parser.add_argument('--config', default='yolov5_s', help='whose anchors (yolov5_s)')
    parser.add_argument('--img-size', type=int, default=640, metavar='N', help='side of the network input (640)')
    parser.add_argument('--out', default='check_data.png', metavar='PNG', help='the picture (check_data.png)')
    parser.add_argument('--show', type=int, default=SHOWN, metavar='N', help=f'findings of each kind ({SHOWN})')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cli.at_least(1, args, 'img_size')
    cli.at_least(0, args, 'show')
    root = Path(args.path)
    if (root / 'train').is_dir() and not is_detector_folder(root):  # of a classifier
        folder, _ = check_class_images(read_class_folder(root), ('train', 'val'), skip_bad=False)
        print(f'{root}: {folder.num_train} + {folder.num_val} images of {len(folder.classes)} classes; no faults')
        return 0
    anchors = anchors_of(cli.load_config(args.config).model)
    report = check_data(root)
    for line in [report.title(), *listed(report.findings, args.show)]:
        print(line)
    if not report.findings:
        print('no faults')
    if not report.of('fatal'):
        cocos = {part.name: kept for part, kept in zip(report.parts, report.kept, strict=True)}
        recall = data_picture.plot_data(cocos, anchors, args.img_size, args.out)
        if recall is not None:
            print(f'best possible recall of the anchors of {args.config} at {args.img_size} px: {recall:.4f}')
        print(f'the picture is {args.out}')
    return 1 if report.of('fatal', 'error') else 0


if __name__ == '__main__':
    with cli.friendly_errors():
        sys.exit(main())
