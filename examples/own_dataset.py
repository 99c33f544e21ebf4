"""Trains on boxes from a table: converts a CSV file to COCO annotations, checks them, and trains.

    python examples/own_dataset.py --csv boxes.csv --images IMAGES --out data/own
    mmcnn train yolov5_s --data data/own --val-fraction 0.2

The CSV file has the columns image,x1,y1,x2,y2,class, in pixels, with one box per row. Without --csv the example draws
images of rectangles and such a table. COCO, YOLO and VOC data need no conversion: pass their folder to --data.
"""

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np

import mmcnn


def draw_example(folder: Path) -> Path:
    """Draw 40 images with a red or a blue rectangle each, and return the table of their boxes."""
    rng, rows = np.random.default_rng(0), []
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    for number in range(40):
        image = np.full((96, 128, 3), 200, np.uint8)
        (x1, y1), (w, h), colour = rng.integers(0, 50, 2), rng.integers(20, 45, 2), ('red', 'blue')[number % 2]
        cv2.rectangle(image, (x1, y1), (x1 + w, y1 + h), (0, 0, 255) if colour == 'red' else (255, 0, 0), -1)
        cv2.imwrite(str(folder / 'images' / f'{number}.png'), image)
        rows.append([f'{number}.png', x1, y1, x1 + w, y1 + h, colour])
    with (folder / 'boxes.csv').open('w', newline='') as file:
        csv.writer(file).writerows([['image', 'x1', 'y1', 'x2', 'y2', 'class'], *rows])
    return folder / 'boxes.csv'


def to_coco(table: Path, images: Path, out: Path) -> None:
    """Write train.json in COCO format, and link the images next to it."""
    with table.open(newline='') as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row['class'] for row in rows})
    coco = dict(images=[], annotations=[], categories=[dict(id=i, name=name) for i, name in enumerate(classes, 1)])
    for image_id, name in enumerate(sorted({row['image'] for row in rows}), 1):
        height, width = cv2.imread(str(images / name)).shape[:2]
        coco['images'].append(dict(id=image_id, file_name=name, width=width, height=height))
        for row in (row for row in rows if row['image'] == name):
            x1, y1, x2, y2 = (float(row[key]) for key in ('x1', 'y1', 'x2', 'y2'))
            box, category = [x1, y1, x2 - x1, y2 - y1], classes.index(row['class']) + 1
            annotation = dict(id=len(coco['annotations']) + 1, image_id=image_id, category_id=category, bbox=box)
            coco['annotations'].append(annotation | dict(area=box[2] * box[3], iscrowd=0))
    out.mkdir(parents=True, exist_ok=True)
    (out / 'train.json').write_text(json.dumps(coco))
    if not (out / 'images').exists():
        (out / 'images').symlink_to(images.resolve(), target_is_directory=True)


parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
parser.add_argument('--csv', type=Path)
parser.add_argument('--images', type=Path)
parser.add_argument('--out', type=Path, default=Path('data/own'))
parser.add_argument('--epochs', type=int, default=10)
args = parser.parse_args()

table = args.csv or draw_example(args.out)
to_coco(table, args.images or args.out / 'images', args.out)
report = mmcnn.check_data(args.out, val_fraction=0.2)
print(report)
if report.ok:
    result = mmcnn.train(
        'yolov5_n', data=args.out, val_fraction=0.2, epochs=args.epochs, img_size=128, batch_size=8, workers=0,
        work_dir=args.out / 'run',
    )  # fmt: skip
    print(f'{result.best}: AP50 {result.metrics["AP50"]:.3f}')
