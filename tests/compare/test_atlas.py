"""The comparisons stored in docs/atlas: every number has its run, and the verdicts follow from the stored runs."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mmcnn.compare import halving
from mmcnn.compare.analysis import analysed
from mmcnn.compare.results import Comparison
from mmcnn.evaluation.kept_detections import read_detections
from mmcnn.plots.curves import read_scalars

ATLAS = Path(__file__).resolve().parents[2] / 'docs' / 'atlas'
#: The data sets on which the comparisons were validated.
SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'
FOLDERS = sorted(path.parent for path in ATLAS.glob('*/comparison.json'))
each_folder = pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)


def read(folder):
    return Comparison.from_json((folder / 'comparison.json').read_text(encoding='utf-8'))


def test_there_are_some():
    assert FOLDERS


@each_folder
def test_every_number_has_its_run(folder):
    for candidate in read(folder).candidates:
        for run in candidate.runs:
            assert run.failure is None and len(run.checkpoint_sha256) == 64
            assert f'--seed {run.seed}' in run.command
            record = json.loads((folder / run.folder / 'run.json').read_text())
            assert record['dropped_checkpoint'] == run.checkpoint_sha256
            _, scores = read_scalars(folder / run.folder)
            assert [entry['coco/bbox_mAP'] for entry in scores.values()] == [each['AP'] for each in run.curve]
            assert run.metrics['bbox_mAP'] == record['result']['AP'] == run.curve[-1]['AP']
            assert len(read_detections(folder / run.detections)) > 0


@each_folder
@pytest.mark.slow
def test_verdicts_follow_from_the_stored_detections(folder):
    annotations = SHARED / folder.name.partition('_')[0] / 'val.json'
    if not annotations.is_file():
        pytest.skip('the data set is not there')
    found = read(folder)
    again = analysed(dataclasses.replace(found, pairs=[], method=[]), folder, annotations)
    assert again.method == found.method
    assert [each.verdict for each in again.pairs] == [each.verdict for each in found.pairs]


@each_folder
def test_halving_finds_the_best_of_the_stored_curves(folder):
    """docs/atlas.md states this."""
    candidates = read(folder).candidates
    if len(candidates) == 1:
        pytest.skip('of one candidate')
    curves = np.array([[[each['AP'] for each in run.curve] for run in candidate.runs] for candidate in candidates])
    k, n, epochs = curves.shape
    found = halving.replay(curves, halving.plan(k, epochs, n))
    assert found.found
    assert found.cost_share <= 0.35
    names = [candidates[place].name for place in found.finalists]
    assert f'| {folder.name} | {", ".join(names)} |' in (ATLAS.parent / 'atlas.md').read_text(encoding='utf-8')


@each_folder
def test_the_same_network_is_not_told_apart_from_itself(folder):
    found = read(folder)
    if len(found.candidates) > 1:
        pytest.skip('of several candidates')
    assert len(found.candidates[0].runs) >= 12
    assert len(found.method) == 2
    assert all('which is not more than the 68' in sentence for sentence in found.method)
    page = (ATLAS.parent / 'atlas.md').read_text(encoding='utf-8')
    few, many = (re.search(r'claimed (\d+) times', sentence)[1] for sentence in found.method)
    assert f'they gave {few} false claims in 1,000 deals, and {many} for' in page
