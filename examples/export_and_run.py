"""Exports a detector to ONNX, and detects with the file in a process that cannot import PyTorch.

    python examples/export_and_run.py
    python examples/export_and_run.py --checkpoint best.pth --data PATH --image street.jpg

Without --checkpoint it trains a small detector first. It needs pip install 'mmcnn[export]'; the second process needs
only NumPy, OpenCV and ONNX Runtime.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import mmcnn

#: What a machine without PyTorch runs.
RUNNER = """
import sys
sys.modules['torch'] = None  # "import torch" now fails
from mmcnn.runtime import Detector

detector = Detector(sys.argv[1], score_thr=float(sys.argv[2]))
for found in detector(sys.argv[3:]):
    print(found.path.name, [(name, round(float(score), 2)) for name, score in zip(found.names, found.scores)])
"""

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--checkpoint', type=Path)
    parser.add_argument('--data', default='demo', help='the data that the export is checked with')
    parser.add_argument('--image', type=Path)
    parser.add_argument('--score-thr', default='0.3', help='detections with a lower score are dropped')
    parser.add_argument('--out', type=Path, help='a new .onnx file (default: beside the checkpoint)')
    parser.add_argument('--epochs', type=int, default=10, help='of the small detector')
    args = parser.parse_args()

    checkpoint = args.checkpoint
    if checkpoint is None:
        checkpoint = mmcnn.train('yolov5_n', data=args.data, epochs=args.epochs, img_size=160).best
    # Compares the file with PyTorch on images of the data, and raises an ExportError if the detections differ.
    exported = mmcnn.export(checkpoint, data=args.data, form='nms', out=args.out or checkpoint.with_suffix('.onnx'))
    print(f'{exported.path}: {exported.checked.summary}')
    images = [args.image] if args.image else sorted((mmcnn.check_data('demo').root / 'images').iterdir())[:3]
    subprocess.run([sys.executable, '-c', RUNNER, str(exported.path), args.score_thr, *map(str, images)], check=True)
