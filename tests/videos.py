"""Small videos for tests: frame i has a green bar of 4 (i + 1) columns on dark grey."""

import struct

import cv2
import numpy as np


def frame(index, size=(96, 64)):
    """Draw frame ``index`` of a video, (H, W, 3) uint8 BGR."""
    image = np.full((size[1], size[0], 3), 30, np.uint8)
    image[:, : 4 * (index + 1)] = 0, 200, 5 * index
    return image


def bar(image):
    """Count the columns of the green bar in a decoded frame."""
    return int((image[image.shape[0] // 2, :, 1] > 115).sum())


def make_video(path, count=12, fps=10.0, size=(96, 64), codec=None):
    """Write a video and return its path; the default codec is mp4v for .mp4 and MJPG for .avi."""
    codec = codec or {'.mp4': 'mp4v', '.avi': 'MJPG', '.mkv': 'mp4v', '.webm': 'VP80'}[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    api = cv2.CAP_OPENCV_MJPEG if size[0] % 2 or size[1] % 2 else cv2.CAP_FFMPEG
    writer = cv2.VideoWriter(str(path), api, cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for index in range(count):
        writer.write(frame(index, size))
    writer.release()
    return path


def turn(path, degrees):
    """Set the rotation in the matrix of an mp4's track, as an upright phone does."""
    one, close = 0x10000, 0x40000000
    rows = {90: (0, one, 0, -one, 0), 180: (-one, 0, 0, 0, -one), 270: (0, -one, 0, one, 0)}[degrees]
    plain, turned = (struct.pack('>9i', a, b, u, c, d, 0, 0, 0, close) for a, b, u, c, d in ((one, 0, 0, 0, one), rows))
    data = path.read_bytes()
    start = data.index(plain, data.index(b'tkhd'))
    path.write_bytes(data[:start] + turned + data[start + len(plain) :])
    return path


def damage(path, first, last):
    """Overwrite a file with zeros between two fractions of its length."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * first), int(len(data) * last)
    data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path


def cut(path, share):
    """Truncate a file to this fraction of its length."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
