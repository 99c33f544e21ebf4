"""Lists the networks of mmcnn, as ``mmcnn zoo`` does."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['zoo', *sys.argv[1:]]))
