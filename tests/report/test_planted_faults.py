"""How many planted faults of annotations a weak detector finds; the numbers of docs/report.md."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mmcnn
from mmcnn.report.analysis import Analysis
from mmcnn.report.errors import box_overlaps
from mmcnn.report.options import ReportOptions
from mmcnn.report.run_data import read_run
from mmcnn.report.suspects import EMPTY, MISSING, OTHER_CLASS

pytestmark = pytest.mark.campaign
DATA = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bccd'
COPIES = 5


def planted(coco, rng):
    """Remove a twentieth of the boxes in a copy, change the class of as many, and add as many around nothing.

    Return the copy, the removed boxes, and kind -> ids of the other faults.
    """
    coco = copy.deepcopy(coco)
    boxes, count = coco['annotations'], len(coco['annotations']) // 20
    order = rng.permutation(len(boxes))
    removed, flipped = ([boxes[i] for i in part] for part in (order[:count], order[count : 2 * count]))
    kinds = [each['id'] for each in coco['categories']]
    for each in flipped:
        each['category_id'] = int(rng.choice([kind for kind in kinds if kind != each['category_id']]))
    gone = {each['id'] for each in removed}
    coco['annotations'] = [each for each in boxes if each['id'] not in gone]
    number, added = max(each['id'] for each in boxes) + 1, []
    while len(added) < count:
        image, like = coco['images'][rng.integers(len(coco['images']))], boxes[rng.integers(len(boxes))]
        w, h = like['bbox'][2:]
        box = [rng.uniform(0, image['width'] - w), rng.uniform(0, image['height'] - h), w, h]
        others = np.array([each['bbox'] for each in boxes if each['image_id'] == image['id']]).reshape(-1, 4)
        if not len(others) or box_overlaps(np.array([box]), others).max() <= 0.2 or rng.random() < 0.02:
            added.append(dict(id=number, image_id=image['id'], category_id=like['category_id'], bbox=box, area=w * h,
                              iscrowd=0))  # fmt: skip
            number += 1
    coco['annotations'] += added
    return coco, removed, {OTHER_CLASS: {each['id'] for each in flipped}, EMPTY: {each['id'] for each in added}}


def hit(suspect, removed, changed):
    """Return the planted fault that a suspect matches, or None."""
    if suspect.kind != MISSING:
        is_one = any(suspect.annotation_id in ids for ids in changed.values())
        return suspect.annotation_id if is_one else None
    for each in removed:
        if each['image_id'] == suspect.image_id and overlap(suspect.box, each['bbox']) >= 0.4:
            return each['id']
    return None


def overlap(one, other):
    return box_overlaps(np.array([one]), np.array([other]))[0, 0]


def test_planted_faults(tmp_path):
    if not DATA.is_dir():
        pytest.skip('the set is not here')
    options = dict(img_size=160, batch_size=16, epochs=12, workers=0, work_dir=tmp_path / 'run')
    run = mmcnn.train('yolov5_n', data=DATA, **options)
    data = read_run(ReportOptions(work_dir=run.work_dir))
    own = Analysis(data).suspects
    lists = {}
    for seed in range(COPIES):
        coco, removed, changed = planted(data.coco, np.random.default_rng(seed))
        (file := tmp_path / f'{seed}.json').write_text(json.dumps(coco))
        suspects = Analysis(replace(data, coco=coco, ann_file=file)).suspects
        new = [
            each
            for each in suspects
            if not any((each.kind, each.image_id) == (old.kind, old.image_id) and overlap(each.box, old.box) > 0.8
                       for old in own)
        ]  # fmt: skip
        for title, some in (('all', suspects), ('new', new)):
            for kind in (MISSING, OTHER_CLASS, EMPTY, None):
                count = len(removed) * (1 if kind else 3)
                those = [each for each in some if kind in (None, each.kind)]
                for first in (count, 2 * count):
                    hits = [hit(each, removed, changed) for each in those[:first]]
                    meant = changed.get(kind, hits)  # a box of a wrong class may look like a box around nothing
                    found = len({each for each in hits if each is not None and each in meant}) / count
                    right = sum(each is not None for each in hits) / max(1, len(hits))
                    lists.setdefault((title, kind or 'all kinds', first), []).append((found, right))
    means = {key: np.mean(values, axis=0) for key, values in lists.items()}
    for (title, kind, first), (found, right) in means.items():
        print(f'{title} suspects, {kind}, the first {first}: found {found:.2f}, right {right:.2f}')
    assert means['all', OTHER_CLASS, 94][0] > 0.6 and means['new', 'all kinds', 141][1] > 0.8
