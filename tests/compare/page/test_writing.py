"""comparison.html as a whole: the text at its top, its size, escaping, and the files it needs."""

import dataclasses
import re
from itertools import pairwise

import pytest

from mmcnn.compare.page.writing import write_comparison_page

HOSTILE = '<script>alert("1")</script>'


def text_of(comparison, folder):
    return write_comparison_page(comparison, folder).read_text('utf-8')


def test_names_are_escaped_and_nothing_is_loaded(small, tmp_path):
    comparison = small(2, seeds=2, names=(HOSTILE, '$x_1$ & "b"'), classes=(HOSTILE, "it's"))
    comparison = dataclasses.replace(comparison, title=HOSTILE, command=HOSTILE, method=[HOSTILE])
    page = text_of(comparison, tmp_path)
    assert '<script>alert' not in page
    assert page.count('<script') == 2  # the page's code, and the embedded files
    assert f'<h1>{"&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;"}</h1>' in page
    assert not re.search(r'(src|href)="(?!#|data:|comparison\.)', page)
    assert not re.search(r'https?://', page)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'href="#([^"]+)"', page)} <= set(ids)


def test_headings_are_in_order(small, tmp_path):
    page = text_of(small(2, seeds=2), tmp_path)
    levels = [int(each) for each in re.findall(r'<h(\d)', page)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.count('<table') == page.count('<caption') == 6


def test_verdicts_come_first_and_failures_are_said(small, tmp_path):
    comparison = small(4)
    candidates = list(comparison.candidates)
    runs = [*candidates[3].runs[:2], dataclasses.replace(candidates[3].runs[2], failure='killed', metrics={})]
    candidates[3] = dataclasses.replace(candidates[3], runs=runs)
    pairs = [
        dataclasses.replace(pair, low=pair.difference - half, high=pair.difference + half, verdict=f'verdict {i}')
        for i, (pair, half) in enumerate(zip(comparison.pairs, [1e-6, 1, 1, 1, 1, 1], strict=True))
    ]
    page = text_of(dataclasses.replace(comparison, candidates=candidates, pairs=pairs), tmp_path)
    head = page.partition('id="verdicts"')[2].partition('</section>')[0]
    told = re.sub(r'\s+', ' ', re.sub('<[^>]+>', ' ', head))
    assert '4 candidates, each trained with the same 3 seeds on 292 images and measured on 72 of val' in told
    assert 'the verdicts are of the 2 seeds that all candidates with a finished run have in common' in told
    assert '1 of 6 pairs is distinguishable: verdict 0 Not distinguishable from each other are:' in told
    assert '1 of 12 runs failed' in told
    assert page.index('id="verdicts"') < page.index('id="costs"')


def test_dropped_candidates_are_not_said_to_have_failed(small, tmp_path):
    comparison = small(2, seeds=1)
    candidates = list(comparison.candidates)
    run = dataclasses.replace(candidates[1].runs[0], failure='dropped by the budget after epoch 2', metrics={})
    candidates[1] = dataclasses.replace(candidates[1], runs=[run], dropped='dropped by the budget after epoch 2')
    page = text_of(dataclasses.replace(comparison, candidates=candidates, pairs=[]), tmp_path)
    assert '<li>mobilenetv2: dropped by the budget after epoch 2</li>' in page
    assert 'runs failed' not in page


@pytest.mark.parametrize('candidates, said', [(1, 'No two candidates could be compared'), (2, 'None of the 1 pair')])
def test_where_nothing_is_distinguishable(small, tmp_path, candidates, said):
    comparison = small(candidates, seeds=1)
    pairs = [dataclasses.replace(pair, low=None, high=None) for pair in comparison.pairs]
    assert said in text_of(dataclasses.replace(comparison, pairs=pairs), tmp_path)


def test_all_failed(small, tmp_path):
    comparison = small(2, seeds=1)
    candidates = [
        dataclasses.replace(
            each,
            runs=[dataclasses.replace(run, failure='killed', metrics={}, curve=[], losses=[]) for run in each.runs],
        )
        for each in comparison.candidates
    ]
    page = text_of(dataclasses.replace(comparison, candidates=candidates, pairs=[]), tmp_path)
    assert '2 of 2 runs failed' in page


@pytest.mark.slow
def test_size_of_a_large_comparison(made_up, tmp_path):
    """12 candidates, 3 seeds, 10 epochs and a thousand losses each take at most 3 MB without images."""
    text_of(made_up(12, 3, 10, 1000), tmp_path)
    assert (tmp_path / 'comparison.html').stat().st_size < 3e6
    assert (tmp_path / 'comparison.csv').stat().st_size < 1e5
