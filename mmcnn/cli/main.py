"""The command ``mmcnn``: one program with several commands, which ``tools/*.py`` call."""

# PYTHON_ARGCOMPLETE_OK
from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NoReturn

from mmcnn.cli.arguments import NamedOnly, separated
from mmcnn.cli.errors import friendly_errors, plain_warnings
from mmcnn.nearest import nearest
from mmcnn.version import __version__

#: Every command with its module in mmcnn.cli and its line in ``mmcnn --help``. Modules are imported on demand.
COMMANDS = {
    'train': ('train', 'train a detector or a classifier'),
    'test': ('test', 'evaluate a checkpoint'),
    'infer': ('infer', 'find objects in images, folders, videos or a camera'),
    'export': ('export', 'write a network as ONNX, for OpenVINO or as a PyTorch program'),
    'check-data': ('check_data', 'check a data folder and report its faults'),
    'sets': ('sets', 'list public data sets, or convert one into a data folder'),
    'anchors': ('anchors', 'measure how well anchors fit a data set, and propose better ones'),
    'compare': ('compare', 'train several backbones in one detector and compare them'),
    'report': ('report', 'explain the AP of a training run on a page'),
    'convert': ('convert', 'convert weights of other libraries, or list published ones'),
    'zoo': ('zoo', 'list all networks, or show one stage by stage'),
    'configs': ('configs', 'list the configs that come with mmcnn'),
    'run': ('run', "run MMDetection's own tools"),
    'compat': ('compat', "let MMDetection's own programs run without compiled operators"),
    'benchmark': ('benchmark', 'measure speed and memory'),
    'env': ('env', 'print the versions that a bug report needs'),
}
#: Names of the files in tools/, for ``python -m mmcnn model_zoo``.
ALIASES = {
    'check_data': 'check-data',
    'compare_backbones': 'compare',
    'convert_weights': 'convert',
    'model_zoo': 'zoo',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None: those of this process.

    Returns:
        the exit code. Errors of mmcnn end the process with their message and code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if '_ARGCOMPLETE' in os.environ:
        _complete()
    name = ALIASES.get(argv[0], argv[0]) if argv else None
    if name is None or name.startswith('-'):
        _parser().parse_args(argv or ['--help'])
        return 0
    with friendly_errors(), plain_warnings():
        if name not in COMMANDS:
            _parser().error(f"there is no command '{argv[0]}'; {nearest(argv[0], COMMANDS)}")
        module = _module(name)
        return module.run(_command_parser(name, module).parse_args(argv[1:]))


class _Parser(argparse.ArgumentParser):
    """After a mistake, names similar options and the command that prints help instead of printing all options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._switches: list[NamedOnly] = []
        self._names: list[str] = []
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        action = super().add_argument(*args, **kwargs)
        if isinstance(action, NamedOnly):
            self._switches.append(action)
        self._names += [name for name in action.option_strings if name.startswith('--')]
        return action

    def parse_known_args(
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        # Overridden instead of parse_args, since argparse calls this one for a subcommand.
        found, unknown = super().parse_known_args(separated(args, self._switches), namespace)
        if unknown:
            wrong = [each.partition('=')[0] for each in unknown if each.startswith('--')]
            similar = get_close_matches(wrong[0], self._names, n=1, cutoff=0.75) if wrong else []
            hint = f'; did you mean {similar[0]}?' if similar else ''
            self.error(f'unrecognized arguments: {" ".join(unknown)}{hint}')
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message}\n{self.prog} --help describes the options\n')


def _parser() -> argparse.ArgumentParser:
    """Return the parser of ``mmcnn`` without a command."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {text}' for name, (_, text) in COMMANDS.items()]
    parser = _Parser(
        prog='mmcnn',
        usage='mmcnn COMMAND ...',
        description='Classic convolutional backbones and YOLO detectors for MMDetection.\n\ncommands:\n'
        + '\n'.join(lines),
        epilog='mmcnn COMMAND --help describes a command. Try: mmcnn train yolov4_cspdarknet53_narrow --data demo',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mmcnn {__version__}')
    return parser


def _module(name: str) -> ModuleType:
    return importlib.import_module(f'mmcnn.cli.{COMMANDS[name][0]}')


def _command_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f'mmcnn {name}', description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    return parser


def _complete() -> None:
    """Answer the shell's request for completions (``eval "$(register-python-argcomplete mmcnn)"``)."""
    import argcomplete

    parser = _parser()
    commands = parser.add_subparsers()
    for name, (_, text) in COMMANDS.items():
        module = _module(name)
        module.add_arguments(commands.add_parser(name, help=text))
    argcomplete.autocomplete(parser)


if __name__ == '__main__':
    sys.exit(main())
