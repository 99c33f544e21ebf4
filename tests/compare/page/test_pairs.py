"""The matrix, the list and the critical-difference diagram, compared with the pairs."""

import dataclasses
import re

from mmcnn.compare.page.numbers import Numbers
from mmcnn.compare.page.pairs import pairs_section


def matrix(body):
    """Return the name of each row and the texts of its cells."""
    table = body.partition('id="table-matrix"')[2].partition('</table>')[0]
    rows = re.findall(r'<tr><th scope="row"><strong>([^<]+)</strong>.*?</th>(.*?)</tr>', table)
    return {name: [re.sub('<[^>]+>', ' ', cell) for cell in re.findall(r'<td.*?</td>', cells)] for name, cells in rows}


def test_the_matrix_is_antisymmetric_and_marks_without_colour(small):
    comparison = small(3)
    pairs = [
        dataclasses.replace(pair, difference=d, low=d - 0.02, high=d + 0.02)
        for pair, d in zip(comparison.pairs, (0.05, 0.03, 0.01), strict=True)
    ]
    numbers = Numbers(dataclasses.replace(comparison, pairs=pairs))
    names = list(numbers.means)
    found = matrix(str(pairs_section(numbers).body))
    assert list(found) == names
    first, second = pairs[0].first, pairs[0].second
    here, there = found[first][names.index(second)].split(), found[second][names.index(first)].split()
    assert here == ['▲', '+0.050', '+0.030', 'to', '+0.070']
    assert there == ['▼', '-0.050', '-0.070', 'to', '-0.030']
    one, other = pairs[2].first, pairs[2].second
    assert found[one][names.index(other)].split() == ['≈', '+0.010', '-0.010', 'to', '+0.030']
    assert found[first][names.index(first)].strip() == ''


def test_the_list_has_every_verdict_and_flags_what_is_distinguishable(small):
    comparison = small(4, seeds=6)
    body = str(pairs_section(Numbers(comparison)).body)
    table = body.partition('id="table-pairs"')[2]
    for pair in comparison.pairs:
        assert pair.verdict.replace('>', '&gt;') in table
    assert table.count('data-is-flagged') == sum(pair.low > 0 for pair in comparison.pairs)
    assert table.count('>0.0312<') == 6  # p of the sign-flip test


def test_the_diagram_joins_what_is_not_distinguishable(small):
    comparison = small(3)
    halves = (1e-6, 1, 1)
    pairs = [
        dataclasses.replace(pair, low=pair.difference - half, high=pair.difference + half)
        for pair, half in zip(comparison.pairs, halves, strict=True)
    ]
    numbers = Numbers(dataclasses.replace(comparison, pairs=pairs))
    body = str(pairs_section(numbers).body)
    first, middle, last = numbers.means
    assert f'aria-label="not distinguishable: {first}; {middle}"' in body
    assert f'aria-label="not distinguishable: {middle}; {last}"' in body
    assert body.count('aria-label="not distinguishable:') == 2
    for name, mean in numbers.means.items():
        assert f'aria-label="{name}: mean AP {mean:.3f}"' in body


def test_one_seed_joins_and_separates_nothing(small):
    comparison = small(3, seeds=1)
    pairs = [dataclasses.replace(pair, low=None, high=None) for pair in comparison.pairs]
    body = str(pairs_section(Numbers(dataclasses.replace(comparison, pairs=pairs))).body)
    assert 'there are no intervals with one seed: no two candidates are distinguishable' in body
    assert 'aria-label="not distinguishable:' not in body
    assert 'data-is-flagged' not in body
    assert '▲ ' not in body.partition('<tbody>')[2]


def test_without_pairs_it_says_so(small):
    comparison = small(1)
    assert 'No two candidates could be compared' in pairs_section(Numbers(comparison)).body
