import cv2
import numpy as np
import pytest

from mmcnn.datasets.mosaic.tiles import (
    clip_boxes,
    compose,
    draw_tile,
    placement,
    scales,
    tile_bounds,
    transform_boxes,
    visible_part,
)


def grey(height, width, value=114):
    return np.full((height, width, 3), value, np.uint8)


def draw(canvas, image, matrix, region):
    bounds = tile_bounds(matrix, region, canvas.shape[1::-1])
    if bounds is not None:
        draw_tile(canvas, image, matrix, region, bounds)
    return bounds


def rotation_about(centre, degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, centre - linear @ centre])


def test_an_integer_shift_copies_pixels_and_touches_no_others():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    canvas = grey(20, 30)
    draw(canvas, image, placement((7, 5), (3, 4, 10, 9)), (0, 0, 7, 5))
    assert (canvas[4:9, 3:10] == image).all()
    canvas[4:9, 3:10] = 114
    assert (canvas == 114).all()


def test_doubling_samples_at_pixel_centres():
    # The output centres 0.5, 1.5, 2.5, 3.5 map to 0.25, 0.75, 1.25, 1.75; the source centres are 0.5 and 1.5.
    image = grey(1, 2, 0)
    image[0, 1] = 100
    canvas = grey(2, 4)
    draw(canvas, image, placement((2, 1), (0, 0, 4, 2)), (0, 0, 2, 1))
    assert canvas[..., 0].tolist() == [[0, 25, 75, 100]] * 2


def test_a_resize_equals_opencv_resize():
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 2)
    canvas = grey(75, 113)
    draw(canvas, image, placement((80, 60), (0, 0, 113, 75)), (0, 0, 80, 60))
    expected = cv2.resize(image, (113, 75), interpolation=cv2.INTER_LINEAR)
    assert np.abs(canvas.astype(int) - expected).max() <= 2


def test_shrinking_averages_instead_of_skipping():
    image = grey(64, 64, 0)
    image[::4] = 255  # every fourth row: bilinear sampling at a quarter would only use two of four rows
    canvas = grey(16, 16)
    draw(canvas, image, placement((64, 64), (0, 0, 16, 16)), (0, 0, 64, 64))
    assert set(np.unique(canvas)) <= {63, 64}


def test_a_quarter_turn_is_exact():
    image = np.random.default_rng(2).integers(0, 256, (9, 9, 3), np.uint8)
    canvas = grey(9, 9)
    draw(canvas, image, rotation_about((4.5, 4.5), 90), (0, 0, 9, 9))
    # A value of 1e-17 instead of a zero in the matrix may lead to the polygon path: both must give the plain rotation.
    assert (canvas == np.rot90(image, -1)).all()


def test_a_rotated_tile_covers_its_parallelogram_only():
    canvas = grey(100, 100)
    matrix = compose(rotation_about((50, 50), 45), np.eye(2, 3) + [[0, 0, 30]] * 2)
    draw(canvas, grey(40, 40, 255), matrix, (0, 0, 40, 40))
    y, x = np.mgrid[:100, :100] + 0.5
    distance = np.abs(x - 50) + np.abs(y - 50)  # the diamond's half diagonal is 20 * sqrt(2)
    assert (canvas[distance < 27] == 255).all()
    assert (canvas[distance > 30] == 114).all()


def test_only_the_region_is_drawn():
    canvas = grey(10, 10)
    draw(canvas, grey(10, 10, 255), np.eye(2, 3), (2, 3, 6, 8))
    assert (canvas[3:8, 2:6] == 255).all()
    assert (canvas == 255).all(axis=2).sum() == 20


def test_a_pixel_belongs_to_the_region_that_holds_its_centre():
    canvas = grey(10, 10)
    draw(canvas, grey(10, 10, 255), np.eye(2, 3), (2.4, 3.6, 7.6, 8.4))
    rows, columns = np.nonzero(canvas[..., 0] == 255)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (2, 7, 4, 7)


@pytest.mark.parametrize('offset', [(-50, 0), (0, 200), (100, 0)])
def test_a_tile_outside_leaves_the_canvas_alone(offset):
    canvas = grey(100, 100)
    matrix = placement((20, 20), (*offset, offset[0] + 20, offset[1] + 20))
    assert draw(canvas, grey(20, 20, 0), matrix, (0, 0, 20, 20)) is None
    assert (canvas == 114).all()


@pytest.mark.parametrize('degrees', [0, 20])
def test_neighbours_meet_without_gap(degrees):
    rng = np.random.default_rng(3)
    for _ in range(100):
        scale, shift, cut = rng.uniform(0.3, 1.7), rng.uniform(-5, 5, 2), int(rng.integers(10, 30))
        to_output = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        to_output = compose(rotation_about((20, 20), degrees), to_output)
        covered = np.zeros((40, 40), int)
        for rectangle in ((cut - 300, -300, cut, 300), (cut, -300, cut + 300, 300)):
            size = int(rng.integers(5, 60))
            canvas = grey(40, 40, 0)
            matrix = compose(to_output, placement((size, 50), rectangle))
            draw(canvas, grey(50, size, 255), matrix, (0, 0, size, 50))
            covered += canvas[..., 0] == 255
        assert covered.min() == 1
        # Both tiles cover a slanted edge, and the later tile hides the other.
        assert (covered == 2).sum() <= (0 if degrees == 0 else 100)


def test_the_part_that_is_read():
    # x -> 2 x - 60, y -> 2 y - 40: an output of 20 x 10 shows pixels 30 to 40 and 20 to 25, plus one on each side.
    matrix = np.array([[2.0, 0, -60], [0, 2, -40]])
    assert visible_part(matrix, (0, 0, 100, 100), (0, 0, 20, 10), (100, 100)) == (29, 19, 41, 26)
    assert visible_part(matrix, (32, 21, 33.5, 100), (4, 2, 7, 10), (100, 25)) == (31, 20, 35, 25)
    turned = rotation_about((50, 50), 90)
    assert visible_part(turned, (0, 0, 100, 100), (0, 0, 20, 10), (100, 100)) == (0, 79, 11, 100)


@pytest.mark.parametrize('degrees', [0, 25])
@pytest.mark.parametrize('scale', [0.3, 0.8, 2.5])
def test_only_the_visible_part_counts(degrees, scale):
    """Pixels outside the visible part have no influence, wherever the tile is."""
    image = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)
    for shift in ((0, 0), (-30, -20), (-70, 5), (5, -60)):
        matrix = compose(rotation_about((20, 15), degrees), np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]))
        region = (0, 0, 120, 90)
        first, second = grey(30, 40), grey(30, 40)
        bounds = draw(first, image, matrix, region)
        if bounds is None or scale <= 0.5:  # whole blocks are averaged first
            continue
        x1, y1, x2, y2 = visible_part(matrix, region, bounds, (120, 90))
        other = np.zeros_like(image)
        other[y1:y2, x1:x2] = image[y1:y2, x1:x2]
        draw(second, other, matrix, region)
        assert (first == second).all()


def test_scales_of_a_matrix():
    assert scales(np.array([[3.0, 0, 7], [0, 0.5, 9]])) == (3.0, 0.5)
    assert scales(compose(rotation_about((5, 5), 30), np.array([[3.0, 0, 7], [0, 0.5, 9]]))) == pytest.approx((3, 0.5))


def test_boxes_follow_the_matrix():
    boxes = np.array([[10.0, 20.0, 30.0, 60.0]])
    scaled = transform_boxes(boxes, np.array([[2.0, 0, 5], [0, 0.5, -5]]))
    assert scaled.tolist() == [[25, 5, 65, 25]]
    quarter_turn = transform_boxes(boxes, np.array([[0.0, -1, 100], [1, 0, 0]]))
    assert quarter_turn.tolist() == [[40, 10, 80, 30]]
    assert transform_boxes(np.zeros((0, 4)), np.eye(2, 3)).shape == (0, 4)


def test_clipping():
    boxes = np.array([[-5.0, -5, 5, 5], [90, 20, 130, 30], [200, 200, 210, 210]])
    assert clip_boxes(boxes, (0, 0, 100, 50)).tolist() == [[0, 0, 5, 5], [90, 20, 100, 30], [100, 50, 100, 50]]


@pytest.mark.parametrize('seed', range(40))
def test_a_tile_with_a_corner_on_a_pixel_is_resized_and_looks_as_if_warped(seed, monkeypatch):
    """Tests any corner, mirrored or not, whole or cropped, and partly outside the output."""
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(20, 90, 2).tolist())  # (w, h)
    noise = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 1)
    scale = rng.uniform(0.51, 3, 2) * rng.choice([-1, 1], 2)
    corner = [int(rng.choice([0, side])) for side in size]
    shift = rng.integers((20, 15), (40, 35)) - scale * corner
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    region = [0, 0, *size]
    for axis in (0, 1):  # the far end may be cropped
        if rng.random() < 0.5:
            region[axis + 2 * (corner[axis] == 0)] = size[axis] * rng.uniform(0.3, 0.7)
    resize, resized = cv2.resize, []
    monkeypatch.setattr(cv2, 'resize', lambda *args, **kwargs: resized.append(1) or resize(*args, **kwargs))
    drawn = grey(50, 60)
    draw(drawn, image, matrix, tuple(region))
    assert resized
    warped = grey(50, 60)
    off = 2e-6  # no corner is aligned to a pixel
    draw(warped, image, np.add(matrix, [[0, 0, off], [0, 0, off]]), tuple(region))
    assert len(resized) == 1
    assert np.abs(drawn.astype(int) - warped).max() <= 2
    assert ((drawn == 114).all(axis=2) == (warped == 114).all(axis=2)).mean() > 0.99


def test_what_lies_far_beyond_the_output_is_not_drawn_in_vain(monkeypatch):
    """A resize has to start at the corner; a third of this tile would be drawn in vain."""
    image = np.random.default_rng(0).integers(0, 256, (30, 120, 3)).astype(np.uint8)
    canvas = grey(30, 60)
    monkeypatch.setattr(cv2, 'resize', None)
    draw(canvas, image, np.array([[1.0, 0, -30], [0, 1, 0]]), (0, 0, 120, 30))
    assert (canvas == image[:, 30:90]).all()


def test_a_turned_tile_whose_bounds_alone_reach_the_output_is_not_drawn():
    """Rotated by 45 degrees, the tile is a diamond outside the output, but its bounds reach the output's corner."""
    canvas, image = grey(20, 20), np.full((20, 20, 3), 200, np.uint8)
    matrix = np.add(rotation_about((10, 10), 45), [[0, 0, 19], [0, 0, 19]])  # centre (29, 29), half a diagonal 14.1
    assert tile_bounds(matrix, (0, 0, 20, 20), (20, 20)) == (15, 15, 20, 20)
    assert visible_part(matrix, (0, 0, 20, 20), (15, 15, 20, 20), (20, 20)) is None
    draw(canvas, image, matrix, (0, 0, 20, 20))
    assert (canvas == 114).all()
