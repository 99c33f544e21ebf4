"""``python -m mmcnn train|test|infer ...``: the tools, wherever mmcnn is installed."""

import runpy
import sys
from pathlib import Path

from mmcnn.nearest import nearest

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / '.mim' / 'tools'


def main() -> None:
    """Runs the tool that the first argument names with the rest of the arguments."""
    folder = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent / 'tools'
    tools = {path.stem: path for path in sorted(folder.glob('*.py'))}
    usage = f'usage: python -m mmcnn {{{",".join(tools)}}} ...'
    if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help'):
        sys.exit(usage)
    name = sys.argv[1]
    if name not in tools:
        sys.exit(f"error: there is no tool '{name}'; {nearest(name, tools)}\n{usage}")
    sys.argv = sys.argv[1:]  # run_path puts the tool's path in the first place
    runpy.run_path(str(tools[name]), run_name='__main__')


if __name__ == '__main__':
    main()
