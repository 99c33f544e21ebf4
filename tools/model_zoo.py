"""The networks of mmcnn: python tools/model_zoo.py is mmcnn zoo."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['zoo', *sys.argv[1:]]))
