"""Compares backbones in one detector, as ``mmcnn compare`` does."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['compare', *sys.argv[1:]]))
