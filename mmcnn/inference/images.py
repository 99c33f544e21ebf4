"""Images in any accepted form, converted to (H, W, 3) uint8 in BGR order, and written to files."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mmcnn.errors import DataError, UsageError
from mmcnn.image_file import decode_image, read_image_file

if TYPE_CHECKING:
    import PIL.Image

_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+:/', re.IGNORECASE)  # two or more letters: C:/ is a drive
_CHANNELS = (1, 3, 4)
#: Maximum number of characters of a path in a message.
SHOWN = 200


class ImageNotFoundError(DataError, FileNotFoundError):
    """There is no image file at a path."""


def as_image(image: object, what: str = 'the image') -> np.ndarray:
    """Return an image as (H, W, 3) uint8 in BGR order, as OpenCV reads it.

    - A path (str or Path): see :func:`read_image`. bytes, bytearray, memoryview: the content of such a file.
    - A NumPy array: (H, W, 3) in BGR order, (H, W, 4) in BGRA order, (H, W) or (H, W, 1) in grey; also (3, H, W),
      (4, H, W) and (1, H, W) in the same orders, unless the last axis could be that of the channels.
    - A PyTorch tensor: (3, H, W) in RGB order, (4, H, W) in RGBA order, (1, H, W) or (H, W) in grey.
    - A PIL image of any mode, turned upright by its EXIF orientation; of several frames the current one.

    Alpha is dropped and the colours behind it are kept, as OpenCV does with files. Values are taken as follows:

    - uint8: unchanged. bool: False is black, True is white.
    - uint16: 0 to 65535; the upper eight bits are kept, as OpenCV does with files. If no value is above 255, the image
    is rejected, unless it is all black: it would be nearly black.
    - floats from 0 to 1, both included: times 255, rounded.
    - other floats and integers: unchanged if all are whole numbers from 0 to 255.

    Args:
        image: the image. An array that already has the right form is not copied.
        what: name in messages for an image that is not a file.

    Raises:
        UsageError: something else, an array of another shape or type, values in no known range, NaN, masked pixels, or
            an address on the network.
        DataError: a file or bytes that cannot be decoded; also a FileNotFoundError where there is no such file.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_image(bytes(image), what)
    if isinstance(image, np.ndarray):
        return _from_array(image, what)
    # Whoever has a PIL image or a tensor has already imported its package.
    pil, torch = sys.modules.get('PIL.Image'), sys.modules.get('torch')
    if pil is not None and isinstance(image, pil.Image):
        return _from_pil(image, what)
    if torch is not None and isinstance(image, torch.Tensor):
        return _from_tensor(image, what)
    hint = '; pass the result of its read()' if hasattr(image, 'read') else ''
    raise UsageError(
        f'{what} is of type {type(image).__name__}; it must be a path, a NumPy array, a PIL image, a PyTorch tensor '
        f'or the bytes of an image file{hint}'
    )


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 in BGR order, turned upright by its EXIF orientation.

    See :func:`~mmcnn.image_file.decode_image` for the conversion of other kinds of images.

    Raises:
        DataError: there is no such file (then it is also a FileNotFoundError), or OpenCV cannot decode it.
        UsageError: it is an address on the network.
    """
    shown = os.fspath(path)[:SHOWN]
    if not os.path.isfile(path):
        if os.path.isdir(path):
            raise ImageNotFoundError(f'there is no image {shown}: it is a folder; use Detector.stream for folders')
        refuse_address(path)
        raise ImageNotFoundError(f'there is no image {shown}')
    return read_image_file(path)


def frames_in(path: str | os.PathLike) -> int:
    """Return the number of frames or pages of an image file; :func:`read_image` reads the first. 1 if unknown."""
    import PIL.Image

    try:
        with warnings.catch_warnings(action='ignore'), PIL.Image.open(path) as image:
            return getattr(image, 'n_frames', 1)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):  # Pillow reads fewer formats
        return 1


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image in the format of its file's suffix.

    Args:
        path: the file; its folder must exist.
        image: (H, W, 3) uint8 BGR.

    Raises:
        UsageError: OpenCV does not write this format.
        DataError: the file cannot be written, or the format cannot hold an image of this size.
    """
    suffix = Path(path).suffix.lower()
    if not suffix or not cv2.haveImageWriter(f'x{suffix}'):
        raise UsageError(f'{path}: OpenCV cannot write images with the suffix {suffix!r}; use .png or .jpg')
    done, data = cv2.imencode(suffix, image)
    if not done:
        height, width = image.shape[:2]
        raise DataError(f'{path} cannot be written: {suffix} does not support images of {width} x {height} pixels')
    try:
        data.tofile(path)
    except OSError as error:
        raise DataError(f'{path} cannot be written: {error.strerror or error}') from error


def refuse_address(source: str | os.PathLike) -> None:
    """Reject an address on the network instead of a path.

    Raises:
        UsageError: it is an address.
    """
    if _ADDRESS.match(os.fspath(source)):
        raise UsageError(f'{os.fspath(source)[:SHOWN]} is an address, which is not supported: download the file first')


def _from_array(array: np.ndarray, what: str) -> np.ndarray:
    if np.ma.is_masked(array):
        raise UsageError(f'{what} is a masked array {_form(array)} with {np.ma.count_masked(array)} masked values; '
                         f'use .filled(0) to give them a value')  # fmt: skip
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = array.transpose(1, 2, 0)
    return _bgr(_eight_bits(array, what, '(H, W, 3) in BGR order, (H, W, 4) in BGRA order or (H, W) in grey'))


def _from_tensor(tensor: object, what: str) -> np.ndarray:
    form = '(3, H, W) in RGB order, (4, H, W) in RGBA order, (1, H, W) or (H, W) in grey'
    if tensor.ndim == 3 and tensor.shape[0] not in _CHANNELS:
        hint = '; use permute(2, 0, 1) to move the channels first' if tensor.shape[2] in _CHANNELS else ''
        raise UsageError(f'{what} is a tensor {_form(tensor)}; it must be {form}{hint}')
    tensor = tensor.detach().cpu()
    array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # NumPy has no bfloat16
    if array.ndim == 3:
        array = array.transpose(1, 2, 0)
    return _bgr(_eight_bits(array, what, form), rgb=True)


def _from_pil(image: PIL.Image.Image, what: str) -> np.ndarray:
    import PIL.ImageOps

    try:
        image = PIL.ImageOps.exif_transpose(image)
        if image.mode not in ('I', 'F') and not image.mode.startswith('I;'):
            # Pillow converts La, whose grey is multiplied by alpha, only to LA.
            image = (image.convert('LA') if image.mode == 'La' else image).convert('RGB')
        array = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:  # a file is decoded only here
        raise DataError(f'{what} is a PIL image of mode {image.mode} that cannot be decoded: {error}') from error
    return _bgr(_eight_bits(array, what, 'an image of at least one pixel'), rgb=True)


def _eight_bits(array: np.ndarray, what: str, form: str) -> np.ndarray:
    """Return the values of an image (H, W) or (H, W, C) as uint8; see :func:`as_image`."""
    if array.ndim == 4:
        raise UsageError(f'{what} is a batch {_form(array)} of {len(array)} images; pass a list of them: '
                         'list(images)')  # fmt: skip
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise UsageError(f'{what} is {_form(array)}; it must be {form}')
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array * np.uint8(255)
    if array.dtype.kind not in 'iuf':
        raise UsageError(f'{what} is {_form(array)}; it must be uint8, or floats from 0 to 1')
    low, high = array.min(), array.max()
    if array.dtype.kind == 'u' and array.dtype.itemsize == 2:
        if 0 < high <= 255:
            raise UsageError(f'{what} is {_form(array)} with values up to {high}, but white is 65535 in uint16; if 255 '
                             'is white, use .astype(numpy.uint8)')  # fmt: skip
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind == 'f':
        if not np.isfinite(low) or not np.isfinite(high):
            raise UsageError(f'{what} is {_form(array)} with values that are NaN or infinite; it must have floats '
                             'from 0 to 1, or whole numbers from 0 to 255')  # fmt: skip
        if low >= 0 and high <= 1:
            return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    if low < 0 or high > 255 or (array.dtype.kind == 'f' and (array != np.rint(array)).any()):
        kind = 'fractions' if array.dtype.kind == 'f' and low >= 0 and high <= 255 else 'values'
        raise UsageError(f'{what} is {_form(array)} with {kind} from {low:g} to {high:g}; it must have floats from 0 '
                         'to 1, or whole numbers from 0 to 255')  # fmt: skip
    return array.astype(np.uint8)


def _bgr(array: np.ndarray, rgb: bool = False) -> np.ndarray:
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array[..., 2::-1] if rgb else array[..., :3])


def _form(array: object) -> str:
    return f'{tuple(array.shape)} of {array.dtype}'
