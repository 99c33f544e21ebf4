"""Measures how well a config's anchors fit a data set, as ``mmcnn anchors`` does."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['anchors', *sys.argv[1:]]))
