import subprocess
import time

import pytest
import torch

from mmcnn.benchmarks.gpu import determinism
from mmcnn.benchmarks.gpu.measurement import Circumstances, Timer
from mmcnn.errors import TrainingError

HERE = Circumstances(device='cpu', tiny=True, folder='', classes_folder='', workers=0)


def save(path, weight=1.0, average=2.0, momentum=3.0, **more):
    content = dict(
        state_dict=dict(w=torch.tensor([weight, 0.0])),
        ema_state_dict=dict(w=torch.tensor([average])),
        optimizer=dict(state={0: dict(momentum_buffer=torch.tensor(momentum))}, param_groups=[dict(lr=0.1)]),
    )
    torch.save(content | more, path)
    return path


def test_the_digest_has_all_that_has_to_be_the_same(tmp_path):
    first = determinism.digest(save(tmp_path / 'a.pth'))
    assert len(first) == 64
    assert determinism.digest(save(tmp_path / 'b.pth', meta=dict(time='later'))) == first
    others = [dict(weight=1 + 2**-23), dict(average=2.5), dict(momentum=-3.0), dict(weight=-0.0)]
    found = {determinism.digest(save(tmp_path / 'c.pth', **each)) for each in others}
    assert len(found) == len(others) and first not in found


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """Programs that replace trainings: ``trainings[work dir, resumed] = (shell script, final weight)``."""
    scripts, begun = {}, []

    def start(recipe, circumstances, data, work_dir, more):
        work_dir.mkdir(exist_ok=True)
        script, weight = scripts.get((work_dir.name, bool(more)), ('cp ../end.pth epoch_2.pth', 1.0))
        if not (end := work_dir.parent / 'end.pth').exists():
            save(end)
        save(work_dir / 'other.pth', weight)
        begun.append((work_dir.name, [*more]))
        with open(determinism._said(work_dir), 'ab') as said:
            return subprocess.Popen(['sh', '-c', script], cwd=work_dir, stdout=said, stderr=said)

    monkeypatch.setattr(determinism, '_start', start)
    monkeypatch.setattr(determinism, 'make_shapes', lambda path, **kwargs: path)
    scripts['killed', False] = 'touch epoch_1.pth; exec sleep 30', 1.0
    scripts['begun'] = begun
    return scripts


def measured():
    found = {}
    determinism.measure(HERE, Timer(1), lambda **values: found.update(values), recipe='yolov5_s')
    return found


def test_three_that_end_in_the_same(trainings):
    found = measured()
    assert found['passed'] is True and found['killed_with'] == ['epoch_1.pth', 'other.pth']
    assert found['whole'] == found['again'] == found['killed']
    assert trainings['begun'][-1] == ('killed', ['--resume'])


@pytest.mark.parametrize('which', [('again', False), ('killed', True)])
def test_one_that_ends_in_something_else(trainings, which):
    trainings[which] = 'cp other.pth epoch_2.pth', 1.5
    found = measured()
    assert found['passed'] is False and len({found['whole'], found['again'], found['killed']}) == 2


def test_a_training_that_fails_is_told_and_the_others_are_ended(trainings):
    trainings['whole', False] = 'echo no kernel; exit 7', 1.0
    trainings['again', False] = 'exec sleep 30', 1.0
    start = time.monotonic()
    with pytest.raises(TrainingError, match='a training ended with exit code 7: no kernel'):
        measured()
    assert time.monotonic() - start < 10
    trainings['killed', False] = 'echo too little memory; exit 1', 1.0
    with pytest.raises(TrainingError, match='exit code 1: too little memory'):
        measured()


def test_a_training_that_cannot_be_killed_any_more_proves_nothing(trainings):
    trainings['killed', False] = 'touch epoch_2.pth; touch epoch_1.pth; exec sleep 30', 1.0
    with pytest.raises(TrainingError, match='ended before it could be killed, so nothing was resumed'):
        measured()


def test_the_command(monkeypatch, tmp_path):
    commands = []

    def popen(command, **kwargs):
        commands.append((command, kwargs['env']))

    monkeypatch.setattr(determinism.subprocess, 'Popen', popen)
    determinism._start('yolov5_s', HERE, tmp_path, tmp_path / 'x', ('--resume',))
    ((command, environment),) = commands
    assert command[1:5] == ['-m', 'mmcnn', 'train', 'yolov5_s'] and 'randomness.deterministic=True' in command
    assert '--resume' in command and environment['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
