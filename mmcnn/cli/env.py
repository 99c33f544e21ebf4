"""Prints what a bug report needs: the versions of mmcnn and of what it uses, the machine, and how mmcnn is installed.

The output can be pasted into an issue as it is. It holds no user name, and the home folder is written as ~.
"""

from __future__ import annotations

import argparse

from mmcnn.environment import lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mmcnn env`` takes none."""


def run(args: argparse.Namespace) -> int:
    """Prints the report, each line as soon as it is known: if a library crashes the process, the last line shows it."""
    for line in lines():
        print(line, flush=True)
    return 0
