import sys

import pytest

from mmcnn.benchmarks import start
from mmcnn.benchmarks.options import StartOptions
from mmcnn.errors import UsageError


def test_instructions_are_what_callgrind_says():
    said = '==7== \n==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n==7== I   refs:      1,234,567\n'
    assert start.instructions(said) == 1234567
    with pytest.raises(UsageError, match='no instructions: Illegal instruction'):
        start.instructions('Illegal instruction')


def test_without_valgrind_no_instructions_are_counted(monkeypatch):
    monkeypatch.setattr(start.shutil, 'which', lambda name: None)
    with pytest.raises(UsageError, match='needs valgrind'):
        start.measure(StartOptions(count='instructions'), print)


def test_cpu_seconds_and_seconds_of_programs_are_told_apart(monkeypatch):
    busy = 'sum(i * i for i in range(600_000))'
    commands = {
        start.BASE: [sys.executable, '-c', busy],
        'idle': [sys.executable, '-c', 'import time; time.sleep(0.2)'],
    }
    monkeypatch.setattr(start, 'programs', lambda options, work, say: commands)
    spent, passed = start.measure(StartOptions(runs=1), print)
    assert (spent.unit, passed.unit) == ('s', 's')
    assert [*spent.figures] == [*passed.figures] == [*commands]
    assert all(len(values) == 1 for each in (spent, passed) for values in each.figures.values())
    assert spent.figures['idle'][0] < spent.figures[start.BASE][0]
    assert passed.figures['idle'][0] > 0.2 > spent.figures['idle'][0]
    assert spent.best_peer == passed.best_peer == start.BASE


def test_a_program_that_fails_is_named_with_its_last_lines(monkeypatch):
    commands = {'broken': [sys.executable, '-c', 'print("one"); raise SystemExit("no such thing")']}
    monkeypatch.setattr(start, 'programs', lambda options, work, say: commands)
    with pytest.raises(UsageError, match=r'(?s)broken: .* exit code 1.*no such thing'):
        start.measure(StartOptions(runs=1), print)


@pytest.mark.slow
def test_all_programs_run():
    said = []
    spent, _ = start.measure(StartOptions(runs=1), said.append)
    assert next(iter(spent.figures)) == start.BASE and len(spent.figures) == 6
    assert spent.figures['mmcnn --help'][0] < spent.figures[start.BASE][0] < spent.figures['mmcnn infer'][0]
    assert 'the network itself takes' in said[0]
