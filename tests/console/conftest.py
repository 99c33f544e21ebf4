import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def on_terminal():
    def run(*args, width=60, term='xterm'):
        """Return the exit code of a process and everything that it writes to its own terminal, on both streams."""
        ours, its = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, *args], stdin=its, stdout=its, stderr=its, start_new_session=True,
            env=dict(os.environ, TERM=term, COLUMNS=str(width), PYTHONPATH=str(ROOT)),
        )  # fmt: skip
        os.close(its)
        output = b''
        while True:
            try:
                output += os.read(ours, 65536)
            except OSError:  # Linux raises it at the end of the output
                break
        os.close(ours)
        return process.wait(), output.decode()

    return run


@pytest.fixture
def screen():
    def shown(output):
        """Return the final lines of a terminal that supports the control sequences of rich's live line."""
        lines, row, column = [''], 0, 0
        for token in re.findall(r'\x1b\[[0-9;?]*[A-Za-z]|.', output, re.DOTALL):
            if token == '\r':
                column = 0
            elif token == '\n':
                row += 1
                lines += [''] * (row == len(lines))
            elif token == '\x1b[2K':
                lines[row] = ''
            elif token == '\x1b[1A':
                row -= 1
            elif token.startswith('\x1b'):
                assert token.endswith('m'), f'{token!r} is not looked after here'
            else:
                lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]

    return shown
