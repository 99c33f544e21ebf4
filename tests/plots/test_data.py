"""The plot of a data set, panel by panel."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mmcnn.datasets.anchors import box_sizes, within_reach
from mmcnn.plots.data import plot_data


@pytest.fixture
def axes(monkeypatch):
    """The panels of the figures that are saved while a test runs."""
    panels = []
    save = Figure.savefig

    def spy(self, *args, **kwargs):
        panels.extend(self.axes)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', spy)
    return panels


def coco(boxes, names=('a', '$\\broken{', '細胞')):
    """Make a COCO dict of an image of 100 x 50 pixels with boxes (category, width, height)."""
    return dict(
        images=[dict(id=1, width=100, height=50)],
        categories=[dict(id=i, name=name) for i, name in enumerate(names)],
        annotations=[dict(image_id=1, category_id=i, bbox=[0, 0, w, h]) for i, w, h in boxes],
    )


def test_panels(axes, tmp_path):
    train = coco([(2, 10, 10)] * 3 + [(0, 20, 10)] + [(0, 80, 2)] * 4)
    train['annotations'].append(dict(image_id=1, category_id=0, bbox=[0, 0, 9, 9], iscrowd=1))
    path = tmp_path / 'sub' / 'a.png'
    # At 200 px, the boxes are 20 x 20, 40 x 20 and 160 x 4 px.
    cocos = dict(train=train, val=coco([(1, 10, 10)]))
    sizes, anchors = {split: box_sizes(each, 200) for split, each in cocos.items()}, [[(20, 20)], [(40, 40)]]
    plot_data(cocos, sizes, 200, path, anchors, within_reach(sizes['train'], anchors))
    assert np.asarray(Image.open(path)).std() > 10
    classes, scatter, ratios, reach = axes
    assert [label.get_text() for label in classes.get_yticklabels()] == ['a', '細胞', '$\\broken{']
    assert [[bar.get_width() for bar in bars] for bars in classes.containers] == [[5, 3, 0], [0, 0, 1]]
    points = [sorted(map(tuple, each.get_offsets().tolist())) for each in scatter.collections]
    assert points[0] == sorted([(20, 20)] * 3 + [(40, 20)] + [(160, 4)] * 4)
    assert points[1:] == [[(20, 20)], [(20, 20), (40, 40)]]
    assert sum(bar.get_height() for bar in reach.containers[0]) == 8
    assert sum(bar.get_height() for bar in reach.containers[1]) == 4
    assert reach.get_title() == 'best possible recall of the anchors: 0.5000'
    assert ratios.xaxis.get_major_formatter()(2, 0) == '4'


def test_many_classes_no_anchors_and_no_boxes_to_validate_on(axes, tmp_path):
    names = [f'class {i}' for i in range(78)] + ['a name that takes up too much room', 'class 79']
    train = coco([(i, 5, 5) for i in range(80)] + [(77, 5, 5)] * 2 + [(78, 5, 5)], names)
    cocos = dict(train=train, val=coco([], names))
    plot_data(cocos, {split: box_sizes(each, 640) for split, each in cocos.items()}, 640, tmp_path / 'a.png')
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert (len(labels), labels[:2]) == (30, ['class 77', 'a name that takes up to…'])
    assert axes[0].get_title() == 'boxes of each class, the 30 most frequent of 80'
    assert axes[3].get_title() == 'sizes of the training boxes'
