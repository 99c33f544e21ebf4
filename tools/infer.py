"""Finds objects in images, videos or a camera, as ``mmcnn infer`` does."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['infer', *sys.argv[1:]]))
