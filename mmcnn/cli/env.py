"""Prints what a bug report needs: versions of mmcnn and its dependencies, the machine, and the kind of installation.

The output can be pasted into an issue. It has no user names, and the home folder is written as ~.
"""

from __future__ import annotations

import argparse

from mmcnn.environment import lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: ``mmcnn env`` has none."""


def run(args: argparse.Namespace) -> int:
    """Print each line as soon as it is known: if a library crashes the process, the last line shows which one."""
    for line in lines():
        print(line, flush=True)
    return 0
