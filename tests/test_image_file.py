import cv2
import numpy as np
import pytest
from PIL import Image

from mmcnn.errors import DataError
from mmcnn.image_file import read_image_file


def smooth(height, width):
    blurred = cv2.GaussianBlur(np.random.default_rng(0).uniform(size=(height, width, 3)), (0, 0), 6)
    return cv2.normalize(blurred, None, 20, 230, cv2.NORM_MINMAX).astype(np.uint8)


def block_means(image, reduction):
    """Return means of blocks of reduction x reduction pixels; incomplete blocks repeat their last pixels."""
    rows, columns = (-side % reduction for side in image.shape[:2])
    image = np.pad(image.astype(float), ((0, rows), (0, columns), (0, 0)), mode='edge')
    height, width = (side // reduction for side in image.shape[:2])
    return image.reshape(height, reduction, width, reduction, 3).mean(axis=(1, 3))


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('reduction', [1, 2, 4, 8])
@pytest.mark.parametrize('size', [(96, 128), (97, 125)])
def test_a_reduced_image_is_its_block_means(tmp_path, suffix, reduction, size):
    path = str(tmp_path / f'ö.{suffix}')
    cv2.imencode(f'.{suffix}', smooth(*size), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tofile(path)
    found, expected = read_image_file(path, reduction), block_means(cv2.imread(path), reduction)
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert np.abs(found - expected).mean() < 1
    assert np.abs(found - expected).max() < (1 if suffix == 'png' else 12)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('reduction', [1, 2, 8])
@pytest.mark.parametrize('orientation', [3, 6, 8])
def test_exif_turns_reduced_images_too(tmp_path, suffix, reduction, orientation):
    path = tmp_path / f'turned.{suffix}'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth(64, 96)[..., ::-1]).save(path, exif=exif, quality=100)
    upright = np.rot90(smooth(64, 96), {3: 2, 6: -1, 8: 1}[orientation])
    assert np.abs(read_image_file(str(path), reduction) - block_means(upright, reduction)).mean() < 2


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'I;16', 'CMYK', 'P'])
def test_other_kinds_become_bgr(tmp_path, mode):
    path = str(tmp_path / ('x.jpg' if mode == 'CMYK' else 'x.png'))
    pixels = np.full((8, 8), 200, np.uint8)
    if mode == 'I;16':
        Image.fromarray(pixels.astype(np.uint16) << 8).save(path)
    else:
        Image.fromarray(np.dstack([pixels] * 3)).convert(mode, palette=Image.Palette.ADAPTIVE).save(path)
    image = read_image_file(path)
    assert image.shape == (8, 8, 3) and np.abs(image.astype(int) - 200).max() <= 2


FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def jpeg_files():
    """Yield files of every layout that cameras and programs write: (name, bytes), 97 x 125 px, with sharp colours."""
    image = np.random.default_rng(1).integers(0, 256, (97, 125, 3), np.uint8)
    picture = Image.fromarray(image)
    for subsampling in ('4:4:4', '4:2:2', '4:2:0'):
        yield f'colours {subsampling}', dict(image=picture, subsampling=subsampling)
    yield 'restarts', dict(image=picture, restart_marker_blocks=3)
    yield 'progressive', dict(image=picture, progressive=True)
    yield 'grey', dict(image=picture.convert('L'))
    yield 'CMYK', dict(image=picture.convert('CMYK'))
    yield 'RGB', dict(image=picture, keep_rgb=True)
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f'EXIF {orientation}', dict(image=picture, exif=exif)


@pytest.mark.parametrize(('name', 'options'), jpeg_files())
def test_a_jpeg_file_is_decoded_as_opencv_does_and_no_further_than_needed(tmp_path, name, options):
    path = str(tmp_path / 'x.jpg')
    options = dict(options)
    options.pop('image').save(path, quality=90, **options)
    for reduction in (1, 2, 4, 8):
        expected = cv2.imread(path, FLAGS[reduction])
        height = 125 if name == 'EXIF 6' else 97
        for rows in range(height + 1):
            found = read_image_file(path, reduction, rows / height)
            assert found.shape == expected.shape
            needed = -(-rows // reduction)
            assert (found[:needed] == expected[:needed]).all(), (reduction, rows)


def test_what_is_not_needed_of_a_jpeg_file_is_not_decoded(tmp_path, monkeypatch):
    simplejpeg = pytest.importorskip('simplejpeg')
    decode_jpeg, heights = simplejpeg.decode_jpeg, []

    def watched(data, *args, **kwargs):
        heights.append(simplejpeg.decode_jpeg_header(data, strict=False)[0])
        return decode_jpeg(data, *args, **kwargs)

    monkeypatch.setattr(simplejpeg, 'decode_jpeg', watched)
    path = str(tmp_path / 'x.jpg')
    cv2.imwrite(path, smooth(480, 640))
    monkeypatch.setattr(cv2, 'imdecode', None)
    for reduction in (2, 4, 8):
        assert read_image_file(path, reduction, 0.25).shape == (480 // reduction, 640 // reduction, 3)
    assert heights == [128, 128, 144]
    heights.clear()
    for share in (0.25, 0.95, 1.0):
        read_image_file(path, 1, share)
    assert heights == [128, 464, 480]  # 120 rows and the two that affect their colours take 7.6 blocks of 16


def test_without_the_extra_opencv_decodes(tmp_path, monkeypatch):
    path = str(tmp_path / 'x.jpg')
    cv2.imwrite(path, smooth(100, 200))
    found = read_image_file(path, 2)
    monkeypatch.setattr('mmcnn.image_file.simplejpeg', None)
    assert (read_image_file(path, 2) == found).all()


def test_a_damaged_jpeg_file_is_read_as_opencv_reads_it_or_named(tmp_path):
    """With random bytes in the header, the result is always an image or the error."""
    path = tmp_path / 'x.jpg'
    whole = cv2.imencode('.jpg', smooth(96, 128))[1].tobytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole[: int(rng.integers(2, len(whole)))] if rng.random() < 0.3 else whole)
        for at in rng.integers(2, min(len(data), 700), rng.integers(1, 4)) if len(data) > 2 else ():
            data[at] = rng.integers(256)
        path.write_bytes(data)
        expected = cv2.imread(str(path))
        try:
            found = read_image_file(str(path), 1, 0.3)
        except DataError as error:
            assert 'is not an image that OpenCV can read' in str(error) and expected is None
            outcomes.add('named')
        else:
            assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3
            assert expected is None or found.shape == expected.shape
            outcomes.add('read')
    assert outcomes == {'named', 'read'}


def test_files_that_cannot_be_read_are_named(tmp_path):
    for name, content, reason in (
        ('text.jpg', b'this is no image', 'is not an image that OpenCV can read'),
        ('empty.jpg', b'', 'is not an image that OpenCV can read'),
        ('gone.jpg', None, 'cannot be read: No such file or directory'),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f'{name} {reason}'):
            read_image_file(str(tmp_path / name))
