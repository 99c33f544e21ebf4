"""Trains on boxes from a table: converts a CSV file to COCO annotations, checks them, and trains.

    python examples/own_dataset.py
    python examples/own_dataset.py --csv boxes.csv --images IMAGES --out data/own --epochs 50 --img-size 640

The table has the columns image,x1,y1,x2,y2,class, in pixels, with one box per row; examples/boxes.csv is one of images
that mmcnn draws. COCO, YOLO and VOC data need no conversion: pass their folder to mmcnn.train.
"""

import argparse
import csv
import json
from pathlib import Path

import mmcnn


def to_coco(rows: list[dict], images: Path) -> dict:
    """Convert the rows of a table to COCO annotations; mmcnn fills in areas and the sizes of the images."""
    files, classes = (sorted({row[key] for row in rows}) for key in ('image', 'class'))
    coco = dict(annotations=[], categories=[dict(id=i, name=name) for i, name in enumerate(classes)])
    coco['images'] = [dict(id=i, file_name=str(images.resolve() / name)) for i, name in enumerate(files)]
    for i, row in enumerate(rows, start=1):  # COCO tools take an annotation 0 for none
        x1, y1, x2, y2 = (float(row[key]) for key in ('x1', 'y1', 'x2', 'y2'))
        ids = dict(id=i, image_id=files.index(row['image']), category_id=classes.index(row['class']))
        coco['annotations'].append(dict(ids, bbox=[x1, y1, x2 - x1, y2 - y1]))
    return coco


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--csv', type=Path, default=Path(__file__).with_name('boxes.csv'))
    parser.add_argument('--images', type=Path, help='folder of the images that the table names')
    parser.add_argument('--out', type=Path, default=Path('data/own'))
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--img-size', type=int, default=128, help='pixels')
    args = parser.parse_args()

    with args.csv.open(newline='') as file:
        coco = to_coco(list(csv.DictReader(file)), args.images or mmcnn.check_data('demo').root / 'images')
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'train.json').write_text(json.dumps(coco))
    print(mmcnn.check_data(args.out, val_fraction=0.2))  # names every fault; training stops at the serious ones, too
    result = mmcnn.train(
        'yolov5_n', data=args.out, val_fraction=0.2, epochs=args.epochs, img_size=args.img_size,
        batch_size=8, work_dir=args.out / 'run',
    )  # fmt: skip
    print(f'{result.best}: AP50 {result.metrics["AP50"]:.3f}')
