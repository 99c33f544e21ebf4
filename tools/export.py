"""Export of networks: python tools/export.py is mmcnn export."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['export', *sys.argv[1:]]))
