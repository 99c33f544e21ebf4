"""Errors of PyTorch and MMEngine that are converted to mmcnn's."""

import contextlib
import os
import signal

import pytest
from mmengine.config import Config, config
from torch.utils.data import DataLoader

from mmcnn.engine.data_workers import guard_workers
from mmcnn.errors import StoppedError, TrainingError
from mmcnn.runs.causes import known_causes


def test_data_loading_processes_that_cannot_start_or_have_died(full_shm):
    """Outside a training loop, which explains such errors itself."""
    loader = DataLoader(range(50), num_workers=1, multiprocessing_context='fork')
    guard_workers(loader)
    batches = iter(loader)
    with pytest.raises(TrainingError, match=r'^a data-loading process, pid \d+, has died'), known_causes():
        os.kill(batches._workers[0].pid, signal.SIGKILL)
        list(batches)
    full_shm()
    with pytest.raises(TrainingError, match='processes cannot be started: /dev/shm is full'), known_causes():
        iter(loader)


def test_a_death_of_a_run_that_was_interrupted_is_not_the_cause_of_the_next_ones_error():
    loader = DataLoader(range(50), num_workers=1, multiprocessing_context='fork')
    guard_workers(loader)
    with pytest.raises(KeyboardInterrupt), known_causes():
        batches = iter(loader)
        worker = batches._workers[0]
        with contextlib.suppress(RuntimeError):  # PyTorch's signal handler raises it
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(10)
        raise KeyboardInterrupt
    with pytest.raises(RuntimeError, match=r'^CUDA out of memory$'), known_causes():
        raise RuntimeError('CUDA out of memory')


def test_the_end_after_a_signal_is_an_error_of_its_own():
    with pytest.raises(StoppedError, match='stopped by SIGTERM; the last one') as error, known_causes():
        raise SystemExit(143) from StoppedError('stopped by SIGTERM; the last one is whole', 15)
    assert error.value.signum == 15
    with pytest.raises(StoppedError, match=r'^stopped by SIGINT$'), known_causes():
        raise SystemExit(130)


@pytest.mark.parametrize('error', [ValueError('a bug'), RuntimeError('a bug'), OSError('a bug')])
def test_faults_of_the_program_stay_what_they_are(error):
    with pytest.raises(type(error), match=r'^a bug$'), known_causes():
        raise error


@pytest.mark.parametrize('code', [255, 128, 1, 'a reason', None])
def test_an_end_that_is_no_signal_stays_what_it_is(code):
    with pytest.raises(SystemExit) as end, known_causes():
        raise SystemExit(code)
    assert end.value.code == code


@pytest.mark.skipif(not hasattr(config, 'FormatCode'), reason='this MMEngine formats by another function')
def test_ctrl_c_while_mmengine_formats_a_config(monkeypatch):
    """MMEngine replaces any exception there by a SyntaxError."""

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmengine.config.config.FormatCode', interrupted)
    with pytest.raises(KeyboardInterrupt), known_causes():
        Config(dict(a=1)).pretty_text  # noqa: B018


def test_an_error_on_purpose_after_ctrl_c_keeps_its_message():
    def leave():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise StoppedError('stopped by SIGINT; the last one is whole', 2)  # noqa: B904

    with pytest.raises(StoppedError, match='the last one is whole'), known_causes():
        leave()


def test_a_compiler_that_fails_is_one_sentence():
    error = type('InductorError', (RuntimeError,), {'__module__': 'torch._inductor.exc'})
    said = r'^performance\.compile: torch\.compile failed: CppCompileError: C\+\+ compile error; .*out --compile$'
    with pytest.raises(TrainingError, match=said), known_causes():
        raise error('CppCompileError: C++ compile error\n\nCommand:\ng++ ...')
    with pytest.raises(TrainingError, match='failed: InductorError; '), known_causes():
        raise error('')
