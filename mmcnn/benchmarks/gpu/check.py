"""The check of a GPU: all stages, each with its share of the minutes; every result is written immediately."""

from __future__ import annotations

import dataclasses
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmcnn.benchmarks.gpu import data
from mmcnn.benchmarks.gpu.aims import WAITING
from mmcnn.benchmarks.gpu.budget import Budget
from mmcnn.benchmarks.gpu.measurement import Circumstances, Measurement
from mmcnn.benchmarks.gpu.options import STAGES, GpuCheckOptions
from mmcnn.benchmarks.gpu.process import Worker
from mmcnn.benchmarks.gpu.recipes import RECIPES
from mmcnn.benchmarks.gpu.results import DONE, FAILED, LEFT_OUT, Results
from mmcnn.device import device_called
from mmcnn.errors import UsageError

#: Minimum seconds for a meaningful measurement.
LEAST = 2.0
#: Seconds that a measurement may exceed its time before it is ended.
GRACE = 30.0
#: Maximum number of data-loading processes, and cores that are left to the training process.
MOST_WORKERS, OWN_CORES = 16, 2

Say = Callable[[str], object]


def check(options: GpuCheckOptions, measurements: Sequence[Measurement], say: Say = print) -> Results:
    """Measure, and report each result in a line.

    A measurement that fails, dies or hangs has that as its result, and the next one continues. Measurements for which
    there is no time are marked as left out.

    Args:
        options: options of the check.
        measurements: all measurements, in order.
        say: takes the lines.

    Raises:
        UsageError: nothing is selected, the file cannot be written, or there is no such device.
    """
    chosen = _chosen(options, measurements)
    stages = dict.fromkeys(each.stage for each in chosen)
    device_called(options.device)  # before anything is drawn
    budget = Budget(options.seconds, {stage: STAGES.get(stage, 1.0) for stage in stages})
    results = Results(options.out, _about(options))
    worker = Worker(results.path.with_suffix('.log'))
    try:
        with tempfile.TemporaryDirectory(prefix='gpu_check-') as folder:
            detectors, classifiers = ('', '') if options.train else data.draw(Path(folder), options.tiny)
            circumstances = Circumstances(
                device=options.device,
                tiny=options.tiny,
                folder=str(options.data or detectors),
                classes_folder=str(classifiers),
                workers=_workers(options),
                cache_gb=options.cache_gb,
                batch_size=options.batch_size,
            )
            for stage in stages:
                budget.enter(stage)
                waiting = [each for each in chosen if each.stage == stage]
                for number, measurement in enumerate(waiting):
                    allowed = budget.allowance(len(waiting) - number)
                    circumstances = _knowing_the_card(circumstances, results)
                    _measure(worker, measurement, circumstances, allowed, budget.left(), results, say)
    finally:
        worker.close()
        results.about(seconds=round(options.seconds - budget.left(), 1))
    return results


def _chosen(options: GpuCheckOptions, measurements: Sequence[Measurement]) -> list[Measurement]:
    if options.train is not None:
        return [*measurements]
    # All other numbers are related to the rates of the card, which also give the memory size.
    wanted = [each for each in measurements if each.stage in ('card', *options.stages)]
    if options.only is not None:
        wanted = [each for each in wanted if options.only in each.name or each.stage == 'card']
    if options.only is not None and all(each.stage == 'card' for each in wanted):
        names = ', '.join(each.name for each in measurements if each.stage in options.stages)
        raise UsageError(f'only={options.only}: no measurement has this in its name; there are {names}')
    return wanted


def _measure(
    worker: Worker,
    measurement: Measurement,
    circumstances: Circumstances,
    allowed: float,
    left: float,
    results: Results,
    say: Say,
) -> None:
    stage, name = measurement.stage, measurement.name
    needs_gpu = measurement.needs_gpu and circumstances.device == 'cpu'
    if needs_gpu or allowed < LEAST:
        cause = 'it needs a GPU' if needs_gpu else 'there was no time left'
        results.add(stage, name, outcome=LEFT_OUT, cause=cause)
        say(f'{stage}: {name}: left out, {cause}')
        return
    start = time.monotonic()
    latest = min(2 * allowed + GRACE, max(left, LEAST) + GRACE)
    results.add(stage, name, outcome='begun')
    failure = worker.run(
        measurement, circumstances, allowed, latest, lambda **values: results.add(stage, name, **values)
    )
    seconds = round(time.monotonic() - start, 1)
    if failure is None:
        results.add(stage, name, outcome=DONE, seconds=seconds)
    else:
        results.add(stage, name, outcome=FAILED, cause=failure, seconds=seconds)
    say(f'{stage}: {name}: {story(name, results[stage][name])} [{seconds:.0f} s of {allowed:.0f} s]')


def story(name: str, found: dict) -> str:
    """Return the most important values of a measurement in a line.

    Args:
        name: name of the measurement.
        found: its values.
    """
    parts = []
    if found['outcome'] == FAILED:
        parts.append(f'FAILED, {found["cause"]}')
    if 'passed' in found:
        parts.append('passed' if found['passed'] else 'DIFFERS')
    if 'waiting_share' in found:
        recipe = RECIPES.get(name.split()[0])
        aim = f' (aim: {recipe.aim:.0f})' if recipe is not None and recipe.aim else ''
        waiting = f'{found["waiting_share"]:.1%} waiting (aim: < {WAITING:.0%})'
        parts.append(f'{found["images_per_second"]} images/s{aim}, {waiting}')
    if 'step_images_per_second' in found:
        parts.append(f'step alone {found["step_images_per_second"]} images/s')
    if 'memory_gb' in found:
        parts.append(f'{found["memory_gb"]} GB')
    if 'kernels' in found:
        parts.append(f'{found["kernels"]:.0f} kernels, {sum(found["waits"].values()):.0f} waits a step')
    if 'bf16_tflops' in found:
        parts.append(f'{found.get("card", "cpu")}, bf16 {found["bf16_tflops"]} TFLOP/s')
    if 'validations' in found:
        best = max((each['AP'] for each in found['validations']), default=None)
        parts.append(f'{found["epochs"]} epochs, {found["ended"]}, best AP {best}')
    parts += [f'{key}: {each["end_to_end_ms"]} ms' for key, each in found.items() if 'end_to_end_ms' in str(each)]
    return ', '.join(parts) or found['outcome']


def _knowing_the_card(circumstances: Circumstances, results: Results) -> Circumstances:
    memory = results['card'].get('rates', {}).get('memory', 0)
    return dataclasses.replace(circumstances, memory=memory)


def _workers(options: GpuCheckOptions) -> int:
    if options.workers is not None:
        return options.workers
    cores = len(os.sched_getaffinity(0))
    return 0 if options.tiny else min(max(cores - OWN_CORES, 1), MOST_WORKERS)


def _about(options: GpuCheckOptions) -> dict:
    import torch

    return dict(
        options={field.name: _text(getattr(options, field.name)) for field in dataclasses.fields(options)},
        workers=_workers(options),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        torch=torch.__version__,
        data=options.train or options.data or 'drawn photographs of 640 x 480 px, 80 classes',
        began=time.strftime('%Y-%m-%d %H:%M:%S'),
    )


def _text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
