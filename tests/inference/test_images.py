import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmcnn.errors import DataError, UsageError
from mmcnn.inference.images import as_image, read_image, write_image

RNG = np.random.default_rng(0)
#: An image of 5 x 7 pixels in BGR order, and the same in RGB.
BGR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
RGB = BGR[..., ::-1]
GREY = BGR[..., 0]
#: The grey image as the network gets it.
GREY3 = np.stack([GREY] * 3, axis=2)


def encoded(image, suffix='.png'):
    return cv2.imencode(suffix, image)[1].tobytes()


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def pil_16_bits():
    return Image.fromarray(GREY.astype(np.uint16) * 256 + 77)


ALPHA = RNG.integers(0, 256, (5, 7, 1), dtype=np.uint8)
CASES = {
    'uint8': (BGR, BGR),
    'grey': (GREY, GREY3),
    'grey, 1 channel': (GREY[..., None], GREY3),
    'BGRA': (np.concatenate([BGR, ALPHA], axis=2), BGR),
    'channels first': (BGR.transpose(2, 0, 1), BGR),
    'grey, channel first': (GREY[None], GREY3),
    'BGRA, channels first': (np.concatenate([BGR, ALPHA], axis=2).transpose(2, 0, 1), BGR),
    'float64 to 1': (BGR / 255.0, BGR),
    'float32 to 1': ((BGR / 255.0).astype(np.float32), BGR),
    'float16 to 1': ((BGR / 255.0).astype(np.float16), BGR),
    'float32 to 255': (BGR.astype(np.float32), BGR),
    'int64': (BGR.astype(np.int64), BGR),
    'uint16': (BGR.astype(np.uint16) * 256 + 200, BGR),
    'uint16, big endian': ((BGR.astype(np.uint16) * 256 + 200).astype('>u2'), BGR),
    'uint16, black': (np.zeros((5, 7), np.uint16), np.zeros((5, 7, 3), np.uint8)),
    'bool': (GREY > 128, np.where(GREY3 > 128, 255, 0)),
    'not contiguous': (np.repeat(BGR, 2, axis=1)[:, ::2], BGR),
    'negative strides': (np.ascontiguousarray(BGR[::-1, ::-1])[::-1, ::-1], BGR),
    'read only': (read_only(BGR), BGR),
    'nothing masked': (np.ma.masked_array(BGR, np.zeros(BGR.shape, bool)), BGR),
    'one pixel': (BGR[:1, :1], BGR[:1, :1]),
    'rows of 3 pixels': (BGR[:, :3], BGR[:, :3]),  # (5, 3, 3)
    '3 rows of 4 pixels': (BGR[:3, :4], BGR[:3, :4]),
    'tensor': (torch.from_numpy(RGB.transpose(2, 0, 1).copy()), BGR),
    'tensor, float': (torch.from_numpy(RGB.transpose(2, 0, 1) / 255), BGR),
    'tensor, bfloat16': (torch.zeros(3, 5, 7, dtype=torch.bfloat16), np.zeros((5, 7, 3))),
    'tensor, grey': (torch.from_numpy(GREY[None].copy()), GREY3),
    'tensor, (H, W)': (torch.from_numpy(GREY.copy()), GREY3),
    'tensor, RGBA': (torch.from_numpy(np.concatenate([RGB, ALPHA], axis=2).transpose(2, 0, 1).copy()), BGR),
    'tensor with gradient': (torch.from_numpy(RGB.transpose(2, 0, 1) / 255).requires_grad_(), BGR),
    'tensor, channels last in memory': (torch.from_numpy(RGB.copy()).permute(2, 0, 1), BGR),
    'PIL RGB': (Image.fromarray(RGB.copy()), BGR),
    'PIL L': (Image.fromarray(GREY.copy()), GREY3),
    'PIL RGBA': (Image.fromarray(np.concatenate([RGB, ALPHA], axis=2)), BGR),
    'PIL LA': (Image.merge('LA', [Image.fromarray(GREY.copy()), Image.fromarray(ALPHA[..., 0])]), GREY3),
    'PIL 1': (Image.fromarray(GREY > 128), np.where(GREY3 > 128, 255, 0)),
    'PIL I;16': (pil_16_bits(), GREY3),
    'PIL F': (Image.fromarray((GREY / 255).astype(np.float32)), GREY3),
    'bytes': (encoded(BGR), BGR),
    'bytearray': (bytearray(encoded(BGR)), BGR),
    'memoryview': (memoryview(encoded(BGR)), BGR),
    'bytes, BGRA': (encoded(np.concatenate([BGR, ALPHA], axis=2)), BGR),
    'bytes, uint16': (encoded(BGR.astype(np.uint16) * 256 + 200), BGR),
}


@pytest.mark.parametrize('name', CASES)
def test_forms_of_an_image(name):
    given, expected = CASES[name]
    image = as_image(given)
    assert (image.dtype, image.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(image, expected)


def test_an_image_of_the_right_form_is_not_copied():
    assert np.shares_memory(as_image(BGR), BGR)


def test_palette():
    pil = Image.new('P', (2, 1))
    pil.putpalette([10, 20, 30, 40, 50, 60])
    pil.putpixel((1, 0), 1)
    assert as_image(pil).tolist() == [[[30, 20, 10], [60, 50, 40]]]


REFUSED = {
    'batch': (np.zeros((2, 5, 7, 3), np.uint8), r'is a batch \(2, 5, 7, 3\) of uint8 of 2 images; .*list\(images\)'),
    'tensor batch': (torch.zeros(2, 3, 5, 7), r'is a batch \(2, 3, 5, 7\) of float32'),
    'tensor, channels last': (torch.zeros(5, 7, 3), r'tensor \(5, 7, 3\) of torch\.float32; .*RGB.*permute\(2, 0, 1\)'),
    'two channels': (
        np.zeros((5, 7, 2), np.uint8),
        r'is \(5, 7, 2\) of uint8; it must be \(H, W, 3\) in BGR order',
    ),
    'two channels first': (torch.zeros(2, 5, 7), r'tensor \(2, 5, 7\) of torch\.float32; it must be \(3, H, W\)'),
    'vector': (np.zeros(5, np.uint8), r'is \(5,\) of uint8; it must be'),
    'scalar': (np.array(5), r'is \(\) of int64; it must be'),
    'empty': (np.zeros((0, 7, 3), np.uint8), r'is \(0, 7, 3\) of uint8; it must be'),
    'NaN': (
        np.full((5, 7), np.nan),
        r'\(5, 7\) of float64 with values that are NaN or infinite; it must have floats',
    ),
    'infinite': (np.full((5, 7), np.inf, np.float16), 'NaN or infinite'),
    'fractions': (BGR + 0.5, r'of float64 with fractions from .*\.5; it must have floats from 0 to 1, or whole'),
    'normalised': (torch.linspace(-2, 2, 105).reshape(3, 5, 7), r'float32 with values from -2 to 2; it must have'),
    'negative': (np.array([[-1]]), r'int64 with values from -1 to -1; it must have'),
    'large': (np.array([[256]]), r'int64 with values from 256 to 256'),
    'dark uint16': (BGR.astype(np.uint16), r'uint16 with values up to 2\d\d, but white is 65535 in uint16'),
    'complex': (np.zeros((5, 7), complex), r'is \(5, 7\) of complex128; it must be uint8'),
    'object': (np.full((5, 7), None), r'of object; it must be uint8'),
    'text': (np.full((5, 7), 'a'), r'of <U1; it must be uint8'),
    'masked': (np.ma.masked_equal(np.array([[1, 2]], np.uint8), 2), r'masked array \(1, 2\) of uint8 with 1 masked'),
    'PIL of no pixels': (Image.new('RGB', (0, 5)), r'is \(5, 0, 3\) of uint8; it must be an image of at least one'),
    'None': (
        None,
        r'is of type NoneType; it must be a path, a NumPy array, a PIL image, a PyTorch tensor or the bytes',
    ),
    'number': (3, 'is of type int'),
    'open file': (io.BytesIO(b''), r'is of type BytesIO; .*pass the result of its read\(\)'),
    'address': ('https://example.com/a.jpg', r'^https://example\.com/a\.jpg is an address.*download the file first$'),
    'camera address': ('rtsp://10.0.0.1/stream', 'is an address'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused_by_a_sentence(name):
    given, message = REFUSED[name]
    with pytest.raises(UsageError, match=message):
        as_image(given)


def test_the_name_of_what_is_refused():
    with pytest.raises(UsageError, match=r'^images\[3\] is of type NoneType'):
        as_image(None, 'images[3]')
    with pytest.raises(DataError, match=r'^images\[3\] is not an image that OpenCV can read: it is empty$'):
        as_image(b'', 'images[3]')
    with pytest.raises(DataError, match=r'^images\[3\] is not an image that OpenCV can read$'):
        as_image(b'no image', 'images[3]')


def test_a_pil_image_whose_file_is_damaged():
    whole = encoded(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r'the image is a PIL image of mode RGB that cannot be decoded: '):
        as_image(Image.open(io.BytesIO(whole[: len(whole) // 2])))


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_turns_files_and_pil_images_alike(orientation, tmp_path):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = 250, 120, 10
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / 'x.png', exif=exif)
    image = read_image(tmp_path / 'x.png')
    assert image.shape[:2] == ((16, 32) if orientation < 5 else (32, 16))
    with Image.open(tmp_path / 'x.png') as pil:
        np.testing.assert_array_equal(as_image(pil), image)
    np.testing.assert_array_equal(as_image((tmp_path / 'x.png').read_bytes()), image)


def test_first_frame_of_several(tmp_path):
    frames = [Image.new('RGB', (6, 4), colour) for colour in ((0, 0, 200), (0, 200, 0))]
    for name in ('x.gif', 'x.tif'):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        image = read_image(tmp_path / name)
        assert image.shape == (4, 6, 3)
        assert image[0, 0].tolist() == pytest.approx([200, 0, 0], abs=4)


def test_cmyk(tmp_path):
    Image.new('CMYK', (6, 4), (0, 255, 255, 0)).save(tmp_path / 'x.jpg')  # red
    assert read_image(tmp_path / 'x.jpg')[0, 0].tolist() == pytest.approx([0, 0, 255], abs=6)


@pytest.mark.parametrize('size', [(1, 1), (2, 10000), (9000, 2)], ids=str)
def test_odd_sizes(size, tmp_path):
    image = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    write_image(tmp_path / 'x.png', image)
    np.testing.assert_array_equal(read_image(tmp_path / 'x.png'), image)


def test_more_pixels_than_opencv_decodes(tmp_path):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    (tmp_path / 'x.png').write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0' * 999)) + chunk(b'IEND', b'')
    )
    with pytest.raises(DataError, match=r'x\.png is not an image that OpenCV can read: .*PIXELS'):
        read_image(tmp_path / 'x.png')


@pytest.mark.parametrize('name', ['gone.jpg', 'a' * 5000, 'data:image/png;base64,' + 'A' * 9000, 'nul\0'])
def test_missing_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r'^there is no image ') as refused:
        read_image(name)
    assert isinstance(refused.value, FileNotFoundError)
    assert len(str(refused.value)) < 300


def test_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'it is a folder; use Detector\.stream for folders'):
        read_image(tmp_path)


def test_write_image(tmp_path):
    with pytest.raises(DataError, match=r'x\.jpg cannot be written: \.jpg does not support images of 1 x 70000 pixels'):
        write_image(tmp_path / 'x.jpg', np.zeros((70000, 1, 3), np.uint8))
    with pytest.raises(UsageError, match=r"images with the suffix ''; use \.png or \.jpg"):
        write_image(tmp_path / 'x', BGR)
    assert not list(tmp_path.iterdir())
    write_image(tmp_path / 'X é.PNG', BGR)
    np.testing.assert_array_equal(read_image(tmp_path / 'X é.PNG'), BGR)
