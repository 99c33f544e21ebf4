"""Writes a network as an ONNX file, in OpenVINO's format or as a PyTorch exported program, and checks the result.

SOURCE is a checkpoint, published weights (yolov5s.pt, yolov4.weights, ... as in mmcnn infer --help), or the name of a
network (mmcnn zoo) or config (mmcnn configs), which has random weights unless --weights is given. The file takes
images as OpenCV reads them: it includes normalisation and channel order. Its metadata hold the class names and the
resizing of images, and mmcnn.runtime.Detector, mmcnn infer and mmcnn test can run it.

Before the file is written, its results are compared with PyTorch's on several images; if they differ, no file is
left.

  mmcnn export work_dirs/RUN/best.pth
  mmcnn export yolov5s.pt --form nms --img-size 640 --out yolov5s_nms.onnx
  mmcnn export best.pth --to openvino --precision int8 --data PATH
  mmcnn export best.pth --web page && python -m http.server --directory page
  mmcnn export best.pth --triton model_repository
  mmcnn export mobilenetv2 --weights mobilenet_v2.pth --dynamic all
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.deployment.options import ExportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn export``."""
    parser.usage = '%(prog)s SOURCE [options]'
    parser.add_argument('source', metavar='SOURCE', help='a checkpoint, or the name of a network or config')
    parser.add_argument('--config', metavar='CONFIG', help='config of the checkpoint, if it contains none')
    add_options(parser, ExportOptions, leave_out=('device',))


def run(args: argparse.Namespace) -> int:
    """Export the checkpoint or config."""
    options = options_from(args, ExportOptions, source=args.source, config=args.config)

    from mmcnn.deployment.export import run_export

    result = run_export(options)
    checked = result.checked
    print(f'checked  {checked.summary}')
    if accuracy := result.accuracy:
        print(
            f'AP       {accuracy.before:.4f} by PyTorch, {accuracy.after:.4f} by the file ({-accuracy.loss:+.4f}, '
            f'{accuracy.images:,} images)'
        )
    print(f'time     {checked.time_ratio:.2f} of PyTorch (BatchNorm folded, one thread, one image)')
    print(f'{result.path}: {result.size / 1e6:.1f} MB, {result.metadata.task}, form {result.metadata.form}')
    if options.web is not None:
        print(f'page     python -m http.server --directory {options.web} 8000, then http://localhost:8000')
    return 0
