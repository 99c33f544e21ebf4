import cv2
import numpy as np
import pytest

from mmcnn.datasets import MosaicAffine
from mmcnn.datasets.mosaic.plan import Source


@pytest.fixture
def smooth_sample(sample):
    def smooth(seed, height, width, num_boxes=12):
        rng = np.random.default_rng(seed)
        coarse = rng.uniform(0, 255, (8, 8, 3)).astype(np.float32)
        image = np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
        corners = np.sort(rng.uniform(0, 1, (num_boxes, 2, 2)), axis=1) * (width, height)
        return sample(image, corners.reshape(-1, 4), labels=100 * seed + np.arange(num_boxes))

    return smooth


@pytest.fixture
def plain(sample):
    return lambda value, size=100: sample(np.full((size, size, 3), value, np.uint8), [[10, 10, 90, 90]])


def two_step_reference(samples, img_scale, scale, translate, degrees, shear):
    """Resize, paste on the 2W x 2H canvas, warp. Return the image, the tile index of each pixel, boxes and labels."""
    width, height = img_scale
    centre_x = int(np.random.uniform(width / 2, width * 3 / 2))
    centre_y = int(np.random.uniform(height / 2, height * 3 / 2))
    canvas = np.full((4 * height, 4 * width, 3), 114, np.uint8)  # with a margin of W, H, which is removed below
    owner = np.full(canvas.shape[:2], 255, np.uint8)
    boxes, labels = [], []
    for place, index in enumerate(np.random.permutation(4)):
        sample = samples[index]
        h, w = sample.image.shape[:2]
        ratio = min(width / w, height / h)
        new_w, new_h = round(w * ratio), round(h * ratio)
        x = centre_x - (new_w if place % 2 == 0 else 0)
        y = centre_y - (new_h if place < 2 else 0)
        rows, columns = slice(y + height, y + height + new_h), slice(x + width, x + width + new_w)
        canvas[rows, columns] = cv2.resize(sample.image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
        owner[rows, columns] = index
        boxes.append(sample.boxes * np.tile([new_w / w, new_h / h], 2) + [x, y, x, y])
        labels.append(sample.labels)
    canvas, owner = (each[height : 3 * height, width : 3 * width] for each in (canvas, owner))
    boxes, labels = np.concatenate(boxes), np.concatenate(labels)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, 2 * width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, 2 * height)

    s = np.random.uniform(*scale)
    angle = np.random.uniform(-degrees, degrees)
    shear_x, shear_y = np.tan(np.radians(np.random.uniform(-shear, shear, size=2)))
    target = np.random.uniform(0.5 - translate, 0.5 + translate, size=2) * img_scale
    if degrees == shear == 0:  # the corners of the images are aligned to corners of pixels
        corner = np.array([centre_x - width, centre_y - height]) * s
        target = np.rint(corner + target) - corner
    c = np.array([[1, 0, -width], [0, 1, -height], [0, 0, 1.0]])
    r = np.vstack([cv2.getRotationMatrix2D((0, 0), angle, s), [0, 0, 1]])
    sh = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
    t = np.array([[1, 0, target[0]], [0, 1, target[1]], [0, 0, 1]])
    m = t @ sh @ r @ c
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    in_centres = (np.linalg.inv(half) @ m @ half)[:2]
    image = cv2.warpAffine(canvas, in_centres, img_scale, flags=cv2.INTER_LINEAR, borderValue=(114, 114, 114))
    owner = cv2.warpAffine(owner, in_centres, img_scale, flags=cv2.INTER_NEAREST, borderValue=255)

    keep, warped = [], []
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        corners = np.array([[x1, y1, 1], [x2, y1, 1], [x1, y2, 1], [x2, y2, 1]]) @ m[:2].T
        left, top = corners.min(axis=0).clip(0, img_scale)
        right, bottom = corners.max(axis=0).clip(0, img_scale)
        w, h = right - left, bottom - top
        area_before = (x2 - x1) * s * (y2 - y1) * s
        if w > 2 and h > 2 and w * h / (area_before + 1e-16) > 0.1 and max(w / h, h / w) < 100:
            keep.append(i)
            warped.append([left, top, right, bottom])
    return image, owner, np.array(warped).reshape(-1, 4), labels[keep]


@pytest.mark.parametrize(
    ('img_scale', 'degrees', 'shear'),
    [((160, 160), 0, 0), ((192, 128), 0, 0), ((160, 160), 15, 5), ((128, 192), 30, 0)],
)
@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('larger', [1, 4])
def test_equals_resize_paste_and_warp(smooth_sample, mix, plan_of, img_scale, degrees, shear, seed, larger):
    shapes = [(120, 160), (160, 120), (200, 200), (300, 90)]
    samples = [smooth_sample(i, larger * h, larger * w) for i, (h, w) in enumerate(shapes)]
    transform = MosaicAffine(img_scale, max_rotate_degree=degrees, max_shear_degree=shear)
    np.random.seed(seed)
    drawn = mix(transform, samples)
    np.random.seed(seed)
    image, owner, boxes, labels = two_step_reference(samples, img_scale, (0.5, 1.5), 0.1, degrees, shear)

    # Both group tiles in drawing order, so the order of boxes agrees too.
    assert drawn.labels.tolist() == labels.tolist()
    assert np.abs(drawn.boxes - boxes).max() < 1e-3
    assert len(boxes) > 5
    reduced = [tile.reduction > 1 for tile in plan_of(transform, samples).pictures[0]]
    assert all(reduced) or larger == 1

    assert drawn.image.shape == image.shape == (img_scale[1], img_scale[0], 3)
    kernel = np.ones((5, 5), np.uint8)
    away_from_seams = cv2.dilate(owner, kernel) == cv2.erode(owner, kernel)
    away_from_seams[[0, 1, -2, -1]] = away_from_seams[:, [0, 1, -2, -1]] = False  # a seam may be just outside
    assert away_from_seams.mean() > 0.7
    difference = np.abs(drawn.image.astype(int) - image)[away_from_seams]
    assert difference.mean() < 1.0
    assert difference.max() <= 6


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('mosaic_prob', [0.0, 1.0])
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
    drawn = mix(MosaicAffine((256, 256), flip_prob=0.5), samples[: 4 if mosaic_prob else 1])
    assert len(drawn.boxes) >= 1
    for box, label in zip(drawn.boxes, drawn.labels, strict=True):
        close = np.abs(drawn.image.astype(int) - colours[label]).max(axis=2) < 128
        rows, columns = np.flatnonzero(close.any(axis=1)), np.flatnonzero(close.any(axis=0))
        seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(box - seen).max() <= 1.0


def identity(**kwargs):
    """Return a transform that only filters the boxes of one 100 x 100 image without mosaic."""
    return MosaicAffine((100, 100), mosaic_prob=0, scale=(1, 1), translate=0, **kwargs)


def test_one_image_of_the_right_size_passes_unchanged(smooth_sample, mix):
    given = smooth_sample(5, 100, 100)
    given.boxes[:] = [10, 20, 40, 50]
    out = mix(identity(), [given])
    assert (out.image == given.image).all()
    assert (out.boxes == given.boxes).all()


def test_a_flip_exchanges_left_and_right(smooth_sample, mix):
    given = smooth_sample(5, 100, 100)
    given.boxes[:] = [10, 20, 40, 50]
    out = mix(identity(flip_prob=1.0), [given])
    assert (out.image == given.image[:, ::-1]).all()
    assert (out.boxes == [60, 20, 90, 50]).all()


@pytest.mark.parametrize('degrees', [0, 20])
def test_a_flipped_mosaic_is_the_mirror_image(smooth_sample, mix, plan_of, degrees):
    samples = [smooth_sample(i, 120, 160) for i in range(8)]
    drawn = []
    for flip_prob in (0.0, 1.0):
        np.random.seed(3)
        transform = MosaicAffine((160, 128), flip_prob=flip_prob, max_rotate_degree=degrees)
        drawn.append(mix(transform, samples))
        np.random.seed(3)
        assert plan_of(transform, samples).flipped == bool(flip_prob)
    straight, mirrored = drawn
    different = np.abs(straight.image[:, ::-1].astype(int) - mirrored.image).max(axis=2) > 2
    assert different.mean() < (0.03 if degrees else 0.001)  # if rotated, at the seams
    assert np.allclose(mirrored.boxes, (160, 0, 160, 0) - straight.boxes[:, [2, 1, 0, 3]] * (1, -1, 1, -1), atol=1e-3)
    assert mirrored.labels.tolist() == straight.labels.tolist()


def test_one_image_is_letterboxed_in_the_centre(sample, mix):
    out = mix(identity(), [sample(np.full((50, 100, 3), 200, np.uint8), [[0, 0, 100, 50]])])
    assert (out.image[25:75] == 200).all()
    assert (out.image[:25] == 114).all()
    assert (out.image[75:] == 114).all()
    assert out.boxes.tolist() == [[0, 25, 100, 75]]


def test_box_filter_by_hand(sample, mix):
    boxes = [
        [10, 10, 12, 40],  # 2 px wide, which is too small
        [10, 10, 12.5, 40],  # kept
        [10, 10, 40, 12],  # 2 px high, which is too small
        [-30, 10, -1, 40],  # outside
        [50, 50, 50, 60],  # no area
    ]
    out = mix(identity(), [sample(np.zeros((100, 100, 3), np.uint8), boxes)])
    assert out.labels.tolist() == [1]

    wide = MosaicAffine((400, 400), mosaic_prob=0, scale=(1, 1), translate=0)
    boxes = [[10, 10, 310, 13], [10, 10, 309, 13], [10, 10, 13, 310]]  # ratios 100, 99.7, 100
    out = mix(wide, [sample(np.zeros((400, 400, 3), np.uint8), boxes)])
    assert out.labels.tolist() == [1]

    # Scaled by 2 about the centre: x -> 2 x - 50. The visible fraction is relative to the doubled box.
    double = MosaicAffine((100, 100), mosaic_prob=0, scale=(2, 2), translate=0)
    boxes = [
        [0, 0, 30, 30],  # -> (-50, -50, 10, 10): 100 of 3600 px
        [20, 20, 40, 40],  # -> (-10, -10, 30, 30): 900 of 1600 px
        [15, 30, 26, 50],  # -> (-20, 10, 2, 50): 2 px wide
        [0, 30, 28, 50],  # -> (-50, 10, 6, 50): 6 / 56 = 0.107 of the width
        [0, 30, 27.5, 50],  # -> (-50, 10, 5, 50): 5 / 55 = 0.091
    ]
    out = mix(double, [sample(np.zeros((100, 100, 3), np.uint8), boxes)])
    assert out.labels.tolist() == [1, 3]
    assert out.boxes.tolist() == [[0, 0, 30, 30], [0, 10, 6, 50]]


def test_crowd_flags_travel_with_their_boxes(sample, mix):
    boxes = [[10, 10, 40, 40], [10, 10, 11, 11], [50, 50, 90, 90]]
    given = sample(np.zeros((100, 100, 3), np.uint8), boxes, labels=[4, 5, 6], ignore=[False, False, True])
    out = mix(identity(), [given])
    assert out.labels.tolist() == [4, 6]
    assert out.ignore_flags.tolist() == [False, True]


@pytest.mark.parametrize('count', [1, 4, 8])
def test_images_without_boxes_and_the_dtypes(sample, plan_of, count):
    plan = plan_of(MosaicAffine((64, 96)), [sample(np.zeros((80, 60, 3), np.uint8))] * count)
    assert plan.boxes.shape == (0, 4) and plan.boxes.dtype == np.float32
    assert plan.labels.shape == plan.ignore_flags.shape == (0,)
    assert plan.labels.dtype == np.int64 and plan.ignore_flags.dtype == bool
    assert plan.size == (64, 96)
    assert [len(tiles) for tiles in plan.pictures] == {1: [1], 4: [4], 8: [4, 4]}[count]


def test_mixup_blends_two_whole_mosaics(plain, mix):
    # Around the canvas centre a mosaic of four square images has no gap, so each mosaic has a single value.
    transform = MosaicAffine((100, 100), mixup_prob=1, scale=(1, 1), translate=0)
    ratios = []
    for seed in range(200):
        np.random.seed(seed)
        out = mix(transform, [plain(200)] * 4 + [plain(100)] * 4)
        values = np.unique(out.image)
        assert len(values) == 1
        ratios.append((values[0] - 100) / 100)
        assert len(out.labels) == len(out.boxes) == len(out.ignore_flags) >= 2
    assert abs(np.mean(ratios) - 0.5) < 0.02
    assert abs(np.std(ratios) - 0.5 / np.sqrt(65)) < 0.015  # standard deviation of Beta(32, 32)


@pytest.mark.parametrize(
    ('size', 'reduction'),
    [((640, 480), 1), ((641, 300), 1), ((1279, 900), 1), ((1280, 960), 2), ((480, 2560), 4), ((20000, 20000), 8)],
)
def test_an_image_may_be_reduced_as_far_as_it_still_fills_the_canvas(size, reduction):
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    plan = MosaicAffine((640, 640)).plan([Source(0, size, *none)])
    assert plan.pictures[0][0].reduction == reduction


@pytest.mark.parametrize(
    ('mosaic_prob', 'mixup_prob', 'shares'),
    [(1, 0, {3: 1}), (0, 1, {0: 1}), (1, 1, {7: 1}), (0.5, 0, {0: 0.5, 3: 0.5}), (0.8, 0.25, {0: 0.2, 3: 0.6, 7: 0.2})],
)
def test_how_many_images_are_asked_for(mosaic_prob, mixup_prob, shares):
    np.random.seed(0)
    transform = MosaicAffine(mosaic_prob=mosaic_prob, mixup_prob=mixup_prob)
    drawn = [transform.partners(10) for _ in range(1000)]
    counts = np.bincount([len(each) for each in drawn], minlength=8) / 1000
    assert {n: round(share, 1) for n, share in enumerate(counts) if share} == pytest.approx(shares, abs=0.051)
    flat = [index for each in drawn for index in each]
    assert all(type(index) is int for index in flat)
    assert set(flat) in (set(), set(range(10)))


@pytest.mark.parametrize('count', [0, 2, 5, 9])
def test_a_wrong_number_of_images_is_named(plain, plan_of, count):
    with pytest.raises(ValueError, match=f'MosaicAffine mixes 1, 4 or 8 images, not {count}'):
        plan_of(MosaicAffine(), [plain(0)] * count)


@pytest.mark.parametrize(
    'setting',
    [
        {'mosaic_prob': 1.5},
        {'mixup_prob': -0.1},
        {'flip_prob': 2},
        {'scale': (0, 1)},
        {'scale': (2, 1)},
        {'max_shear_degree': 90},
    ],
)
def test_wrong_settings_are_named(setting):
    with pytest.raises(ValueError, match=f'MosaicAffine: {next(iter(setting))} is '):
        MosaicAffine(**setting)
