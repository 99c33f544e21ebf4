"""Compares backbones at equal multiply-adds, and prints what the data allow to say about each pair.

    python examples/compare_backbones.py
    python examples/compare_backbones.py --data PATH --img-size 320 --epochs 50 --macs 2G --seeds 5

Every backbone is trained with the same seeds. Finished trainings are kept, so a second call continues the comparison.
"""

import argparse

import mmcnn

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--config', default='yolov5_n')
    parser.add_argument('--backbones', default='cspdarknet-n,mobilenetv2', help='"mmcnn zoo" lists them')
    parser.add_argument('--data', default='demo', help='a folder in COCO, YOLO or VOC layout')
    parser.add_argument('--img-size', type=int, default=96, help='pixels')
    parser.add_argument('--epochs', type=int, default=4)
    parser.add_argument('--macs', help='multiply-adds that the width of each backbone is fitted to')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--work-dir', default='work_dirs/comparison')
    args = parser.parse_args()

    comparison = mmcnn.compare_backbones(
        args.config, backbones=args.backbones, data=args.data, img_size=args.img_size, epochs=args.epochs,
        macs=args.macs, seeds=args.seeds, work_dir=args.work_dir,
    )  # fmt: skip
    for candidate in comparison.candidates:
        scores = [run.metrics['bbox_mAP'] for run in candidate.runs if run.failure is None]
        print(f'{candidate.name}: AP {", ".join(f"{score:.3f}" for score in scores)}')
    for pair in comparison.pairs:
        print(pair.verdict)
    print(f'{args.work_dir}/comparison.html has the costs, the curves and the intervals.')
