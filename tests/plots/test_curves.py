import json

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmcnn.plots import curves
from mmcnn.plots.curves import plot_curves, read_scalars, training_seconds
from mmcnn.plots.palette import PALETTE


def bgr(label):
    return list(PALETTE[label][::-1])


def write_run(work_dir, name, losses, scores, tail=''):
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    lines = [
        {'lr': 0.01, 'loss': loss, 'loss_cls': loss / 2, 'time': 1.0, 'iter': step, 'step': step}
        for step, loss in losses.items()
    ]
    lines += [{'coco/bbox_mAP': ap, 'coco/bbox_mAP_50': 2 * ap, 'step': epoch} for epoch, ap in scores.items()]
    (folder / 'scalars.json').write_text('\n'.join(json.dumps(line) for line in lines) + '\n' + tail)


def test_scalars_of_resumed_runs_are_joined(tmp_path):
    # The run was killed in epoch 4 after step 35, and resumed from epoch 2 with another logging interval.
    write_run(tmp_path, '20260101_100000', {10: 5, 20: 4, 25: 9, 35: 9}, {1: 0.1, 2: 0.2, 3: 0.9}, '{"loss": 1.2, "st')
    write_run(tmp_path, '20260101_110000', {24: 3, 34: 2}, {3: 0.3, 4: float('nan')})
    losses, scores = read_scalars(tmp_path)
    assert {step: entry['loss'] for step, entry in losses.items()} == {10: 5, 20: 4, 24: 3, 34: 2}
    assert list(losses) == sorted(losses)
    assert losses[34] == {'loss': 2, 'loss_cls': 1}
    assert [scores[epoch]['coco/bbox_mAP'] for epoch in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert list(scores) == [1, 2, 3, 4]
    one, _ = read_scalars(tmp_path / '20260101_110000' / 'vis_data' / 'scalars.json')
    assert list(one) == [24, 34]


def test_iterations_after_the_last_logged_one_take_time_too(tmp_path):
    """Epochs have 60 iterations, every 50th of which is logged: 50 took 0.1 s each, the next 60 took 0.2 s each."""
    folder = tmp_path / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    entries = [dict(loss=1.0, time=0.1, step=50), dict(loss=1.0, time=0.2, step=110)]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)))
    assert training_seconds(tmp_path) == pytest.approx(5 + 12)
    assert training_seconds(tmp_path, 110) == pytest.approx(5 + 12)
    assert training_seconds(tmp_path, 120) == pytest.approx(5 + 12 + 2)


def test_curves_are_drawn(tmp_path):
    write_run(tmp_path / 'run', '20260101_100000', {step: 100 / step for step in range(1, 90)}, {1: 0.1, 2: 0.25})
    plot_curves(tmp_path / 'run', tmp_path / 'new' / 'curves.png')
    image = cv2.imread(str(tmp_path / 'new' / 'curves.png'))
    half = image.shape[1] // 2
    for side, colour in ((image[:, :half], (40, 40, 40)), (image[:, half:], bgr(0)), (image[:, half:], bgr(1))):
        assert (side == colour).all(axis=2).sum() > 100  # total loss on the left; AP and AP50 on the right


def test_curves_of_a_classifier_are_in_percent(tmp_path):
    folder = tmp_path / '20260101_100000' / 'vis_data'
    folder.mkdir(parents=True)
    lines = [{'loss': 9 / step, 'step': step} for step in range(1, 9)]
    lines += [{'accuracy/top1': 20.0 * epoch, 'accuracy/top5': 30.0 * epoch, 'step': epoch} for epoch in (1, 2, 3)]
    (folder / 'scalars.json').write_text('\n'.join(json.dumps(line) for line in lines) + '\n')
    losses, scores = read_scalars(tmp_path)
    assert (len(losses), [scores[epoch]['accuracy/top1'] for epoch in (1, 2, 3)]) == (8, [20.0, 40.0, 60.0])
    plot_curves(tmp_path, tmp_path / 'curves.png')
    image = cv2.imread(str(tmp_path / 'curves.png'))
    right = image[:, image.shape[1] // 2 :]
    for colour in (bgr(0), bgr(1)):
        rows, columns = np.nonzero((right == colour).all(axis=2))
        # Top-1 rises from 0.2 to 0.6 of the axis, top-5 from 0.3 to 0.9.
        assert np.ptp(rows) > 0.3 * image.shape[0]
        assert np.ptp(columns) > 0.5 * right.shape[1]


@pytest.mark.parametrize(('losses', 'scores'), [({10: 2.0}, {}), ({}, {1: 0.0}), ({10: 0.0, 20: 1.0}, {1: 0.5})])
def test_curves_of_short_runs(tmp_path, losses, scores):
    write_run(tmp_path, '20260101_100000', losses, scores)
    plot_curves(tmp_path, tmp_path / 'curves.png')
    assert cv2.imread(str(tmp_path / 'curves.png')) is not None


def test_without_a_validation_there_is_no_panel_for_it(tmp_path):
    sizes = []
    for name, scores in (('with', {1: 0.5}), ('without', {})):
        write_run(tmp_path / name, 'run', {10: 2.0, 20: 1.0}, scores)
        plot_curves(tmp_path / name, tmp_path / f'{name}.png')
        sizes.append(cv2.imread(str(tmp_path / f'{name}.png')).shape)
    assert sizes[0][0] == sizes[1][0] and sizes[1][1] < 0.7 * sizes[0][1]


def test_curves_name_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'scalars\.json'):
        plot_curves(tmp_path, tmp_path / 'curves.png')
    write_run(tmp_path, '20260101_100000', {}, {})
    with pytest.raises(ValueError, match='neither losses nor'):
        plot_curves(tmp_path, tmp_path / 'curves.png')


def test_where_nothing_was_measured_there_is_no_point():
    axes = Figure().subplots()
    nan = float('nan')
    curves._draw_scores(axes, {1: {'coco/bbox_mAP': nan}, 2: {'coco/bbox_mAP': 0.25}, 3: {'coco/bbox_mAP': nan}})
    (line,) = axes.lines
    assert (line.get_xdata(), line.get_ydata(), line.get_label()) == ([2], [0.25], 'AP, best 0.250')
