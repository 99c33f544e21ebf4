import threading

import cv2
import numpy as np
import pytest

from mmcnn.errors import DataError
from mmcnn.inference.base_detector import AHEAD, BaseDetector


class Brightest(BaseDetector):
    """Finds one box in each image, which is as wide as the image's brightest value."""

    classes, score_thr = ('thing',), 0.5

    def __init__(self):
        self.fitted, self.at_work = [], lambda: None

    def _fit(self, image):
        self.fitted.append((int(image.max()), threading.current_thread() is threading.main_thread()))
        return int(image.max())

    def _detect_fitted(self, fitted, given):
        self.at_work()
        one, zero = np.ones(1), np.zeros(1, int)
        return [
            self._detections(np.array([[0, 0, width, 1]]), one, zero, path)
            for width, path in zip(fitted, given, strict=True)
        ]


@pytest.fixture
def album(tmp_path):
    """Nine images, of which the third is damaged."""
    for number in range(1, 10):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((8, 8, 3), number, np.uint8))
    (tmp_path / '3.png').write_bytes(b'damaged')
    return tmp_path


def own_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith('mmcnn-')]


@pytest.mark.parametrize('batch_size', [1, 3, 20])
def test_stream_gives_what_single_images_give_in_order(album, batch_size):
    detector, skipped = Brightest(), []
    frames = list(detector.stream(album, batch_size, on_skip=skipped.append))
    assert [frame.path.name for frame in frames] == [f'{number}.png' for number in range(1, 10) if number != 3]
    assert [frame.found.boxes.tolist() for frame in frames] == [detector(frame.path).boxes.tolist() for frame in frames]
    assert [str(album / '3.png') in str(error) for error in skipped] == [True]
    assert own_threads() == []


def test_stream_reads_and_fits_the_next_images_while_the_network_is_at_work(album):
    detector, seen = Brightest(), threading.Event()
    fit = detector._fit
    detector._fit = lambda image: (image.max() == 2 and seen.set()) or fit(image)
    detector.at_work = lambda: seen.wait(10) or pytest.fail('the second image is not read before the first is done')
    stream = detector.stream(album, on_skip=lambda error: None)
    next(stream)
    assert not any(on_main_thread for _, on_main_thread in detector.fitted)
    stream.close()
    assert len(detector.fitted) <= 1 + 1 + AHEAD
    assert own_threads() == []


def test_files_that_cannot_be_read_are_told_in_their_turn_and_by_who_reads_the_stream(album):
    told = []

    def on_skip(error):
        told.append(threading.current_thread() is threading.main_thread())

    stream = Brightest().stream(album, on_skip=on_skip)
    assert [next(stream).path.name for _ in range(2)] == ['1.png', '2.png']
    assert told == []
    assert next(stream).path.name == '4.png'
    assert told == [True]
    stream.close()


def test_an_error_of_a_stream_is_raised_and_ends_its_thread(album):
    for path in album.iterdir():
        path.write_bytes(b'damaged')
    skipped = []
    with pytest.raises(DataError, match='none of the 9 files could be read'):
        list(Brightest().stream(album, on_skip=skipped.append))
    assert len(skipped) == 9
    assert own_threads() == []


def test_an_error_of_the_network_is_raised_and_ends_its_thread(album):
    detector = Brightest()
    detector.at_work = lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        next(detector.stream(album))
    assert own_threads() == []
