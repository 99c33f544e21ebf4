import argparse
import contextlib
import importlib
import io
from types import SimpleNamespace

import pytest


@pytest.fixture(scope='session')
def run_command():
    """Runs the module of a command with these arguments: ``run_command('zoo', 'show', 'resnet50', cwd=folder)``.

    Gives the exit code, and what went to stdout and stderr. Errors come through as they are raised.
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
