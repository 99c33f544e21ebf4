"""comparison.csv, read back."""

import csv
import dataclasses
import io

from mmcnn.compare.page.csv_file import as_csv


def test_all_that_is_known_of_a_run_is_read_again(made_up):
    comparison = made_up(2, seeds=2, epochs=1, losses=2, names=('plain', 'with, "quotes" and\nlines'))
    candidates = list(comparison.candidates)
    runs = [dataclasses.replace(candidates[1].runs[0], failure='killed', metrics={}), candidates[1].runs[1]]
    candidates[1] = dataclasses.replace(candidates[1], runs=runs)
    text = as_csv(dataclasses.replace(comparison, candidates=candidates))
    rows = list(csv.DictReader(io.StringIO(text, newline='')))
    assert len(rows) == 4
    for row, (candidate, run) in zip(rows, ((each, run) for each in candidates for run in each.runs), strict=True):
        assert row['candidate'] == candidate.name
        assert (int(row['seed']), row['init_seed'], float(row['seconds'])) == (run.seed, '', run.seconds)
        assert row['failure'] == (run.failure or '')
        assert [row['folder'], row['command'], row['checkpoint_sha256']] == [
            run.folder, run.command, run.checkpoint_sha256,
        ]  # fmt: skip
        assert {key: float(row[key]) for key in run.metrics} == run.metrics
        assert float(row['latency, ms']) == candidate.costs['latency'].value
        assert float(row['parameters']) == candidate.costs['parameters'].value
        assert row['energy, J'] == ''
    assert rows[2]['bbox_mAP'] == ''
