import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcnn.benchmarks.gpu.results import Results

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_of_a_file(run_tool, tmp_path):
    about = dict(
        cores=16,
        python='3.12',
        torch='2.11',
        workers=14,
        data='drawn',
        began='2026-11-26 20:00',
        options=dict(tiny=False),
    )
    results = Results(tmp_path / 'x.json', about)
    results.add('card', 'rates', outcome='done', card='H200', bf16_tflops=700.0)
    results.add('parity', 'yolov4', outcome='begun')  # interrupted here
    result = run_tool('gpu_check', '--table', tmp_path / 'x.json')
    assert (result.code, result.err) == (0, '')
    assert result.out.startswith('H200, 16 cores') and '- parity, yolov4: begun' in result.out


def test_faults_are_one_sentence(run_tool, tmp_path):
    for arguments, line in (
        (
            ('--device', 'cpu'),
            'error: device=cpu: there is no GPU to check; use tiny=True to test the program',
        ),
        (('--table', tmp_path / 'x.json'), f'error: {tmp_path}/x.json cannot be read: No such file or directory'),
        (
            ('--tiny', '--device', 'cpu', '--only', 'gone'),
            'error: only=gone: no measurement has this in its name; there are rates, yolov5_s',
        ),
    ):
        handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        result = run_tool('gpu_check', *arguments, cwd=tmp_path)
        assert handlers == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
        assert result.code == 1 and result.err.startswith(line) and result.err.count('\n') == 1


def processes():
    """Return process ids by the id of the parent."""
    found = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if fields[0] != 'Z':
            found.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return found


def descendants(pid):
    family, found = processes(), []
    waiting = [pid]
    while waiting:
        children = family.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


@pytest.mark.slow
@pytest.mark.parametrize('signum', [signal.SIGKILL, signal.SIGTERM])
def test_a_check_that_is_ended_in_the_middle_has_all_that_was_measured(run_tool, tmp_path, signum):
    out = tmp_path / 'x.json'
    environment = dict(os.environ, PYTHONPATH=str(ROOT), TMPDIR=str(tmp_path), OMP_NUM_THREADS='1')
    command = [
        sys.executable, ROOT / 'tools' / 'gpu_check.py', '--tiny', '--device', 'cpu', '--minutes', 8,
        '--stages', 'operators,speed', '--out', out,
    ]  # fmt: skip
    with subprocess.Popen(
        [*map(str, command)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            stages, end = {}, time.monotonic() + 300
            # Wait until a training has measured values but has not ended.
            while 'step_ms' not in stages.get('speed', {}).get('yolov5_s fp32', {}):
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.1)
                stages = json.loads(out.read_text())['stages'] if out.exists() else {}
            family = descendants(process.pid)
            process.send_signal(signum)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert family
    end = time.monotonic() + 30
    while any(Path('/proc', str(pid)).exists() for pid in family) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in family if Path('/proc', str(pid)).exists()]  # the device is free
    found = json.loads(out.read_text())['stages']
    assert found['operators']['nms']['outcome'] == 'done' and found['operators']['roi_align']['passed'] is True
    broken_off = found['speed']['yolov5_s fp32']
    assert broken_off['outcome'] == 'begun' and broken_off['step_ms'] > 0
    result = run_tool('gpu_check', '--table', out)
    assert result.code == 0 and '| yolov5_s fp32 | 2 | 64 x 64 |' in result.out
    assert '- speed, yolov5_s fp32: begun' in result.out
    if signum == signal.SIGTERM:
        assert process.returncode == 128 + signum
        assert error == f'stopped by SIGTERM; the results so far are in {out}; --table {out} prints them\n'
        assert not [*tmp_path.glob('gpu_check-*')]  # drawn data
