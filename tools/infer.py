"""Finds objects in images, videos or a camera: python tools/infer.py is mmcnn infer."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['infer', *sys.argv[1:]]))
