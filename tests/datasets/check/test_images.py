"""Broken images of every kind, decoded in a worker process, and sound images of unusual kinds."""

import io
import struct
import zlib
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image, ImageOps

from mmcnn.datasets.check.images import check_image, check_images, start_worker

#: Smooth, so that JPEG compression changes no pixel much.
PIXELS = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8), (9, 9), 3)
PICTURE = Image.fromarray(PIXELS)


@pytest.fixture(scope='module')
def check():
    """``check_images`` in a worker process, for one path."""
    with ProcessPoolExecutor(1, initializer=start_worker) as pool:
        yield lambda path: pool.submit(check_images, [str(path)]).result()[0]


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noisy(kind, **options):
    """Return an image of 128 x 128 noisy pixels, which hardly compress."""
    pixels = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind, **options)


def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png(width, height):
    """Return a PNG file whose header has this size, but which contains few pixels."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0' * 99)) + chunk(b'IEND', b'')
    )


JPEG = noisy('JPEG')
HALF = len(JPEG) // 2


@pytest.mark.parametrize(
    ('content', 'kind', 'detail'),
    [
        (JPEG[:HALF], 'truncated image', 'image file is truncated'),
        (JPEG[:-2], 'truncated image', 'image file is truncated'),
        # Only libjpeg's warnings reveal these: an end marker in the middle, a gap, corrupt data.
        (JPEG[:HALF] + b'\xff\xd9', 'truncated image', 'premature end of data segment'),
        (JPEG[:HALF] + JPEG[HALF + 3000 :], 'truncated image', 'is damaged: libjpeg says "Corrupt JPEG data: '),
        (JPEG[:HALF] + bytes(3000) + JPEG[HALF + 3000 :], 'truncated image', 'Corrupt JPEG data: '),
        (noisy('JPEG', progressive=True)[:HALF], 'truncated image', 'truncated'),
        (noisy('PNG')[:9000], 'truncated image', 'truncated'),
        (noisy('BMP')[:9000], 'truncated image', 'truncated'),
        (noisy('TIFF')[:9000], 'truncated image', 'truncated'),
        (noisy('GIF')[:9000], 'truncated image', 'truncated'),
        (noisy('WEBP')[:9000], 'unreadable image', 'cannot be decoded'),
        (noisy('PNG')[:9000] + b'\0' + noisy('PNG')[9001:], 'unreadable image', 'broken data stream'),
        (b'', 'unreadable image', 'is empty'),
        (b'<html>not found</html>', 'unreadable image', 'is not an image that'),
        (png(50000, 50000), 'decompression bomb', 'more than 178,956,970 pixels'),
    ],
)
def test_broken_files(check, tmp_path, content, kind, detail):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    fact = check(path)
    assert fact.problem == kind
    assert detail in fact.detail
    assert (fact.width, fact.height, fact.digest) == (0, 0, '')


def test_no_file(check, tmp_path):
    for path, detail in ((tmp_path / 'gone.jpg', 'does not exist'), (tmp_path, 'is a folder')):
        assert check(path)[:2] == ('missing image', detail)
    assert check(tmp_path / 'nul\0.jpg').problem == 'unreadable image'


def test_a_bomb_is_not_decoded(check, tmp_path):
    (tmp_path / 'largest.png').write_bytes(png(13377, 13377))  # 178,944,129 pixels are allowed; the file has too few
    (tmp_path / 'larger.png').write_bytes(png(13378, 13378))
    assert check(tmp_path / 'largest.png').problem == 'truncated image'
    assert check(tmp_path / 'larger.png').problem == 'decompression bomb'


def test_sound_files(check, tmp_path):
    (tmp_path / 'ä b.jpg').write_bytes(JPEG)
    assert check(tmp_path / 'ä b.jpg')[:5] == (None, '', 128, 128, (128, 128))
    (tmp_path / 'junk.jpg').write_bytes(JPEG + b'junk' * 100)  # after the end marker, which is harmless
    assert check(tmp_path / 'junk.jpg').problem is None
    (tmp_path / 'stuffed.jpg').write_bytes(JPEG[:-2] + bytes(4) + JPEG[-2:])  # before it
    assert check(tmp_path / 'stuffed.jpg').problem is None
    (tmp_path / 'stuffed.jpg').write_bytes(JPEG[:-2] + bytes(40) + JPEG[-2:])
    assert check(tmp_path / 'stuffed.jpg').problem == 'truncated image'


def test_a_process_that_is_no_worker_sees_what_decoders_raise(tmp_path):
    (tmp_path / 'a.png').write_bytes(noisy('PNG')[:9000])
    assert check_image(str(tmp_path / 'a.png')).problem == 'truncated image'


def test_digests_are_of_the_pixels(check, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(JPEG)
    decoded = Image.open(tmp_path / 'a.jpg')
    decoded.save(tmp_path / 'copy.png')
    decoded.transpose(Image.Transpose.ROTATE_180).save(tmp_path / 'turned.png')
    Image.fromarray(np.asarray(decoded).reshape(64, 256, 3)).save(tmp_path / 'other_shape.png')
    digests = [check(tmp_path / name).digest for name in ('a.jpg', 'copy.png', 'turned.png', 'other_shape.png')]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


GREY = np.asarray(PICTURE.convert('L'))
ALPHA = np.random.default_rng(2).integers(0, 256, (30, 40, 1), dtype=np.uint8)
UNUSUAL = {
    'grey.jpg': encoded(PICTURE.convert('L'), 'JPEG', quality=95),
    'grey.png': encoded(PICTURE.convert('L'), 'PNG'),
    'rgba.png': encoded(Image.fromarray(np.dstack([PIXELS, ALPHA])), 'PNG'),
    'palette.png': encoded(PICTURE.convert('P'), 'PNG'),
    'bits.png': encoded(PICTURE.convert('1'), 'PNG'),
    'grey16.png': encoded(Image.fromarray(GREY.astype(np.uint16) * 256 + 17), 'PNG'),
    'grey16.tif': encoded(Image.fromarray(GREY.astype(np.uint16) * 256 + 17), 'TIFF'),
    'cmyk.jpg': encoded(PICTURE.convert('CMYK'), 'JPEG', quality=95),
    'picture.webp': encoded(PICTURE, 'WEBP', lossless=True),
    **{f'exif{i}.jpg': encoded(PICTURE, 'JPEG', quality=95, exif=orientation(i)) for i in range(1, 9)},
}


@pytest.mark.parametrize('name', UNUSUAL)
def test_unusual_pictures_are_read_as_pillow_reads_them(check, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(UNUSUAL[name])
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.mode == 'RGBA':
        expected = np.asarray(picture)[..., :3]  # the alpha channel is dropped
    elif picture.mode.startswith('I;16'):
        expected = np.dstack([np.asarray(picture) // 256] * 3)  # the high byte
    else:
        expected = np.asarray(picture.convert('RGB'))
    read = LoadImageFromFile()(dict(img_path=str(path)))['img'][..., ::-1]
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read.astype(int), expected.astype(int), atol=2)
    fact = check(path)
    assert (fact.problem, fact.height, fact.width) == (None, *expected.shape[:2])
    assert fact.stored == (40, 30)


def test_sixteen_bits_of_colour(check, tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), PIXELS.astype(np.uint16)[..., ::-1] * 256 + 200)
    read = LoadImageFromFile()(dict(img_path=str(path)))['img'][..., ::-1]
    np.testing.assert_array_equal(read, PIXELS)
    assert check(path).problem is None


def test_a_format_that_only_opencv_knows(check, tmp_path):
    path = tmp_path / 'a.hdr'
    cv2.imwrite(str(path), PIXELS.astype(np.float32))
    assert check(path)[:5] == (None, '', 40, 30, (0, 0))
