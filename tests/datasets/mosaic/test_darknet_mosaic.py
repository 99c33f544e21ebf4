import numpy as np
import pytest

from mmcnn.datasets import DarknetMosaic
from mmcnn.datasets.mosaic.plan import Source


@pytest.fixture
def plain(sample):
    return lambda value, height=60, width=80: sample(np.full((height, width, 3), value, np.uint8))


def test_without_jitter_and_mosaic_the_image_is_stretched(sample, mix):
    boxes = [[10, 10, 30, 40], [0, 0, 0.4, 50], [-20, 50, 10, 120], [-9, 0, -1, 9]]
    image = np.full((100, 200, 3), 7, np.uint8)
    given = sample(image, boxes, labels=[3, 4, 5, 6], ignore=[True, False, False, True])
    out = mix(DarknetMosaic((400, 100), jitter=0), [given])
    assert out.image.shape == (100, 400, 3)
    assert (out.image == 7).all()
    # x doubles, y stays; the second box is 0.8 px wide, the fourth is outside
    assert out.boxes.tolist() == [[20, 10, 60, 40], [0, 50, 20, 100]]
    assert out.labels.tolist() == [3, 5]
    assert out.ignore_flags.tolist() == [True, False]


def test_a_flip_exchanges_left_and_right(sample, mix):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    out = mix(DarknetMosaic((60, 40), jitter=0, flip_prob=1), [sample(image, [[5, 10, 20, 30]])])
    assert (out.image == image[:, ::-1]).all()
    assert out.boxes.tolist() == [[40, 10, 55, 30]]


def test_four_quadrants_meet_at_a_cut_inside_the_range(plain, mix):
    transform = DarknetMosaic((200, 100), jitter=0)
    cuts = []
    for seed in range(100):
        np.random.seed(seed)
        out = mix(transform, [plain(value) for value in (10, 60, 110, 160)]).image[..., 0]
        assert set(np.unique(out)) == {10, 60, 110, 160}
        x, y = np.flatnonzero(np.diff(out[0].astype(int)))[0] + 1, np.flatnonzero(np.diff(out[:, 0].astype(int)))[0] + 1
        for quadrant in (out[:y, :x], out[:y, x:], out[y:, :x], out[y:, x:]):
            assert len(np.unique(quadrant)) == 1
        cuts.append((x / 200, y / 100))
    low, high = np.min(cuts, axis=0), np.max(cuts, axis=0)
    assert (low >= 0.19).all()
    assert (high <= 0.8).all()
    assert (low < 0.25).all()
    assert (high > 0.75).all()


@pytest.mark.parametrize('seed', range(12))
@pytest.mark.parametrize('mosaic_prob', [0, 1])
def test_boxes_lie_on_their_objects(sample, mix, mosaic_prob, seed):
    """Each image has one rectangle of a unique colour, whose bounds must equal the box where it is visible."""
    colours = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)]
    rng = np.random.default_rng(seed)
    samples = []
    for label, colour in enumerate(colours):
        h, w = rng.integers(150, 400, 2)
        x, y = rng.integers(0, w - 100), rng.integers(0, h - 100)
        image = np.zeros((h, w, 3), np.uint8)
        image[y : y + 80, x : x + 90] = colour
        samples.append(sample(image, [[x, y, x + 90, y + 80]], labels=[label]))
    np.random.seed(seed)
    transform = DarknetMosaic((256, 256), mosaic_prob=mosaic_prob, pad_val=0)
    out = mix(transform, samples[: 4 if mosaic_prob else 1])
    seen = {}
    for label, colour in enumerate(colours[: 4 if mosaic_prob else 1]):
        close = np.abs(out.image.astype(int) - colour).max(axis=2) < 128
        rows, columns = np.flatnonzero(close.any(axis=1)), np.flatnonzero(close.any(axis=0))
        if len(rows) > 1 and len(columns) > 1:
            seen[label] = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    boxes = dict(zip(out.labels.tolist(), out.boxes, strict=True))
    assert set(seen) <= set(boxes)  # a box of one pixel may be too thin to be visible
    for label, bounds in seen.items():
        assert np.abs(boxes[label] - bounds).max() <= 1.0


def test_outside_is_filled_with_the_image_mean(sample, mix):
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50] = (200, 100, 40)
    transform = DarknetMosaic((100, 100), jitter=0.3)
    fills = 0
    for seed in range(20):
        np.random.seed(seed)
        out = mix(transform, [sample(image)]).image
        np.random.seed(seed)
        _, top, _, bottom = np.random.uniform(-0.3, 0.3, size=4)
        for outward, row in ((-top, 0), (bottom, -1)):
            if abs(outward) > 0.02:  # more than a pixel of the output
                assert (out[row] == (100, 50, 20)).all() == (outward > 0)
                fills += outward > 0
    assert fills > 10


def test_jitter_moves_each_border_on_its_own(plain, mix):
    """The image covers 1 / (1 + outward shifts) of the output, computed by hand for each draw."""
    transform = DarknetMosaic((1000, 1000), jitter=0.3, pad_val=0)
    for seed in range(10):
        np.random.seed(seed)
        out = mix(transform, [plain(255, 100, 100)]).image[..., 0]
        np.random.seed(seed)
        left, top, right, bottom = np.random.uniform(-0.3, 0.3, size=4)
        for low, high, line in ((left, right, out.max(axis=0)), (top, bottom, out.max(axis=1))):
            side = 1 + high - low
            first, last = max(0, -low) / side, (min(1, 1 + high) - low) / side
            inside = np.flatnonzero(line)
            assert inside[0] == pytest.approx(1000 * first, abs=1)
            assert inside[-1] + 1 == pytest.approx(1000 * last, abs=1)


def test_half_of_the_images_are_moved_to_touch_the_cut(plain, mix):
    # Unmoved, white reaches the cut's corner if neither border there moved outward (p = 1/4); moved, nearly always.
    transform = DarknetMosaic((100, 100), mosaic_prob=1, jitter=0.2, pad_val=0)
    touching = []
    for seed in range(300):
        np.random.seed(seed)
        out = mix(transform, [plain(255)] * 4).image[..., 0]
        np.random.seed(seed)
        x, y = (int(100 * np.random.uniform(0.2, 0.8)) for _ in range(2))
        touching += [out[row, column] == 255 for row in (y - 1, y) for column in (x - 1, x)]
    assert 0.55 < np.mean(touching) < 0.68  # 1/2 * 1/4 + 1/2 * 1 = 0.625


def test_further_images():
    np.random.seed(0)
    counts = [len(DarknetMosaic(mosaic_prob=0.5).partners(9)) for _ in range(1000)]
    assert set(counts) == {0, 3}
    assert 0.45 < np.mean(np.array(counts) == 3) < 0.55
    assert len(DarknetMosaic(mosaic_prob=1).partners(2)) == 3
    assert DarknetMosaic(mosaic_prob=0).partners(2) == []


def test_errors_name_the_setting(plain, plan_of):
    with pytest.raises(ValueError, match=r'jitter is 0\.5'):
        DarknetMosaic(jitter=0.5)
    with pytest.raises(ValueError, match='mosaic_prob is 2'):
        DarknetMosaic(mosaic_prob=2)
    with pytest.raises(ValueError, match='flip_prob is -1'):
        DarknetMosaic(flip_prob=-1)
    with pytest.raises(ValueError, match='DarknetMosaic mixes 1 or 4 images, not 3'):
        plan_of(DarknetMosaic(), [plain(0)] * 3)


@pytest.mark.parametrize(('size', 'reduction'), [((600, 400), 1), ((3039, 3041), 1), ((3042, 3042), 2)])
def test_an_image_may_be_reduced_as_far_as_its_smallest_crop_allows(size, reduction):
    # With jitter 0.3 the smallest crop has 0.4 of each side: 3040 * 0.4 = 2 * 608
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    plan = DarknetMosaic((608, 608), jitter=0.3).plan([Source(0, size, *none)])
    assert plan.pictures[0][0].reduction == reduction
