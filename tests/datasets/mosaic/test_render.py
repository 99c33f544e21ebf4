import cv2
import numpy as np
import pytest

from mmcnn.datasets import MosaicAffine
from mmcnn.datasets.mosaic.plan import Plan, Tile
from mmcnn.datasets.mosaic.render import COLUMNS, NUM_COLUMNS, Renderer, pack


def plan_with(*tiles, size=(20, 10), **kwargs):
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    return Plan(size, [list(tiles)], *none, **kwargs)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


GROUND = dict(window=(0, 0, 20, 10), fill=50)


def test_a_tile_on_its_ground_by_hand():
    image = noise(4, 6)
    tile = Tile(3, (6, 4), np.array([[1.0, 0, 2], [0, 1, 5]]), (0, 0, 6, 4), **GROUND)
    drawn = Renderer()(plan_with(tile), lambda asked, _: image if asked is tile else None)
    assert (drawn[5:9, 2:8] == image).all()
    drawn[5:9, 2:8] = 50
    assert (drawn == 50).all()


def test_what_is_not_seen_is_not_read():
    asked = []
    outside = Tile(0, (6, 4), np.array([[1.0, 0, -6], [0, 1, 5]]), (0, 0, 6, 4), **GROUND)
    touching = Tile(1, (6, 4), np.array([[1.0, 0, -5], [0, 1, 5]]), (0, 0, 6, 4))

    def read(tile, _):
        asked.append(tile.index)
        return noise(4, 6)

    for draw in (Renderer(), pack):
        draw(plan_with(outside, touching), read)
        assert asked == [1]
        asked.clear()
        # The mean of an image that fills a window is needed nevertheless.
        draw(plan_with(outside._replace(fill=None)), read)
        assert asked == [0]
        asked.clear()


@pytest.mark.parametrize('size', [(40, 30), (41, 29)])
@pytest.mark.parametrize('reduction', [2, 4])
def test_a_reduced_image_lies_where_the_whole_one_does(size, reduction):
    """Each pixel represents a block of pixels of the whole image, even if the last blocks are incomplete."""
    width, height = size
    columns, rows = -(-width // reduction), -(-height // reduction)
    small = cv2.GaussianBlur(noise(rows, columns), (0, 0), 2)
    whole = np.repeat(np.repeat(small, reduction, axis=0), reduction, axis=1)[:height, :width]
    tile = Tile(0, size, np.array([[0.5, 0, 0], [0, 0.5, 0]]), (0, 0, *size), window=(0, 0, 20, 14), fill=0)
    drawn = [Renderer()(plan_with(tile, size=(20, 14)), lambda *_, image=image: image) for image in (small, whole)]
    # Above a scale of one half, the first is interpolated between means, whereas the second has steps.
    assert np.abs(drawn[0].astype(int) - drawn[1]).mean() < (1 if reduction == 2 else 6)
    difference = np.abs(drawn[0].astype(int) - drawn[1])
    shifted = np.abs(np.roll(drawn[0], 1, axis=1).astype(int) - drawn[1])
    assert difference.mean() < shifted.mean() / 2


def test_a_file_of_another_size_than_annotated_is_scaled():
    image = np.full((10, 30, 3), 200, np.uint8)
    tile = Tile(0, (6, 4), np.array([[1.0, 0, 2], [0, 1, 5]]), (0, 0, 6, 4), **GROUND)
    drawn = Renderer()(plan_with(tile), lambda *_: image)
    assert (drawn[5:9, 2:8] == 200).all()
    assert (drawn == 200).all(axis=2).sum() == 24


def test_colours_are_looked_up_after_the_blend():
    image = np.full((10, 20, 3), 100, np.uint8)
    tile = Tile(0, (20, 10), np.eye(2, 3), (0, 0, 20, 10))
    plan = plan_with(tile, ratio=0.25, colours=np.tile(np.arange(256, dtype=np.uint8), (3, 1)))
    plan.pictures.append([tile._replace(index=1)])
    plan.colours[2, 175] = 33  # 0.25 * 100 + 0.75 * 200
    drawn = Renderer()(plan, lambda tile, _: image * (1 + tile.index))
    assert (drawn == 33).all()


def test_an_image_is_the_callers():
    render, tile = Renderer(), Tile(0, (20, 10), np.eye(2, 3), (0, 0, 20, 10))
    for colours in (None, np.tile(np.arange(256, dtype=np.uint8), (3, 1))):
        first = render(plan_with(tile, colours=colours), lambda *_: np.full((10, 20, 3), 10, np.uint8))
        render(plan_with(tile, colours=colours), lambda *_: np.full((10, 20, 3), 90, np.uint8))
        assert (first == 10).all()


def test_what_is_packed_is_what_is_seen(sample, plan_of):
    """The packed part of a tile in the atlas and its source, by hand."""
    image = noise(100, 100)
    # Scaled by 2; the output shows source pixels 30 to 40 in x and 20 to 25 in y, plus one on each side.
    tile = Tile(0, (100, 100), np.array([[2.0, 0, -60], [0, 2, -40]]), (0, 0, 100, 100), **GROUND)
    packed = pack(plan_with(tile), lambda *_: image)
    assert (packed['atlas'].numpy() == image[19:26, 29:41]).all()
    (row,) = packed['tiles'][0].numpy()
    assert row.shape == (NUM_COLUMNS,)
    assert row[COLUMNS['to_atlas']].tolist() == [0.5, 0, 1, 0, 0.5, 1]
    assert row[COLUMNS['region']].tolist() == [-29, -19, 71, 81]
    assert row[COLUMNS['taps']].tolist() == [0, 0, 12, 7]
    assert row[COLUMNS['window']].tolist() == [0, 0, 20, 10] and row[COLUMNS['fill']].tolist() == [50] * 3
    assert row[COLUMNS['weight']] == 1
    assert packed['colours'].shape == (3, 0)

    plan = plan_of(MosaicAffine((20, 10)), [sample(image)] * 8)
    plan.ratio = 0.25
    tiles = pack(plan, lambda *_: image)['tiles']
    assert tiles.shape == (2, 4, NUM_COLUMNS)
    assert tiles[..., COLUMNS['weight']].flatten(1).tolist() == [[0.25] * 4, [0.75] * 4]
