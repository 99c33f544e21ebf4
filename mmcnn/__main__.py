"""``python -m mmcnn`` is the command ``mmcnn``."""

import sys

from mmcnn.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
