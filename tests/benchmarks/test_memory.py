import subprocess
import sys

import pytest

from mmcnn.benchmarks import memory


def test_sides_run_in_turn_in_processes_of_their_own(capsys):
    program = "import sys; print('note: 3 lines\\n', 1.5 if '--keep-memory' in sys.argv else 2.0)"
    seconds = memory.measure([sys.executable, '-c', program], runs=2)
    assert seconds == {'kept': [1.5, 1.5], 'handed back': [2.0, 2.0]}
    assert capsys.readouterr().out.splitlines() == [
        'run 1, kept: 1.500 s a step',
        'run 1, handed back: 2.000 s a step',
        'run 2, kept: 1.500 s a step',
        'run 2, handed back: 2.000 s a step',
    ]


def test_a_step_that_fails_ends_the_measurement():
    with pytest.raises(subprocess.CalledProcessError):
        memory.measure([sys.executable, '-c', 'raise SystemExit(1)'], runs=1)


def test_medians_and_their_ratio():
    seconds = {'kept': [1.0, 9.0, 2.0], 'handed back': [4.0, 3.0, 8.0]}
    assert memory.report(seconds) == 'medians of 3: kept 2.000 s, handed back 4.000 s, ratio 0.50'
