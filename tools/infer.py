"""Finds objects in pictures: python tools/infer.py [CONFIG] CHECKPOINT IMAGE-or-FOLDER [--out D]

Writes each picture with its boxes, under its own name, and detections.json: for each image a list of bbox (x1, y1, x2,
y2 in pixels), score, label and name. Without CONFIG, config, backbone and classes come from the checkpoint.
"""

import argparse
import json
from pathlib import Path

import cv2

from mmcnn import cli
from mmcnn.datasets.class_folder import IMAGE_SUFFIXES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?')
    parser.add_argument('checkpoint')
    parser.add_argument('images', metavar='IMAGE-or-FOLDER')
    parser.add_argument('--out', default='detections', metavar='D', help='folder to write to (default: detections)')
    parser.add_argument('--score-thr', type=float, default=0.25, metavar='S', help='least score to show (0.25)')
    cli.add_backbone_argument(parser)
    cli.add_model_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not 0 <= args.score_thr <= 1:
        raise cli.UsageError(f'--score-thr {args.score_thr}: it has to be between 0 and 1')
    images = cli.find_images(args.images)
    cli.use_device(args.device)
    root, out = Path(args.images), Path(args.out)
    names = {path: path.relative_to(root) if root.is_dir() else Path(path.name) for path in images}
    inputs = {path.resolve() for path in images}
    for name in names.values():
        if (out / name).resolve() in inputs:
            raise cli.UsageError(f'--out {out}: the image {out / name} would be overwritten, choose another folder')
    cfg, _ = cli.config_and_checkpoint(args.config, args.checkpoint, cli.options_of(args))
    cli.wire_model(cfg)

    from mmcnn.detector import Detector, read_image
    from mmcnn.visualization import draw_boxes

    detector = Detector(args.checkpoint, cfg, device=args.device, score_thr=args.score_thr)
    records, unreadable = {}, []
    for path, name in names.items():
        try:
            image = read_image(path)
        except ValueError as error:
            unreadable.append(str(error))
            continue
        found = detector(image)
        records[name.as_posix()] = [
            dict(bbox=[round(float(x), 2) for x in box], score=round(float(score), 4), label=int(label), name=kind)
            for box, score, label, kind in zip(*found, strict=True)
        ]
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        picture = draw_boxes(image, found.boxes, found.labels, found.scores, detector.classes, min_size=0)
        known = name if name.suffix.lower() in IMAGE_SUFFIXES else name.with_suffix('.png')
        cv2.imencode(known.suffix.lower(), picture)[1].tofile(out / known)
    if not records:
        raise cli.UsageError(f'no image could be read; the first: {unreadable[0]}')
    (out / 'detections.json').write_text(json.dumps(records, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    for line in unreadable:
        print(f'left out: {line}')
    count = sum(len(record) for record in records.values())
    print(f'{count} objects in {len(records)} images; pictures and detections.json are in {out}')


if __name__ == '__main__':
    with cli.friendly_errors():
        main()
