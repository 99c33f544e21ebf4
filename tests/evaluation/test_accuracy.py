import numpy as np
import pytest
import torch

from mmcnn.evaluation import TopK
from mmcnn.evaluation import accuracy as module
from mmcnn.registry import METRICS


def samples(scores, labels):
    return [
        dict(pred_scores=torch.as_tensor(row), gt_label=int(label)) for row, label in zip(scores, labels, strict=True)
    ]


def evaluate(metric, scores, labels):
    metric.process(None, samples(scores, labels))
    return metric.evaluate(len(labels))


def test_by_hand():
    scores = [
        [0.1, 0.5, 0.2, 0.15, 0.05, 0.0],  # the order is 1, 2, 3, 0, 4, 5
        [0.1, 0.5, 0.2, 0.15, 0.05, 0.0],
        [0.1, 0.5, 0.2, 0.15, 0.05, 0.0],
        [0.1, 0.5, 0.2, 0.15, 0.05, 0.0],
    ]
    assert evaluate(TopK(), scores, [1, 2, 4, 5]) == {'accuracy/top1': 25.0, 'accuracy/top5': 75.0}
    assert evaluate(TopK(topk=(2, 3)), scores, [1, 2, 3, 5]) == {'accuracy/top2': 50.0, 'accuracy/top3': 75.0}


def test_against_sorting():
    generator = np.random.default_rng(0)
    scores, labels = generator.random((300, 20), np.float32), generator.integers(0, 20, 300)
    best = np.argsort(-scores, axis=1)
    metrics = evaluate(METRICS.build(dict(type='mmcnn.TopK', topk=(1, 5))), scores, labels)
    for k in (1, 5):
        share = np.mean([label in row[:k] for row, label in zip(best, labels, strict=True)])
        assert metrics[f'accuracy/top{k}'] == pytest.approx(100 * share)


@pytest.mark.parametrize('scores', [[1 / 3] * 3, [float('nan')] * 3, [float('nan'), 0.5, 0.5]])
def test_a_network_that_knows_nothing_gets_nothing(scores):
    for label in (0, 1, 2):
        metrics = evaluate(TopK(topk=(1,)), [scores], [label])
        assert metrics == {'accuracy/top1': 0.0}


def test_k_is_cut_to_the_classes_and_said_once(monkeypatch):
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda line, logger: lines.append(line))
    metric = TopK()
    for _ in range(3):
        assert evaluate(metric, [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [0, 2]) == {
            'accuracy/top1': 50.0,
            'accuracy/top3': 100.0,
        }
    said = [line for line in lines if 'top-3' in line and 'top-5' in line]
    assert said == ['there are 3 classes: top-5 is reduced to top-3']
    assert lines.count('top-1 50.00 %, top-3 100.00 % of 2 images') == 3
    assert evaluate(TopK(), [[1.0]], [0]) == {'accuracy/top1': 100.0}


def test_padding_of_the_last_batch_does_not_count():
    # A distributed sampler repeats images so that all ranks have equally many; MMEngine drops the excess.
    metric = TopK(topk=(1,))
    metric.process(None, samples([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]], [0, 0, 1]))
    assert metric.evaluate(2) == {'accuracy/top1': 50.0}


@pytest.mark.parametrize('topk', [(), (0,), (1, -1)])
def test_numbers_that_make_no_sense(topk):
    with pytest.raises(ValueError, match='it takes numbers of at least 1'):
        TopK(topk=topk)
