"""The results of our backbones in MMDetection's packaged configs, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from mmcnn.zoo.mmdet_matrix import Tried


def line(tried: Tried) -> str:
    """Return one pair as a line for a terminal."""
    if tried.reason is None:
        return f'✓ {tried.config} with {tried.network} ({tried.seconds:.0f} s)'
    word = 'refused' if tried.refused else f'fails ({tried.stage})'
    return f'✗ {tried.config} with {tried.network}: {word}: {tried.reason}'


def verdict(tried: Sequence[Tried], last: str) -> str:
    """Return how many pairs completed, how many were rejected with a message, and how many fail, if any do."""
    done = sum(each.reason is None for each in tried)
    failed = sum(each.reason is not None and not each.refused for each in tried)
    words = dict(build='build', step='train a step', predict='train a step and predict')[last]
    text = f'{done} of {len(tried)} pairs {words}, {len(tried) - done - failed} are refused before the first step'
    return text + (f', {failed} fail' if failed else '')


def as_markdown(tried: Sequence[Tried], last: str) -> str:
    """Return a row per config and a column per network; below, the reason for each pair that is rejected or fails."""
    networks = list(dict.fromkeys(each.network for each in tried))
    cells = {(each.config, each.network): _cell(each) for each in tried}
    rows = ['| config | ' + ' | '.join(f'`{name}`' for name in networks) + ' |', '|---' * (len(networks) + 1) + '|']
    for config in sorted({each.config for each in tried}):
        row = ' | '.join(cells.get((config, name), 'not tried') for name in networks)
        rows.append(f'| `{config}` | {row} |')
    reasons = [f'- `{each.config}` with `{each.network}`: {each.reason}' for each in _ended(tried)]
    return '\n'.join([verdict(tried, last) + '.', '', *rows, *(['', *reasons] if reasons else [])])


def _cell(tried: Tried) -> str:
    if tried.reason is None:
        return '✓'
    return 'refused' if tried.refused else f'fails ({tried.stage})'


def _ended(tried: Sequence[Tried]) -> list[Tried]:
    return sorted((each for each in tried if each.reason is not None), key=lambda each: (each.config, each.network))
