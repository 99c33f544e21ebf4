"""The plot of a comparison."""

import pytest

from mmcnn.compare.table import Row
from mmcnn.plots import comparison


def test_it_names_every_network_and_its_parameters(tmp_path, monkeypatch):
    drawn = {}
    real = comparison.place_labels

    def spied(axes, labels, markers, **options):
        real(axes, labels, markers, **options)
        drawn['texts'] = {text.get_text(): text.xy for text in axes.texts}
        drawn['areas'] = [float(points.get_sizes()[0]) for points in axes.collections if hasattr(points, 'get_sizes')]

    monkeypatch.setattr(comparison, 'place_labels', spied)
    rows = [Row(f'net{i}', (i + 1) * 10**6, 12.0, [0.2], [0.2], [1]) for i in range(12)]  # all at the same point
    rows += [
        Row('darknet53', 61_234_567, 40.04, [0.31, 0.33], [0.5, 0.6], [100, 101]),
        Row('vgg16', 20_000_000, 12.25, [0.2], [0.4], [3725]),
    ]
    comparison.plot_comparison(rows, 't', tmp_path / 'x.png')
    assert set(drawn['texts']) == {f'net{i}, {i + 1} M' for i in range(12)} | {'darknet53, 61.2 M', 'vgg16, 20 M'}
    assert drawn['texts']['darknet53, 61.2 M'] == pytest.approx((40.04, 0.32))
    net0, net1 = drawn['areas'][:2]
    assert net1 == pytest.approx(2 * net0)
    assert max(drawn['areas']) == comparison.BUBBLE
