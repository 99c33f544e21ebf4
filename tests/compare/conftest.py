"""A comparison with realistic noise: a few pairs are distinguishable, most are not."""

import hashlib
from functools import partial

import numpy as np
import pytest

from mmcnn.compare.results import CandidateResult, Comparison, Cost, PairResult, RunResult

NAMES = (
    'vovnet39', 'mobilenetv2', 'resnet50', 'vgg16', 'densenet121', 'inception-v3', 'xception', 'darknet53',
    'cspdarknet53', 'efficientnet-b0', 'shufflenetv2-1.0, mmcnn://imagenet', 'ghostnet, 25 % of the data',
)  # fmt: skip
SPREAD = 0.012  # standard deviation of AP between seeds, without the part that candidates share
CLASSES = ('RBC', 'WBC', 'Platelets')


def make(candidates=12, seeds=3, epochs=10, losses=200, spread=SPREAD, names=NAMES, classes=CLASSES, costs=8):
    """Make up a comparison; the half width of its intervals follows from ``spread``, not from its runs."""
    rng = np.random.default_rng(0)
    skill = 0.42 + np.linspace(0.035, -0.055, candidates)
    common = rng.normal(0, 0.015, seeds)
    half = 2.4 * spread * np.sqrt(3 / seeds)
    found = []
    for i in range(candidates):
        runs = []
        for seed in range(seeds):
            final = skill[i] + common[seed] + rng.normal(0, spread)
            runs.append(run(rng, i, names[i], seed, final, epochs, losses, classes))
        parameters = 2.1e6 * float(rng.uniform(0.8, 3))
        latency = float(rng.uniform(9, 21))
        all_costs = {
            'parameters': Cost(parameters, '', 'counted, of the whole detector'),
            'multiply_adds': Cost(0.41e9 * float(rng.uniform(0.91, 1.09)), '', 'counted at 256 x 256 px'),
            'memory_access': Cost(parameters * 12, 'B', 'counted: what every layer reads and writes'),
            'latency': Cost(latency, 'ms', 'median of 20 images, decode and NMS included, on a CPU with 2 threads'),
            'network_latency': Cost(latency * 0.7, 'ms', 'median of 20 passes'),
            'peak_memory': Cost(180 + 4 * latency, 'MB', 'largest resident set of the process'),
            'training_seconds': Cost(statistics_mean(runs), 's', 'mean wall time of the trainings'),
            'energy': Cost(None, 'J', 'RAPL cannot be read here'),
        }
        found.append(
            CandidateResult(
                names[i],
                names[i].split(',')[0],
                'scratch',
                1.0,
                dict([*all_costs.items()][:costs]),
                {'widen_factor': 0.25 + i / 50},
                runs,
            )
        )
    means = {each.name: np.mean([r.metrics['bbox_mAP'] for r in each.runs]) for each in found}
    ranked = sorted(means, key=means.get, reverse=True)
    pairs = []
    for i, first in enumerate(ranked):
        for second in ranked[i + 1 :]:
            difference = float(means[first] - means[second])
            low, high = difference - half, difference + half
            words = f'({difference:+.3f}, 95 % {low:.3f} to {high:.3f})'
            verdict = (
                f'{first} > {second} {words}' if low > 0
                else f'{first} and {second} are not distinguishable {words}: about 5 more seeds, 40 min'
            )  # fmt: skip
            pairs.append(
                PairResult(
                    first, second, difference, low, high, seeds, 2e-4, 1e-5, 0.0312 if seeds > 5 else None, verdict
                )
            )
    pairs.sort(key=lambda pair: -pair.difference)
    data = dict(path='../data/bccd', sha256='5' * 64, num_train=292, num_val=72, classes=list(classes))
    return Comparison(
        f'{candidates} backbones in yolov5_n on bccd', 'mmcnn compare yolov5_n --data ../data/bccd', '2026-11-27',
        {'mmcnn': '0.2', 'torch': '2.9'}, data, found, pairs,
        ['Seeds are blocks.', 'The intervals hold simultaneously.'],
        ['Energy: RAPL cannot be read here.'],
    )  # fmt: skip


def run(rng, i, name, seed, final, epochs, losses, classes):
    steps = np.arange(1, epochs + 1)
    rising = final * (1 - np.exp(-steps / 2.5)) / (1 - np.exp(-epochs / 2.5)) + rng.normal(0, 0.004, epochs)
    curve = [
        dict(epoch=int(epoch), AP=max(float(score), 0.0), AP50=0.7, seconds=30.0 * int(epoch))
        for epoch, score in zip(steps, rising, strict=True)
    ]
    curve[-1]['AP'] = float(final)
    iterations = np.linspace(1, epochs * 18, losses).astype(int)
    values = 0.6 + 2.4 * np.exp(-iterations / 50) + rng.normal(0, 0.05, losses)
    metrics = {
        'bbox_mAP': float(final), 'bbox_mAP_50': float(min(1.7 * final, 1)), 'bbox_mAP_75': float(0.9 * final),
        'bbox_mAP_s': -1.0, 'bbox_mAP_m': float(final * 0.8), 'bbox_mAP_l': float(final * 1.1),
        **{f'bbox_AP/{each}': float(final * (0.6 + 0.4 * j) + rng.normal(0, 0.02)) for j, each in enumerate(classes)},
    }  # fmt: skip
    folder = f'candidate-{i}/seed_{seed}'
    return RunResult(
        seed, None, folder, None, metrics, curve,
        [dict(iteration=int(a), loss=float(b)) for a, b in zip(iterations, values, strict=True)],
        float(300 + 20 * i + rng.normal(0, 5)), hashlib.sha256(folder.encode()).hexdigest(),
        f"mmcnn train yolov5_n --backbone '{name}' --data ../data/bccd --img-size 256 --epochs {epochs} --seed {seed} "
        f'--work-dir comparison/{folder}', f'{folder}/detections.npz',
    )  # fmt: skip


def statistics_mean(runs):
    return float(np.mean([each.seconds for each in runs]))


def detect(rng, annotations, skill, classes):
    """Make up detections that find a share ``skill`` of the objects, with boxes and scores of about that quality."""
    rows = []
    for each in annotations['annotations']:
        x, y, w, h = each['bbox']
        if rng.random() < skill:
            shift = rng.normal(0, 0.06, 4) * (w, h, w, h)
            right = each['category_id'] if rng.random() < 0.95 else int(rng.choice(classes))
            rows.append((each['image_id'], *np.add((x, y, w, h), shift), rng.uniform(0.2, 0.98), right))
    for image in annotations['images']:
        for _ in range(rng.poisson(1)):
            w, h = image['width'] * rng.uniform(0.1, 0.3), image['height'] * rng.uniform(0.1, 0.3)
            place = rng.uniform(0, image['width'] - w), rng.uniform(0, image['height'] - h)
            rows.append((image['id'], *place, w, h, rng.uniform(0.05, 0.6), int(rng.choice(classes))))
    rows = np.array(rows)
    return dict(
        image_ids=rows[:, 0].astype(np.int64), boxes=rows[:, 1:5].astype(np.float32),
        scores=rows[:, 5].astype(np.float32), category_ids=rows[:, 6].astype(np.int64),
    )  # fmt: skip


def keep_detections(comparison, folder, annotations):
    """Write the detections of every run of a comparison below its folder."""
    rng = np.random.default_rng(1)
    classes = [each['id'] for each in annotations['categories']]
    for candidate in comparison.candidates:
        for each in candidate.runs:
            path = folder / each.detections
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **detect(rng, annotations, 1.9 * each.metrics.get('bbox_mAP', 0.3), classes))


@pytest.fixture(scope='session')
def made_up():
    """``made_up(candidates=12, ...)``: see :func:`make`."""
    return make


@pytest.fixture(scope='session')
def small():
    """``small(candidates, ...)``: :func:`make` with one epoch and one cost, which is fast to plot."""
    return partial(make, epochs=1, losses=2, costs=1)


@pytest.fixture(scope='session')
def kept_detections():
    """``kept_detections(comparison, folder, annotations)``: see :func:`keep_detections`."""
    return keep_detections
