import numpy as np
import pytest

from mmcnn.datasets.anchors import anchors_of, as_config, best_possible_recall, box_sizes, propose_anchors, within_reach

COCO = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)], [(116, 90), (156, 198), (373, 326)]]


def test_sizes_are_those_at_the_network_s_input():
    annotations = dict(
        images=[dict(id=1, width=640, height=320), dict(id=7, width=100, height=200)],
        annotations=[
            dict(image_id=1, bbox=[0, 0, 64, 32]),
            dict(image_id=7, bbox=[5, 5, 10, 20], iscrowd=0),
            dict(image_id=7, bbox=[5, 5, 50, 50], iscrowd=1),
            dict(image_id=7, bbox=[5, 5, 0, 50]),
        ],
    )
    assert box_sizes(annotations, 320).tolist() == [[32, 16], [16, 32]]
    assert box_sizes(dict(images=[], annotations=[]), 320).shape == (0, 2)


def test_recall_by_hand():
    # 60 x 90 has a match. 12 x 300 has none: 373 x 326 is 31 times as wide, 59 x 119 nearly 5 times, and 10 x 13 is
    # 23 times lower. 1600 x 1304 is 4.3 times as wide as the largest anchor; 1492 x 1304 exactly 4 times: no match.
    assert best_possible_recall(np.array([[60.0, 90]]), COCO) == 1
    assert best_possible_recall(np.array([[60.0, 90], [12, 300]]), COCO) == 0.5
    assert best_possible_recall(np.array([[1600.0, 1304], [1492, 1304], [1491, 1303], [60, 90]]), COCO) == 0.5
    assert best_possible_recall(np.array([[1492.0, 1304]]), COCO, ratio=5) == 1
    assert within_reach(np.array([[60.0, 90], [12, 300]]), COCO).tolist() == [True, False]
    assert within_reach(np.zeros((0, 2)), COCO).tolist() == []


def test_proposed_anchors_find_the_sizes_there_are():
    rng = np.random.default_rng(0)
    kinds = np.array([[8, 8], [12, 30], [40, 14], [50, 60], [90, 40], [60, 130], [200, 180], [300, 150], [170, 310]])
    sizes = (kinds[:, None] * rng.normal(1, 0.03, (9, 40, 2))).reshape(-1, 2)
    anchors = propose_anchors(sizes)
    assert [len(level) for level in anchors] == [3, 3, 3]
    areas = [w * h for level in anchors for w, h in level]
    assert areas == sorted(areas)
    for kind in kinds:  # each has an anchor within 10 percent
        assert min(max(abs(w / kind[0] - 1), abs(h / kind[1] - 1)) for level in anchors for w, h in level) < 0.1
    assert propose_anchors(sizes) == anchors  # the seed is fixed
    assert propose_anchors(sizes, levels=1, per_level=2)[0][1] > propose_anchors(sizes, levels=1, per_level=2)[0][0]


def test_evolution_does_not_fit_worse_than_k_means():
    sizes = np.exp(np.random.default_rng(1).normal(3.5, 1.0, (300, 2)))

    def closeness(anchors):
        flat = np.array([a for level in anchors for a in level], dtype=float)
        ratios = sizes[:, None] / flat
        return np.minimum(ratios, 1 / ratios).min(2).max(1).mean()

    assert closeness(propose_anchors(sizes)) > closeness(propose_anchors(sizes, generations=0)) + 0.003


def test_too_few_boxes_are_named():
    with pytest.raises(
        ValueError, match='9 anchors need at least 9 boxes of different sizes, but the 12 boxes have only 3'
    ):
        propose_anchors(np.array([[5.0, 5], [6, 6], [7, 7]] * 4))


def test_anchors_are_found_in_a_config_finest_first():
    assert anchors_of(dict(bbox_head=dict(anchors=COCO))) == COCO
    assert anchors_of(dict(bbox_head=dict(anchor_generator=dict(base_sizes=COCO[::-1])))) == COCO
    assert anchors_of(dict(bbox_head=dict(anchor_generator=dict(scales=[8])))) is None
    assert anchors_of(dict(rpn_head=dict())) is None


def test_anchors_are_printed_in_the_order_of_the_config():
    new = [[(1, 2), (3, 4)], [(5, 6), (7, 8)]]
    old = [[(1, 1), (2, 2)], [(9, 9), (8, 8)]]
    assert as_config(dict(bbox_head=dict(anchors=old)), new) == (
        'anchors=[\n    [(1, 2), (3, 4)],\n    [(5, 6), (7, 8)],\n]'
    )
    backwards = dict(bbox_head=dict(anchor_generator=dict(base_sizes=old[::-1])))
    assert as_config(backwards, new) == 'base_sizes=[\n    [(5, 6), (7, 8)],\n    [(1, 2), (3, 4)],\n]'
