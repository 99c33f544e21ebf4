"""Writes a network as an ONNX file, in OpenVINO's format or as one of PyTorch's exported programs, and checks it.

SOURCE is a checkpoint, published weights (yolov5s.pt, yolov4.weights, ...) as mmcnn infer --help lists them, or the
name of a network (mmcnn zoo) or config (mmcnn configs), whose weights are random unless there are --weights. The file
takes images as OpenCV reads them: normalisation and channel order are inside. It says of itself what its classes are
and how images come to its input, and mmcnn.runtime.Detector, mmcnn infer and mmcnn test read it.

Before it is there, it is compared with PyTorch on several images; if it gives anything else, there is no file.

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
    """The arguments of ``mmcnn export``."""
    parser.usage = '%(prog)s SOURCE [options]'
    parser.add_argument('source', metavar='SOURCE', help='a checkpoint, or the name of a network or config')
    parser.add_argument('--config', metavar='CONFIG', help='config of the checkpoint, where it has none')
    add_options(parser, ExportOptions, leave_out=('device',))


def run(args: argparse.Namespace) -> int:
    """Exports."""
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
