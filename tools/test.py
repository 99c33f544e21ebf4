"""Evaluates a checkpoint, as ``mmcnn test`` does."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
