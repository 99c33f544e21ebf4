import json
import subprocess
import sys

import pytest

from mmcnn.benchmarks import memory
from mmcnn.benchmarks.options import PassesOptions


def test_the_passes_are_measured_in_a_process_of_its_own(tmp_path):
    program = (
        'import json, sys; print("a line")\n'
        'result = dict(comparisons=[dict(sides=dict(step=dict(median=1.5 if "--keep-memory" in sys.argv else 2.0)))])\n'
        'json.dump(result, open(sys.argv[sys.argv.index("--json") + 1], "w"))'
    )
    command = [sys.executable, '-c', program]
    assert memory.seconds_of([*command, '--keep-memory'], tmp_path) == 1.5
    assert memory.seconds_of(command, tmp_path) == 2.0


def test_passes_that_fail_end_the_measurement(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        memory.seconds_of([sys.executable, '-c', 'raise SystemExit(1)'], tmp_path)


def test_the_command_says_what_was_asked_for(monkeypatch):
    commands = []

    def run(command, check, stdout):
        commands.append(command[3:])
        with open(command[-1], 'w') as file:
            json.dump(dict(comparisons=[dict(sides=dict(step=dict(median=2.0)))]), file)

    monkeypatch.setattr(memory.subprocess, 'run', run)
    options = PassesOptions(
        config='yolov5_n', img_size=64, batch_size=2, backbone='resnet18', cfg_options={'a.b': (1, 2)}, runs=1
    )
    (found,) = memory.measure(options, print)
    expected = [
        'benchmark', 'passes', '--config', 'yolov5_n', '--img-size', '64', '--batch-size', '2',
        '--backbone', 'resnet18', '--cfg-options=a.b=(1, 2)',
    ]  # fmt: skip
    assert [command[:-2] for command in commands[:2]] == [[*expected, '--keep-memory'], expected]
    assert found.figures == {'kept': [2.0], 'handed back': [2.0]} and found.best_peer == 'handed back'
