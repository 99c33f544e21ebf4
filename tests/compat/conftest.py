import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def python(tmp_path_factory):
    """Runs code in a process of its own, in an empty folder: ``python(code, *path)``.

    The path comes before the installed packages. Gives what was printed and the last line of errors.
    """

    def run(code, *path):
        environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, [*path, ROOT])), 'OMP_NUM_THREADS': '1'}
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code], env=environment, capture_output=True, text=True,
            cwd=tmp_path_factory.mktemp('empty'),
        )  # fmt: skip
        return done.stdout.strip(), (done.stderr.strip().splitlines() or [''])[-1]

    return run
