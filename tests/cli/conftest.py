import argparse
import contextlib
import importlib
import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'mmcnn'


@pytest.fixture(scope='session')
def run_command():
    """Run the module of a command with these arguments: ``run_command('zoo', 'show', 'resnet50', cwd=folder)``.

    The result has the exit code, stdout and stderr. Exceptions are not caught.
    """

    def run(name, *args, cwd='.'):
        command = importlib.import_module(f'mmcnn.cli.{name}')
        parser = argparse.ArgumentParser(prog=f'mmcnn {name}')
        command.add_arguments(parser)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command.run(parser.parse_args([str(arg) for arg in args]))
        return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())

    return run


@pytest.fixture(scope='session')
def loaded_by():
    """Return the packages that a command loads besides those of ``import mmcnn``: ``loaded_by('zoo', '--json')``."""

    def run(name, *args):
        # Empty packages replace mmcnn and mmcnn.cli, whose imports do not count.
        code = (
            'import argparse, importlib, sys, types\n'
            f'for name, path in (("mmcnn", {str(PACKAGE)!r}), ("mmcnn.cli", {str(PACKAGE / "cli")!r})):\n'
            '    sys.modules[name] = types.ModuleType(name)\n'
            '    sys.modules[name].__path__ = [path]\n'
            f'command = importlib.import_module("mmcnn.cli.{name}")\n'
            'parser = argparse.ArgumentParser()\n'
            'command.add_arguments(parser)\n'
            'command.run(parser.parse_args(sys.argv[1:]))\n'
            'print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)'
        )
        result = subprocess.run([sys.executable, '-c', code, *args], capture_output=True, text=True, check=True)
        return set(result.stderr.split())

    return run
