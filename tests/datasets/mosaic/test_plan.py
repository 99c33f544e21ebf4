import numpy as np
import pytest

from mmcnn.datasets.mosaic.plan import Plan, Tile, reduction_for


def test_a_mirrored_plan_by_hand():
    tile = Tile(7, (10, 20), np.array([[2.0, 0, 5], [0, 3, 1]]), (0, 0, 10, 20), window=(5, 1, 25, 61), fill=9)
    boxes = np.array([[10, 2, 30, 40]], np.float32)
    plan = Plan((100, 80), [[tile]], boxes, np.array([4]), np.array([True]), ratio=0.25)
    mirrored = plan.mirrored()
    assert mirrored.boxes.tolist() == [[70, 2, 90, 40]]
    # x -> 100 - (2 x + 5)
    assert mirrored.pictures[0][0].matrix.tolist() == [[-2, 0, 95], [0, 3, 1]]
    assert mirrored.pictures[0][0].window == (75, 1, 95, 61)
    assert mirrored.flipped and not plan.flipped
    assert (mirrored.ratio, mirrored.labels.tolist(), mirrored.ignore_flags.tolist()) == (0.25, [4], [True])
    assert boxes.tolist() == [[10, 2, 30, 40]] and plan.sources() == [7]
    assert mirrored.mirrored().pictures[0][0].matrix.tolist() == tile.matrix.tolist()


@pytest.mark.parametrize(
    ('shrinkage', 'reduction'), [(0.3, 1), (1, 1), (1.99, 1), (2, 2), (3.9, 2), (4, 4), (8, 8), (90, 8)]
)
def test_the_largest_reduction_that_loses_nothing(shrinkage, reduction):
    assert reduction_for(shrinkage) == reduction
