"""The tables of a check, in Markdown, for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmcnn.benchmarks.gpu.aims import DETERMINISM, WAITING, aims, cost_of_determinism
from mmcnn.benchmarks.gpu.recipes import RECIPES
from mmcnn.benchmarks.gpu.results import DONE

#: The card's rate that the operations of a training in this precision are related to.
_RATES = {'fp32': 'tf32', 'bf16': 'bf16', 'fp16': 'fp16'}
#: Number of operators and kernels that are shown.
_SHOWN = 5


def tables(content: dict[str, Any]) -> str:
    """Return all tables for which there are results.

    Args:
        content: content of a file of results (:class:`~.results.Results`).
    """
    stages = content['stages']
    parts = [_about(content)]
    if not content['about']['options']['tiny'] and (found := [*aims(stages)]):
        rows = [[each.what, each.wanted, each.measured, _yes(each.reached)] for each in found]
        parts.append(_markdown(['aim on an H100 or H200', 'wanted', 'measured', 'reached'], rows))
    for name, make in _TABLES.items():
        if stages.get(name):
            parts.append(make(stages[name], stages))
    if failures := [*_failures(stages)]:
        parts.append('\n'.join(failures))
    return '\n\n'.join(parts)


def _about(content: dict[str, Any]) -> str:
    about, card = content['about'], content['stages'].get('card', {}).get('rates', {})
    line = (
        f'{card.get("card", "CPU")}, {about["cores"]} cores, Python {about["python"]}, torch {about["torch"]}, '
        f'{about["workers"]} data-loading processes, {about["data"]}; {about["began"][:10]}, {about.get("seconds")} s.'
    )
    if about['options']['tiny']:
        line += ' **Tiny form: these speeds are meaningless.**'
    rates = [
        f'{name} {card[f"{name}_tflops"]} TFLOP/s'
        for name in ('fp32', 'tf32', 'bf16', 'fp16')
        if f'{name}_tflops' in card
    ]
    copies = [f'{text} {card[key]} GB/s' for key, text in _COPIES.items() if key in card]
    return line + (f'\nMeasured rates of the card: {", ".join(rates + copies)}.' if rates else '')


_COPIES = {'copy_gb_per_second': 'copy on the device', 'upload_gb_per_second': 'copy to it'}


def _speed(found: dict[str, Any], stages: dict[str, Any]) -> str:
    card = stages.get('card', {}).get('rates', {})
    rows = []
    for name, each in found.items():
        recipe = RECIPES[name.split()[0]]
        aim = f'{recipe.aim:.0f}' if recipe.aim else ''
        product = _of_rate(each, 'tflop_of_a_step', card.get(f'{_RATES[_precision(name)]}_tflops'))
        copy = _of_rate(each, 'traffic_gb_of_a_step', card.get('copy_gb_per_second'))
        rows.append([
            name, each.get('batch_size'), _shape(each), each.get('step_images_per_second'),
            each.get('images_per_second'), aim, _percent(each.get('waiting_share')),
            each.get('loader_images_per_second'), each.get('memory_gb'), _percent(product), _percent(copy),
            each.get('preprocess_ms'), each.get('kernels'), _sum(each.get('waits')), _percent(each.get('idle_share')),
        ])  # fmt: skip
    heads = [
        'training', 'batch', 'input', 'step, images/s', 'with loader', 'aim', f'waiting (aim: < {WAITING:.0%})',
        'loader alone', 'GB',
        'of the matrix product', 'of the copy', 'preprocessing, ms', 'kernels', 'waits', 'idle',
    ]  # fmt: skip
    text = _markdown(heads, rows)
    for name, each in found.items():
        if each.get('top_operators'):
            shown = ', '.join(f'{op} {ms} ms' for op, ms, _ in each['top_operators'][:_SHOWN])
            text += f'\n\n{name}: {shown}'
        if each.get('places_of_waits'):
            text += '\n  waits at ' + ', '.join(f'{place} ({times})' for place, times in each['places_of_waits'])
    return text


def _parity(found: dict[str, Any], stages: dict[str, Any]) -> str:
    rows = []
    for recipe, each in found.items():
        for precision in ('fp32', 'batch_fp32', 'bf16', 'fp16'):
            if values := each.get(precision):
                shown = [_number(values.get(f'{key}{end}')) for key, end in _ERRORS]
                rows.append([recipe, _PRECISIONS.get(precision, precision), *shown, _yes(values['passed'])])
    heads = ['recipe', 'precision', 'loss', 'bound', 'gradient', 'bound', 'worst layer', 'bound', 'within']
    return _markdown(heads, rows)


_ERRORS = (
    *(('loss_error', ''), ('loss_error', '_bound'), ('gradient_error', ''), ('gradient_error', '_bound')),
    *(('layer_error', ''), ('layer_bound', '')),
)
_PRECISIONS = {'fp32': 'fp32, statistics fixed', 'batch_fp32': 'fp32, statistics of the batch'}


def _operators(found: dict[str, Any], stages: dict[str, Any]) -> str:
    rows = []
    for name, each in found.items():
        for key, values in each.items():
            if isinstance(values, dict):
                same = values.get('same_as_cpu', values.get('passed'))
                rows.append([
                    name if key in _RATES else '', key, _number(values.get('error')), _yes(same),
                    values.get('ms'), values.get('ms_of_torchvision'),
                ])  # fmt: skip
    return _markdown(['operator', 'case', 'error', 'right', 'ms', "torchvision's"], rows)


def _latency(found: dict[str, Any], stages: dict[str, Any]) -> str:
    rows = [
        [
            recipe, key, values.get('network_ms'), values['predict_ms'], values['end_to_end_ms'],
            values['images_per_second'],
        ]
        for recipe, each in found.items()
        for key, values in each.items()
        if 'end_to_end_ms' in str(values)
    ]  # fmt: skip
    return _markdown(['detector', 'precision', 'network, ms', 'with NMS', 'from images', 'images/s'], rows)


def _determinism(found: dict[str, Any], stages: dict[str, Any]) -> str:
    rows = []
    for recipe, each in found.items():
        times = [found.get(f'{recipe} {how}', {}).get('step_ms') for how in ('as it is', 'deterministic')]
        if 'passed' in each or any(times):
            same = _yes(each['passed']) if 'passed' in each else None
            rows.append([recipe, same, *times, _percent(cost_of_determinism(stages, recipe))])
    heads = ['recipe', 'same weights', 'step, ms', 'deterministic, ms', f'cost (aim: <= {DETERMINISM:.0%})']
    return _markdown(heads, rows)


def _training(found: dict[str, Any], stages: dict[str, Any]) -> str:
    parts = []
    for name, each in found.items():
        if validations := each.get('validations'):
            line = f'{name}: {each["epochs"]} epochs planned, {each["ended"]}, {each["training_seconds"]} s.'
            rows = [[one['epoch'], _score(one['AP']), _score(one['AP50'])] for one in validations]
            parts.append(f'{line}\n\n{_markdown(["epoch", "AP", "AP50"], rows)}')
    return '\n\n'.join(parts)


_TABLES = {
    'speed': _speed,
    'compiled': _speed,
    'parity': _parity,
    'operators': _operators,
    'determinism': _determinism,
    'latency': _latency,
    'training': _training,
}


def _failures(stages: dict[str, Any]) -> Iterator[str]:
    for stage, found in stages.items():
        for name, each in found.items():
            if each['outcome'] != DONE:
                yield f'- {stage}, {name}: {each["outcome"]}' + (f', {each["cause"]}' if 'cause' in each else '')


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ['---'] * len(heads), *rows]
    return '\n'.join('| ' + ' | '.join('' if cell is None else str(cell) for cell in line) + ' |' for line in lines)


def _of_rate(each: dict[str, Any], work: str, rate: float | None) -> float | None:
    """Return a step's work relative to what the card could do in its time."""
    if not (each.get(work) and each.get('step_ms') and rate):
        return None
    return each[work] / (each['step_ms'] / 1e3) / rate


def _precision(name: str) -> str:
    return next((each for each in _RATES if each in name), 'fp32')


def _shape(each: dict[str, Any]) -> str | None:
    shape = each.get('input_shape')
    return shape and f'{shape[3]} x {shape[2]}'


def _percent(share: float | None) -> str | None:
    return None if share is None else f'{share:.1%}'


def _number(value: float | None) -> str | None:
    return None if value is None else f'{float(value):.1e}'


def _score(value: float | None) -> str | None:
    return None if value is None else f'{float(value):.3f}'


def _sum(counts: dict[str, float] | None) -> float | None:
    return None if counts is None else round(sum(counts.values()), 1)


def _yes(passed: bool) -> str:
    return 'yes' if passed else '**no**'
