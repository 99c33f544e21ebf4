import contextlib
import functools
import json
import multiprocessing

import pytest

from mmcnn.benchmarks import pipeline
from mmcnn.benchmarks.gpu import check as checks
from mmcnn.benchmarks.gpu import determinism, process
from mmcnn.benchmarks.gpu.budget import Budget
from mmcnn.benchmarks.gpu.check import check
from mmcnn.benchmarks.gpu.measurement import Measurement
from mmcnn.benchmarks.gpu.options import GpuCheckOptions
from mmcnn.benchmarks.gpu.results import read_results
from mmcnn.benchmarks.gpu.stages import measurements
from mmcnn.benchmarks.gpu.table import tables
from mmcnn.errors import UsageError
from mmcnn.runs import process_state


def card(circumstances, timer, report):
    report(memory=80, bf16_tflops=2.0)


def seen(circumstances, timer, report, **arguments):
    report(memory_seen=circumstances.memory, folder=circumstances.folder, workers=circumstances.workers, **arguments)


def failing(circumstances, timer, report):
    report(step_ms=3.0)
    raise ValueError('no kernel')


CARD = Measurement(stage='card', name='rates', function=card)


def measurement(name, function, stage='speed', **more):
    return Measurement(stage=stage, name=name, function=function, **more)


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Skip drawing data, and fork the process."""
    monkeypatch.setattr(process.multiprocessing, 'get_context', lambda kind: multiprocessing.context.ForkContext())
    monkeypatch.setattr(process, '_clean', lambda device: True)
    monkeypatch.setattr(process_state, 'kept_process_state', contextlib.nullcontext)
    monkeypatch.setattr(checks.data, 'draw', lambda folder, tiny: (folder / 'd', folder / 'c'))
    monkeypatch.chdir(tmp_path)
    return lambda **options: GpuCheckOptions(**dict(device='cpu', tiny=True, minutes=1, out='x.json') | options)


def run(options, *given):
    lines = []
    return check(options, given, lines.append), lines


def test_a_failure_stops_no_other_and_the_file_has_all(quick):
    results, lines = run(
        quick(workers=3), CARD, measurement('yolov5_s', failing),
        measurement('yolov4', seen, arguments=dict(step_ms=2.0)), measurement('yolov3 bf16', seen, needs_gpu=True),
    )  # fmt: skip
    found = results['speed']
    assert (found['yolov5_s']['outcome'], found['yolov5_s']['step_ms']) == ('failed', 3.0)
    assert found['yolov5_s']['cause'].startswith('ValueError: no kernel (')
    assert (
        found['yolov4']['outcome'] == 'done' and found['yolov4']['memory_seen'] == 80
    )  # which the first stage determined
    assert found['yolov4']['workers'] == 3 and found['yolov4']['folder'].endswith('/d')
    assert found['yolov3 bf16'] == dict(outcome='left out', cause='it needs a GPU')
    assert json.loads(json.dumps(read_results('x.json')['stages']['speed'])) == found
    assert results.content['about']['seconds'] >= 0
    assert lines[0].startswith('card: rates: cpu, bf16 2.0 TFLOP/s [')
    assert lines[1].startswith('speed: yolov5_s: FAILED, ValueError: no kernel (')
    assert lines[3] == 'speed: yolov3 bf16: left out, it needs a GPU'
    text = tables(results.content)
    assert '- speed, yolov5_s: failed, ValueError: no kernel' in text
    assert '- speed, yolov3 bf16: left out, it needs a GPU' in text


def test_minutes_that_are_used_up_leave_a_mark(quick, monkeypatch):
    now, allowed, latest = [0.0], {}, {}

    class Worker:
        def __init__(self, log):
            assert str(log) == 'x.log'

        def run(self, measurement, circumstances, seconds, at_last, report):
            allowed[measurement.name], latest[measurement.name] = seconds, at_last
            now[0] += 50.0 if measurement.name == 'b' else 1.0

        def close(self):
            now[0] += 1.0

    monkeypatch.setattr(checks, 'Worker', Worker)
    monkeypatch.setattr(checks, 'Budget', functools.partial(Budget, clock=lambda: now[0]))
    parity = (measurement(name, seen, 'parity') for name in 'abc')
    results, lines = run(quick(), CARD, *parity, measurement('d', seen), measurement('e', seen, 'latency'))
    stages = (results[stage] for stage in ('parity', 'speed', 'latency'))
    outcomes = {name: each['outcome'] for stage in stages for name, each in stage.items()}
    # b takes 50 of the 60 s, so its stage has no time left, and the others share the rest.
    assert outcomes == dict(a='done', b='done', c='left out', d='done', e='done')
    assert results['parity']['c'] == dict(outcome='left out', cause='there was no time left')
    assert lines[3] == 'parity: c: left out, there was no time left'
    assert latest['a'] == 2 * allowed['a'] + checks.GRACE and 0 < allowed['d'] < 7 and allowed['e'] == 7
    assert results.content['about']['seconds'] == 55.0


def test_what_is_asked_for_is_chosen(quick):
    names = 'yolov4 fp32', 'yolov5_s fp32'
    given = (CARD, *(measurement(name, seen) for name in names), measurement('x', seen, 'parity'))
    results, _ = run(quick(only='v5'), *given)
    assert {stage: [*each] for stage, each in results.content['stages'].items()} == dict(
        card=['rates'], speed=['yolov5_s fp32']
    )
    results, _ = run(quick(stages='parity'), *given)
    assert set(results.content['stages']) == {'card', 'parity'}
    with pytest.raises(
        UsageError,
        match=r'only=gone: no measurement has this in its name; there are rates, yolov4 fp32, yolov5_s fp32, x',
    ):
        run(quick(only='gone'), *given)


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(quick):
    with pytest.raises(UsageError, match=r'gone/x\.json cannot be written'):
        run(quick(out='gone/x.json'), measurement('a', failing))


@pytest.mark.parametrize(('workers', 'tiny', 'cores', 'expected'), [(5, True, 16, 5), (None, True, 16, 0)])
def test_processes_that_load(quick, monkeypatch, workers, tiny, cores, expected):
    monkeypatch.setattr(checks.os, 'sched_getaffinity', lambda pid: range(cores))
    assert checks._workers(quick(workers=workers, tiny=tiny)) == expected


@pytest.mark.parametrize(('cores', 'expected'), [(16, 14), (64, 16), (2, 1)])
def test_processes_that_load_on_a_gpu(monkeypatch, cores, expected):
    monkeypatch.setattr(checks.os, 'sched_getaffinity', lambda pid: range(cores))
    assert checks._workers(GpuCheckOptions()) == expected


def test_stories():
    loaded = dict(
        outcome='done', images_per_second=297.0, waiting_share=0.011, step_images_per_second=525.0, memory_gb=12.0,
        kernels=3143.3, waits=dict(a=90.0, b=9.3),
    )  # fmt: skip
    assert checks.story('yolov5_s fp32', loaded) == (
        '297.0 images/s (aim: 600), 1.1% waiting (aim: < 2%), step alone 525.0 images/s, 12.0 GB, 3143 kernels, '
        '99 waits a step'
    )
    assert checks.story('yolov3 fp32', loaded).startswith('297.0 images/s, 1.1% waiting')
    assert checks.story('x', dict(outcome='done', passed=False)) == 'DIFFERS'
    assert checks.story('x', {'outcome': 'done', 'fp32, batch 1': dict(end_to_end_ms=3)}) == 'fp32, batch 1: 3 ms'
    trained = dict(outcome='done', epochs=3, ended='as planned', validations=[dict(AP=0.1), dict(AP=0.3)])
    assert checks.story('x', trained) == '3 epochs, as planned, best AP 0.3'


def tiny_form(folder, minutes, chosen):
    """Run measurements like the program; return the results by stage. All that can run on the CPU must be done."""
    lines = []
    check(GpuCheckOptions(device='cpu', tiny=True, minutes=minutes, out=folder / 'x.json'), chosen, lines.append)
    content = read_results(folder / 'x.json')
    for each in chosen:
        found = content['stages'][each.stage][each.name]
        expected = dict(outcome='left out', cause='it needs a GPU') if each.needs_gpu else dict(outcome='done')
        assert found.items() >= expected.items(), (each.name, found)
        assert found.get('passed') is not False, (each.name, found)
    assert len(lines) == len(chosen) and '**no**' not in tables(content)
    return content['stages'], tables(content)


@pytest.fixture
def few_images(monkeypatch):
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 16)


def of(*stages):
    return [each for each in measurements() if each.stage in stages]


@pytest.mark.slow
def test_the_tiny_form_of_card_parity_and_operators(tmp_path, few_images):
    stages, text = tiny_form(tmp_path, 20, of('card', 'parity', 'operators'))
    assert stages['card']['rates']['bf16_tflops'] > 0
    for recipe, found in stages['parity'].items():
        assert found['passed'] is True
        for precision in ('fp32', 'batch_fp32', 'bf16', 'fp16'):
            assert 0 <= found[precision]['loss_error'] <= found[precision]['loss_error_bound'], (recipe, precision)
        assert found['fp32']['layers'] > 10
    assert stages['operators']['nms']['batched_nms, 400 boxes']['same_as_cpu'] is True
    assert stages['operators']['renderer']['drawn']['images'] == 2
    for head in ('| recipe | precision |', '| operator |'):
        assert head in text


@pytest.mark.slow
def test_the_tiny_form_of_determinism(tmp_path, few_images):
    trained = [each for each in of('determinism') if each.function is determinism.measure]
    stages, text = tiny_form(tmp_path, 15, trained)
    for found in stages['determinism'].values():
        assert len(found['whole']) == 64 and found['whole'] == found['again'] == found['killed']
        assert 'epoch_1.pth' in found['killed_with'] and 'epoch_2.pth' not in found['killed_with']
    assert '| yolov5_s | yes |' in text and '| faster_rcnn | yes |' in text


@pytest.mark.slow
def test_the_tiny_form_of_speed_and_compiled(tmp_path, few_images):
    cost = [each for each in of('determinism') if each.function is not determinism.measure]
    stages, text = tiny_form(tmp_path, 12, [*cost[:2], *of('speed', 'compiled')])
    assert stages['compiled']['yolov4 bf16 channels_last compiled']['outcome'] == 'left out'
    measured = [each for each in stages['speed'].values() if each['outcome'] == 'done']
    assert len(measured) == 5
    for found in measured:
        assert found['step_ms'] > found['preprocess_ms'] > 0 and found['traffic_gb_of_a_step'] > 0
        assert found['input_shape'] == [2, 3, 64, 64] and found['reads']['aten::item'] > 0
        assert found['images_per_second'] > 0 and found['loader_images_per_second'] > 0 and found['loaded_steps'] > 0
        assert 0 <= found['waiting_share'] <= 1
    assert all('images_per_second' not in each for each in stages['determinism'].values())
    assert '| training |' in text and '| recipe | same weights |' in text


@pytest.mark.slow
def test_the_tiny_form_of_latency(tmp_path, few_images):
    stages, text = tiny_form(tmp_path, 10, of('latency'))
    assert set(stages['latency']) == {'yolov5_s', 'yolov4', 'yolov3', 'faster_rcnn'}
    for found in stages['latency'].values():
        assert found['fp32, batch 2']['end_to_end_ms'] > 0 and found['fp32, batch 2']['input_shape'][0] == 2
    assert '| detector |' in text
