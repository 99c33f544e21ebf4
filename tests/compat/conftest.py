import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def python(tmp_path_factory):
    """Run code in a new process, in an empty folder: ``python(code, *path)``.

    The path comes before the installed packages. Return the output and the last line of stderr.
    """

    def run(code, *path):
        environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, [*path, ROOT])), 'OMP_NUM_THREADS': '1'}
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code], env=environment, capture_output=True, text=True,
            cwd=tmp_path_factory.mktemp('empty'),
        )  # fmt: skip
        return done.stdout.strip(), (done.stderr.strip().splitlines() or [''])[-1]

    return run
