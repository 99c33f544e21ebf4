import cv2
import numpy as np
import pytest

from mmcnn.plots.boxes import draw_boxes, prediction_grid
from mmcnn.plots.palette import PALETTE

GREY = 90


def grey(height, width):
    return np.full((height, width, 3), GREY, np.uint8)


def bgr(label):
    return list(PALETTE[label][::-1])


def test_box_lies_where_it_should_in_its_class_colour():
    image = grey(500, 600)
    out = draw_boxes(image, [[100, 200, 300, 400]], [2])
    assert out.shape == image.shape
    assert (image == GREY).all()  # drawn on a copy
    for x, y in ((100, 300), (299, 300), (200, 399)):  # left, right and lower edge
        assert out[y, x].tolist() == bgr(2)
    assert out[300, 200].tolist() == [GREY] * 3
    assert out[300, 90].tolist() == out[300, 310].tolist() == out[410, 200].tolist() == [GREY] * 3
    assert (out[180:200, 100:110] == bgr(2)).all(axis=2).any()  # the tag above the corner


@pytest.mark.parametrize(('size', 'factor'), [((480, 100), 1), ((300, 479), 2), ((96, 96), 5), ((1000, 2000), 1)])
def test_small_images_are_enlarged_by_a_whole_factor(size, factor):
    height, width = size
    out = draw_boxes(grey(height, width), [[10, 20, 40, 60]], [0])
    assert out.shape == (height * factor, width * factor, 3)
    assert out[40 * factor, 10 * factor].tolist() == bgr(0)
    assert out[60 * factor - 1, 20 * factor].tolist() == bgr(0)
    assert draw_boxes(grey(height, width), [], [], min_size=0).shape == (height, width, 3)


def test_higher_scores_lie_on_top():
    boxes = [[50, 50, 300, 300], [50, 50, 300, 300]]
    for scores, top in (([0.9, 0.2], 0), ([0.2, 0.9], 1)):
        out = draw_boxes(grey(480, 480), boxes, [0, 1], scores)
        assert out[200, 50].tolist() == bgr(top)


def test_anything_that_a_detector_may_give():
    image = grey(480, 480)
    names = ['größe', '猫', 'кошка', '']
    boxes = [[-20, -30, 900, 700], [470, 470, 480, 480], [10, 10, 10, 10], [60, 60, 40, 40], [0, 0, 5, 5]]
    out = draw_boxes(image, np.array(boxes, np.float32), [0, 1, 2, 3, 4000], [0.5] * 5, names)
    assert out.shape == image.shape
    assert (draw_boxes(image, np.zeros((0, 4)), [], []) == GREY).all()


def test_names_and_scores_are_written():
    image = grey(480, 480)
    box = [[100, 100, 400, 400]]
    plain = draw_boxes(image, box, [0])
    assert not np.array_equal(plain, draw_boxes(image, box, [0], names=['cell']))
    assert not np.array_equal(draw_boxes(image, box, [0], [0.31]), draw_boxes(image, box, [0], [0.87]))
    assert np.array_equal(plain, draw_boxes(image, box, [0], names=['0']))


def test_long_names_and_line_breaks_stay_in_the_image():
    image, box = grey(480, 480), [[0, 100, 400, 400]]
    one_line = draw_boxes(image, box, [0], names=['a b'])
    assert np.array_equal(one_line, draw_boxes(image, box, [0], names=['a\nb']))
    long = draw_boxes(image, box, [0], [0.5], ['x' * 120])
    assert np.array_equal(long, draw_boxes(image, box, [0], [0.5], ['x' * 300]))
    assert not np.array_equal(long, draw_boxes(image, box, [0], [0.75], ['x' * 120]))  # the score is not cut off
    tag = (long[85:100] == bgr(0)).all(axis=2).any(axis=0)
    assert 100 < tag.sum() < 480
    narrow = grey(480, 60)
    assert not np.array_equal(
        draw_boxes(narrow, [[0, 100, 50, 200]], [0], [0.5], ['x' * 120], 0),
        draw_boxes(narrow, [[0, 100, 50, 200]], [0], [0.75], ['x' * 120], 0),
    )


def test_a_font_that_is_none():
    with pytest.raises(ValueError, match=r'font=no\.ttf: the file does not exist'):
        draw_boxes(grey(9, 9), [], [], font='no.ttf')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((grey(9, 9)[..., 0], [], []), r'\(9, 9\) of uint8'),
        ((grey(9, 9).astype(float), [], []), 'float64'),
        ((grey(9, 9), [[0, 0, 1, 1]], []), '1 boxes, 0 labels and no scores'),
        ((grey(9, 9), [[0, 0, 1, 1]], [0], [0.5, 0.5]), '1 boxes, 1 labels and 2 scores'),
    ],
)
def test_draw_boxes_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_boxes(*arguments)


def test_grid_shows_truth_beside_prediction(tmp_path):
    """Five pairs, two per row, of solid images with different colours."""

    def solid(blue):
        return np.full((100, 200, 3), (blue, 5, 250), np.uint8)

    pairs = [(solid(10 + 20 * i), solid(130 + 20 * i)) for i in range(5)]
    path = tmp_path / 'new' / 'grid.png'
    prediction_grid(pairs, path, columns=4, cell=200)
    page = cv2.imread(str(path))
    found = []
    for value in [10 + 20 * i for i in range(5)] + [130 + 20 * i for i in range(5)]:
        ys, xs = np.nonzero((page == (value, 5, 250)).all(axis=2))
        assert len(ys) == 100 * 200
        found.append((np.median(ys), np.median(xs)))
    truth, prediction = np.array(found[:5]), np.array(found[5:])
    assert (truth[:, 0] == prediction[:, 0]).all()  # in the same row
    assert (prediction[:, 1] - truth[:, 1] == 204).all()  # one cell and a gap further right
    assert truth[0, 0] == truth[1, 0] < truth[2, 0] == truth[3, 0] < truth[4, 0]  # two pairs per row
    assert truth[0, 1] == truth[2, 1] == truth[4, 1] < truth[1, 1]
    header = page[: int(truth[0, 0]) - 50]
    assert (header < 128).any()  # the titles


def test_a_caption_stands_below_the_grid_and_fits(tmp_path):
    pairs = [(grey(100, 100), grey(100, 100))]
    prediction_grid(pairs, tmp_path / 'without.png', columns=2, cell=100)
    without = cv2.imread(str(tmp_path / 'without.png'))
    for name, caption in (('short.png', 'a word'), ('long.png', 'a long sentence about a score ' * 5)):
        prediction_grid(pairs, tmp_path / name, columns=2, cell=100, caption=caption)
        page = cv2.imread(str(tmp_path / name))
        assert page.shape[1] == without.shape[1]
        assert (page[: len(without)] == without).all()
        below = page[len(without) :].min(axis=2) < 200
        assert below.any() and not below[:, :3].any() and not below[:, -3:].any()


def test_grid_fits_images_of_any_size(tmp_path):
    pairs = [(grey(640, 480), grey(320, 240)), (grey(10, 300), grey(300, 10))]
    prediction_grid(pairs, tmp_path / 'grid.png', columns=2, cell=64)
    page = cv2.imread(str(tmp_path / 'grid.png'))
    assert page.shape[1] < 2 * 64 + 20  # one pair per row
    with pytest.raises(ValueError, match='at least one pair'):
        prediction_grid([], tmp_path / 'grid.png')
    with pytest.raises(ValueError, match='columns must be even and at least 2, but is 3'):
        prediction_grid(pairs, tmp_path / 'grid.png', columns=3)
