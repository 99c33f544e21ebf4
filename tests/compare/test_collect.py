"""Results, measured costs and conclusions collected from the runs of a comparison, here from one real tiny run."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmcnn.compare import analysis
from mmcnn.compare.analysis import analysed
from mmcnn.compare.candidates import Candidate
from mmcnn.compare.collect import COSTS_FILE, annotations_of, collect
from mmcnn.compare.results import COSTS
from mmcnn.compare.run import Run
from mmcnn.config.parts import inner_datasets
from mmcnn.evaluation.kept_detections import DETECTIONS, write_detections
from mmcnn.plots.curves import read_scalars


@pytest.fixture
def runs(trained, tmp_path):
    """Two candidates with two seeds: copies of a finished run with different numbers, and one failed run."""
    (config,) = trained.work_dir.glob('*.py')
    found = []
    for backbone in ('a', 'b'):
        for seed in (0, 1):
            folder = tmp_path / backbone / f'seed_{seed}'
            shutil.copytree(trained.work_dir, folder)
            (folder / 'last_checkpoint').write_text('epoch_2.pth')
            result = dict(AP=0.1, AP50=0.2, seconds=60.0 + seed)
            (folder / 'run.json').write_text(json.dumps(dict(settings={}, result=result, failure=None, seconds=60.0)))
            found.append(Run(Candidate(backbone), seed, None, folder, config.read_text(), config.name, {}, ()))
    lost = found[-1]
    (lost.folder / 'run.json').write_text(json.dumps(dict(settings={}, result=None, failure='too large', seconds=1.0)))
    return found


def collected(runs, tmp_path, dropped=None):
    return collect(runs, tmp_path, (64, 64), 2, 'a title', 'mmcnn compare x', dropped or {})


@pytest.mark.slow
def test_results_are_those_of_the_log(runs, tmp_path):
    found = collected(runs, tmp_path)
    a, b = found.candidates
    scores = read_scalars(runs[0].folder)[1][2]
    first = a.runs[0]
    assert first.metrics['bbox_mAP'] == pytest.approx(scores['coco/bbox_mAP'])
    assert {'bbox_mAP_50', 'bbox_AR@100', 'bbox_AP/circle'} <= set(first.metrics)
    assert [entry['epoch'] for entry in first.curve] == [1, 2] and first.losses
    assert (first.seconds, first.folder, first.detections) == (60.0, 'a/seed_0', None)
    assert len(first.checkpoint_sha256) == 64 and first.command.startswith('mmcnn train ')
    assert b.runs[1].failure == 'too large' and b.runs[1].metrics == {}
    assert found.data['num_train'] == 8 and found.data['num_val'] == 4 and len(found.data['val_sha256']) == 64
    assert 'b, seed 1: too large.' in found.not_measured
    assert any('detections were not kept' in line for line in found.not_measured)


@pytest.mark.slow
def test_costs_are_measured_and_outlive_the_checkpoints(runs, tmp_path):
    found = collected(runs, tmp_path)
    costs = found.candidates[0].costs
    assert set(costs) == set(COSTS)
    assert costs['latency'].value > 0 and costs['network_latency'].value > 0
    assert costs['training_seconds'].value == 60.5 and costs['multiply_adds'].value > 1e6
    assert costs['energy'].value is None or costs['energy'].value > 0
    for run in runs:
        run.drop_checkpoints()
    again = collected(runs, tmp_path)
    assert again.candidates[0].costs == costs
    assert again.candidates[0].runs[0].checkpoint_sha256 == found.candidates[0].runs[0].checkpoint_sha256
    for each in ('a', 'b'):
        (tmp_path / each / COSTS_FILE).unlink()
    bare = collected(runs, tmp_path)
    assert set(bare.candidates[0].costs) == {'training_seconds'}
    assert 'a: no latency, since its checkpoints are missing.' in bare.not_measured


@pytest.mark.slow
def test_a_lost_loss_does_not_cost_the_page(runs, tmp_path):
    """on_nan=skip continues after a NaN loss, which JSON cannot represent."""
    (log,) = runs[0].folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (first, *others) = [line for line in lines if 'loss' in line]
    first['loss'] = float('nan')
    log.write_text('\n'.join(map(json.dumps, lines)))
    found = collected(runs, tmp_path)
    assert [each['iteration'] for each in found.candidates[0].runs[0].losses] == [line['step'] for line in others]
    assert 'NaN' not in found.as_json()


@pytest.mark.slow
def test_images_to_train_on_are_counted_where_all_are_used(runs, tmp_path):
    part = tmp_path / 'part.json'
    config = runs[0].folder / runs[0].config_name
    cfg = Config.fromfile(config)
    train = next(inner_datasets(cfg.train_dataloader.dataset))
    content = json.loads((Path(train.data_root) / train.ann_file).read_bytes())
    part.write_text(json.dumps(content | dict(images=content['images'][:2])))
    train.ann_file = str(part)
    cfg.dump(config)
    half = dataclasses.replace(runs[0], candidate=Candidate('a', fraction=0.25))
    (tmp_path / half.candidate.folder).mkdir(parents=True)
    assert collected([half], tmp_path).data['num_train'] == 2
    assert collected([half, *runs[1:]], tmp_path).data['num_train'] == 8


@pytest.mark.slow
def test_dropped_candidates_say_so(runs, tmp_path):
    runs[-1].note_failure(None)
    found = collected(runs, tmp_path, {Candidate('b'): 'dropped by the budget after epoch 1'})
    assert found.candidates[1].dropped == 'dropped by the budget after epoch 1'
    assert found.candidates[1].runs[1].failure == 'dropped by the budget after epoch 1'


@pytest.mark.slow
def test_pairs_are_of_the_seeds_that_all_have(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, 'RESAMPLES', 50)
    annotations = json.loads(annotations_of(runs[0]).read_bytes())
    rows = np.array(
        [[each['image_id'], *each['bbox'], 0.9, each['category_id']] for each in annotations['annotations']], float
    )
    for run in runs:
        write_detections(run.folder / DETECTIONS, rows if run.candidate.backbone == 'a' else rows[::2])
    runs[-1].folder.joinpath('run.json').write_text(runs[0].folder.joinpath('run.json').read_text())
    found = collected(runs, tmp_path)
    changed = []
    for each, mean in zip(found.candidates, (0.6, 0.2), strict=True):
        scored = [dataclasses.replace(run, metrics=dict(bbox_mAP=mean + 0.01 * run.seed)) for run in each.runs]
        changed.append(dataclasses.replace(each, runs=scored))
    found = dataclasses.replace(found, candidates=changed)
    (pair,) = analysed(found, tmp_path, annotations_of(runs[0])).pairs
    assert (pair.first, pair.second, pair.seeds) == ('a', 'b', 2)
    assert pair.difference == pytest.approx(0.4) and pair.variance_of_seeds == pytest.approx(0.0)
    assert pair.variance_of_images > 0 and pair.low < 0.4 < pair.high
    (alone,) = analysed(found, tmp_path, None).pairs
    assert alone.variance_of_images is None and alone.low == pytest.approx(0.4)
    assert any('without the variance of images' in line for line in analysed(found, tmp_path, None).method)
    # If the images cannot be resampled, only their variance is missing.
    single = tmp_path / 'single.json'
    single.write_text(json.dumps(annotations | dict(images=annotations['images'][:1])))
    without = analysed(found, tmp_path, single)
    assert without.pairs == [alone]
    assert any('has 1 images: resampling needs at least two' in line for line in without.method)
