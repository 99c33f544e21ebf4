"""Conversion of weights: python tools/convert_weights.py is mmcnn convert."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['convert', *sys.argv[1:]]))
