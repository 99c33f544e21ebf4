"""Trains a detector from Python, reads its results, and evaluates the best checkpoint.

    python examples/train_from_python.py
    python examples/train_from_python.py --config yolov5_s --data PATH --epochs 50 --img-size 640 --image street.jpg

Without --data it draws a small data set.
"""

import argparse

import mmcnn

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--config', default='yolov5_n', help='"mmcnn configs" lists them')
    parser.add_argument('--data', default='demo', help='a folder in COCO, YOLO or VOC layout')
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--img-size', type=int, default=160, help='pixels')
    parser.add_argument('--work-dir', help='folder for the checkpoints')
    parser.add_argument('--image', help='an image to detect objects on')
    args = parser.parse_args()

    result = mmcnn.train(
        args.config, data=args.data, epochs=args.epochs, img_size=args.img_size, work_dir=args.work_dir
    )
    for epoch in result.history:
        print(f'epoch {epoch["epoch"]}: loss {epoch["loss"]:.2f}, AP50 {epoch.get("AP50", float("nan")):.3f}')

    evaluated = mmcnn.evaluate(result.best, data=args.data, work_dir=result.work_dir / 'evaluation')
    print(f'{result.best}: AP {evaluated.metrics["AP"]:.3f}, AP50 {evaluated.metrics["AP50"]:.3f}')
    for name, ap in evaluated.class_ap.items():
        print(f'  {name}: AP {ap:.3f}')

    if args.image:
        found = mmcnn.Detector(result.best, score_thr=0.3)(args.image)
        for name, score, box in zip(found.names, found.scores, found.boxes, strict=True):
            print(f'{name} {score:.2f} at {box.round()}')
        found.plot(args.image, path='drawn.jpg')
