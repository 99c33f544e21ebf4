import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from mmcnn.datasets import DarknetHSV, DarknetMosaic, MosaicAffine, RandomHSV
from mmcnn.datasets.mosaic.plan import Source
from mmcnn.datasets.mosaic.render import Renderer, pack
from mmcnn.models.data_preprocessors import PlanPreprocessor
from mmcnn.models.data_preprocessors.plan_preprocessor import draw_batch, map_hsv

SIZE = (160, 128)
SETTINGS = dict(mean=[10.0, 20.0, 30.0], std=[50.0, 60.0, 70.0], bgr_to_rgb=True, pad_size_divisor=32)


def photograph(seed, height, width):
    """Draws structure of 3 pixels to the whole image, more in brightness than in colour, as in a photograph."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (110.0, 128, 140))
    for sigma, weight in ((3, 5), (10, 20), (60, 40)):
        for channels, share in ((1, 1.0), (3, 0.3)):
            noise = cv2.GaussianBlur(rng.normal(size=(height, width, channels)), (0, 0), sigma)
            image += share * weight * (noise / noise.std()).reshape(height, width, channels)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def photographs():
    shapes = [(96, 128), (128, 96), (200, 200), (150, 60), (300, 420), (97, 131), (120, 160), (64, 64)]
    return [photograph(seed, *shape) for seed, shape in enumerate(shapes)]


@pytest.fixture
def images(photographs):
    return [image.copy() for image in photographs]


@pytest.fixture
def plans(images):
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    sources = [Source(number, image.shape[1::-1], *none) for number, image in enumerate(images)]

    def draw(transform, colours, counts, seed=0):
        np.random.seed(seed)
        drawn = [transform.plan([sources[i] for i in np.random.permutation(8)[:count]]) for count in counts]
        for plan in drawn:
            if colours is not None:
                colours.change(plan)
        return drawn

    return draw


@pytest.fixture
def both(images):
    """Draws a batch of plans with OpenCV and in the device's way, (N, H, W, 3) each."""

    def draw(plans):
        render, packed = (
            Renderer(),
            pseudo_collate([pack(plan, lambda tile, _: images[tile.index]) for plan in plans]),
        )
        here = np.stack([render(plan, lambda tile, _: images[tile.index]) for plan in plans])
        there = draw_batch(packed, plans[0].size[::-1])
        assert there.dtype == torch.float32 and there.shape == (len(plans), 3, *plans[0].size[::-1])
        return here.astype(int), there.permute(0, 2, 3, 1).numpy()

    return draw


@pytest.mark.parametrize('colours', [None, RandomHSV(), DarknetHSV()], ids=['plain', 'RandomHSV', 'DarknetHSV'])
@pytest.mark.parametrize(
    ('transform', 'counts'),
    [
        (MosaicAffine(SIZE, flip_prob=0.5), [4] * 6),
        (MosaicAffine(SIZE, scale=(0.1, 0.6), flip_prob=0.5), [4] * 6),
        (MosaicAffine(SIZE, scale=(1.5, 1.9)), [4] * 6),
        (MosaicAffine(SIZE, flip_prob=0.5), [1, 8, 4, 8]),
        (DarknetMosaic(SIZE, flip_prob=0.5), [1, 4, 4, 1, 4]),
    ],
    ids=['mosaic', 'small', 'large', 'plain, mosaic, MixUp', 'Darknet'],
)
def test_the_device_draws_what_opencv_does(plans, both, transform, counts, colours):
    here, there = both(plans(transform, colours, counts))
    difference = np.abs(here - there)
    assert difference.mean() < 0.6
    # A value rounded the other way can shift the hue by a step, which DarknetHSV's larger factors enlarge.
    assert (difference <= 3).mean() > (0.995 if isinstance(colours, DarknetHSV) else 0.999)


def test_rotated_tiles_differ_on_their_seams_only(plans, both):
    transform = MosaicAffine(SIZE, max_rotate_degree=20, max_shear_degree=8, flip_prob=0.5)
    here, there = both(plans(transform, None, [4] * 6))
    difference = np.abs(here - there).max(axis=3)
    assert (difference <= 3).mean() > 0.97
    # Larger differences occur only where the image jumps from one tile to another or to the background.
    kernel = np.ones((3, 3), np.uint8)
    for one, other, unlike in zip(here, there, difference, strict=True):
        jumps = [cv2.dilate(each, kernel) - cv2.erode(each, kernel) for each in (one.astype(np.float32), other)]
        assert (unlike <= 3 + np.max(jumps, axis=(0, 3))).all()


def test_tiles_do_not_bleed_into_each_other(both, images, plans):
    """Each tile has one value, so any value in between would come from its neighbour in the atlas."""
    (plan,) = plans(MosaicAffine(SIZE, scale=(1.3, 1.3), translate=0), None, [4])
    for number, image in enumerate(images):
        image[:] = 30 * number
    here, there = both([plan])
    assert (here == there).all()


def test_a_plan_of_which_nothing_is_seen_is_its_ground(both, plans):
    (plan,) = plans(MosaicAffine(SIZE), None, [1])
    (tile,) = plan.pictures[0]
    plan.pictures[0] = [tile._replace(matrix=np.add(tile.matrix, [[0, 0, 999], [0, 0, 0]]))]
    here, there = both([plan])
    assert (here == 114).all() and (there == 114).all()


def test_hsv_rounds_as_opencv():
    """Maps every hue, many saturations and values, and greys through tables that change each channel."""
    rng = np.random.default_rng(0)
    image = np.concatenate(
        [rng.integers(0, 256, (200, 300, 3), np.uint8), np.tile(rng.integers(0, 256, (20, 300, 1), np.uint8), 3)]
    )
    tables = RandomHSV(0.5, 0.7, 0.4).tables()
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    expected = cv2.cvtColor(np.dstack([tables[i][hsv[..., i]] for i in range(3)]), cv2.COLOR_HSV2BGR)
    found = map_hsv(torch.from_numpy(image).permute(2, 0, 1)[None].float(), torch.from_numpy(tables)[None])
    difference = np.abs(found[0].permute(1, 2, 0).numpy() - expected)
    assert difference.mean() < 0.1
    assert (difference <= 3).mean() > 0.99  # a hue or saturation rounded the other way is one step off


def batch_of(packed):
    samples = []
    for each in packed:
        sample = DetDataSample(metainfo=dict(img_shape=SIZE[::-1], ori_shape=SIZE[::-1]))
        samples.append(dict(inputs=each, data_samples=sample))
    return pseudo_collate(samples)


def test_what_the_network_gets_is_normalised_as_images_are(plans, images):
    from mmdet.models import DetDataPreprocessor

    drawn = plans(MosaicAffine(SIZE), RandomHSV(), [4, 4, 8])
    read = lambda tile, _: images[tile.index]  # noqa: E731
    render = Renderer()
    plain = batch_of([torch.from_numpy(render(plan, read)).permute(2, 0, 1) for plan in drawn])
    expected = DetDataPreprocessor(**SETTINGS)(plain, True)['inputs']
    preprocess = PlanPreprocessor(**SETTINGS)
    found = preprocess(batch_of([pack(plan, read) for plan in drawn]), True)
    assert found['inputs'].shape == expected.shape == (3, 3, 128, 160)
    assert (found['inputs'] - expected).abs().mean() < 0.02
    assert found['data_samples'][0].batch_input_shape == found['data_samples'][0].pad_shape == (128, 160)
    assert torch.equal(preprocess(plain, True)['inputs'], expected)  # images pass through as usual


def test_batch_augments_follow(plans, images):
    augment = dict(type='mmdet.BatchSyncRandomResize', random_size_range=(64, 64), interval=1)
    preprocess = PlanPreprocessor(**SETTINGS, batch_augments=[augment])
    preprocess.batch_augments[0]._input_size = (64, 96)
    MessageHub.get_instance('batch_augments').update_info('iter', 0)
    batch = batch_of([pack(plan, lambda tile, _: images[tile.index]) for plan in plans(MosaicAffine(SIZE), None, [4])])
    batch['data_samples'][0].gt_instances = InstanceData(bboxes=torch.tensor([[10.0, 20, 30, 40]]))
    result = preprocess(batch, True)
    assert result['inputs'].shape == (1, 3, 64, 96)
    assert torch.allclose(result['data_samples'][0].gt_instances.bboxes, torch.tensor([[6.0, 10, 18, 20]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU here')
def test_on_a_gpu_the_same(plans, images):
    packed = pseudo_collate(
        [pack(plan, lambda tile, _: images[tile.index]) for plan in plans(MosaicAffine(SIZE), RandomHSV(), [1, 8, 4])]
    )
    on_gpu = {
        name: [tensor.pin_memory().cuda(non_blocking=True) for tensor in tensors] for name, tensors in packed.items()
    }
    with torch.autocast('cuda', torch.bfloat16):
        found = draw_batch(on_gpu, SIZE[::-1]).cpu()
    assert ((found - draw_batch(packed, SIZE[::-1])).abs() <= 1).float().mean() > 0.999
