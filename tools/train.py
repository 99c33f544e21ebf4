"""Trains a detector or a classifier, as ``mmcnn train`` does."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
