import cv2
import numpy as np
import pytest
import torch

from mmcnn.datasets import DarknetMosaic, MosaicAffine
from mmcnn.datasets.mosaic.plan import Plan, Source, Tile
from mmcnn.datasets.mosaic.render import Renderer, pack
from mmcnn.datasets.mosaic.shared_image_cache import SharedImageCache
from mmcnn.datasets.mosaic.tile_reader import TileReader
from mmcnn.image_file import read_image_file


def smooth(height, width):
    blurred = cv2.GaussianBlur(np.random.default_rng(0).uniform(size=(height, width, 3)), (0, 0), 6)
    return cv2.normalize(blurred, None, 20, 230, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Paths of two JPEG images of 200 x 100 pixels."""
    paths = [str(tmp_path / f'{number}.jpg') for number in range(2)]
    for path in paths:
        cv2.imwrite(path, smooth(100, 200))
    return paths.__getitem__


def tile(index, reduction=1, scale=1.0):
    matrix = np.array([[scale, 0, 0], [0, scale, 0]])
    return Tile(index, (200, 100), matrix, (0, 0, 200, 100), reduction)


@pytest.mark.parametrize(
    ('reduction', 'scale', 'width'), [(1, 1, 200), (1, 0.5, 100), (2, 1, 100), (2, 0.2, 50), (1, 0.01, 25)]
)
def test_without_a_cache_what_is_drawn_small_is_decoded_small(folder, reduction, scale, width):
    assert TileReader(folder)(tile(0, reduction, scale)).shape[1:] == (width, 3)


def test_with_a_cache_only_the_tiles_reduction_counts(folder, monkeypatch):
    paths = []

    def counted(path, reduction):
        paths.append(path)
        return read_image_file(path, reduction)

    monkeypatch.setattr('mmcnn.datasets.mosaic.tile_reader.read_image_file', counted)
    read = TileReader(folder, SharedImageCache(2, 1e-4))  # 100,000 bytes: one image of 100 x 200 x 3
    for scale in (0.1, 1.0, 0.1):
        for index in (0, 1):
            assert (read(tile(index, 1, scale)) == read_image_file(folder(index))).all()
    assert paths == [folder(0), folder(1)] + [folder(1)] * 2


@pytest.mark.parametrize('size', [(200, 100), (400, 300)], ids=['as annotated', 'another size'])
def test_without_a_cache_what_is_drawn_is_what_the_whole_file_would_give(tmp_path, size):
    """The upper part of the image is visible at the bottom of the output, mirrored or not, enlarged or reduced."""
    path = str(tmp_path / 'x.jpg')
    cv2.imwrite(path, cv2.resize(smooth(100, 200), size))
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    cuts = 0
    for scale in (0.3, 0.45, 0.8, 1.7):
        for matrix in ([[scale, 0, 3], [0, scale, 50]], [[-scale, 0.1, 120], [0.05, scale, 40]]):
            tile = Tile(0, (200, 100), np.array(matrix), (0, 0, 200, 100), 1, (0, 0, 128, 64), 114)
            plan = Plan((128, 64), [[tile]], *none)
            read = TileReader(lambda _: path)
            drawn = Renderer()(plan, read)
            assert (drawn == Renderer()(plan, lambda tile, _, read=read: read(tile))).all()
            cuts += (drawn != 114).any()
    assert cuts == 8


@pytest.mark.parametrize(
    'transform',
    [
        MosaicAffine((320, 256), flip_prob=0.5),
        MosaicAffine((320, 256), scale=(0.1, 0.6), flip_prob=0.5),
        MosaicAffine((320, 256), max_rotate_degree=20, max_shear_degree=5, flip_prob=0.5),
        MosaicAffine((320, 256), mosaic_prob=0, scale=(1, 2)),
        DarknetMosaic((320, 256), flip_prob=0.5),
    ],
    ids=['mosaic', 'small', 'turned', 'one image', 'Darknet'],
)
def test_random_mosaics_are_what_the_whole_files_would_give(tmp_path, transform):
    """Noise makes all rows different; the size of every third file differs from its annotation."""
    rng, none = np.random.default_rng(0), (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    sources = []
    for number, (w, h) in enumerate(rng.integers(60, 900, (12, 2)).tolist()):
        width, height = (w, h) if number % 3 else (w // 2 + 3, 2 * h)
        cv2.imwrite(str(tmp_path / f'{number}.jpg'), rng.integers(0, 256, (height, width, 3), np.uint8))
        sources.append(Source(number, (w, h), *none))
    read = TileReader(lambda number: str(tmp_path / f'{number}.jpg'))
    np.random.seed(0)
    for count in [4] * 25 + [1] * 5:
        plan = transform.plan([sources[i] for i in rng.integers(0, 12, count)])
        assert (Renderer()(plan, read) == Renderer()(plan, lambda tile, _: read(tile))).all()
        in_part, whole = pack(plan, read), pack(plan, lambda tile, _: read(tile))
        assert all(torch.equal(in_part[name], whole[name]) for name in whole)
