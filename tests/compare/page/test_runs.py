"""The table of runs, and the settings of the comparison."""

import dataclasses
import html
import re

from mmcnn.compare.page.numbers import Numbers
from mmcnn.compare.page.runs import method_section, runs_section


def test_every_run_has_its_row(small):
    comparison = small(2, seeds=2)
    candidates = list(comparison.candidates)
    runs = [candidates[1].runs[0], dataclasses.replace(candidates[1].runs[1], failure='killed by signal 9', metrics={})]
    candidates[1] = dataclasses.replace(candidates[1], runs=runs)
    body = str(runs_section(Numbers(dataclasses.replace(comparison, candidates=candidates))).body)
    assert re.findall(r'<tr id="(run-\d-\d)"', body) == ['run-0-0', 'run-0-1', 'run-1-0', 'run-1-1']
    for candidate in candidates:
        for run in candidate.runs:
            assert f'title="{run.checkpoint_sha256}">{run.checkpoint_sha256[:12]}</code>' in body
            assert run.command in [html.unescape(each) for each in re.findall(r'data-copy="([^"]+)"', body)]
            assert f'<code>{run.folder}</code>' in body
    last = body.partition('id="run-1-1"')[2].partition('</tr>')[0]
    assert 'data-is-flagged' in last
    assert 'killed by signal 9' in last
    assert body.count('data-is-flagged') == 1


def test_method_versions_data_and_files(small):
    comparison = dataclasses.replace(small(1), not_measured=['Energy: no RAPL.'])
    body = str(method_section(comparison).body)
    for text in (
        *comparison.method,
        *comparison.not_measured,
        comparison.command,
        'widen_factor=0.25',
        '5' * 64,
        '292',
    ):
        assert text in body, text
    assert 'SHA-256 of the annotations of val' in body
    assert re.findall(r'href="([^"]+)"', body) == ['comparison.json', 'comparison.csv']
    assert re.findall(r'data-download="([^"]+)"', body) == ['comparison.json', 'comparison.csv']
    assert 'Everything was measured.' in method_section(dataclasses.replace(comparison, not_measured=[])).body
