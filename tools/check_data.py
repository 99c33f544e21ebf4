"""Checks a data folder, as ``mmcnn check-data`` does."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['check-data', *sys.argv[1:]]))
