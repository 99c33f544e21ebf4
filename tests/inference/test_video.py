import cv2
import numpy as np
import pytest

from mmcnn.errors import DataError, UsageError
from mmcnn.inference import video
from mmcnn.inference.video import VideoWriter, read_camera, read_video


def read_with_error(path):
    """The frames of a video and the error after the last one."""
    frames = []
    with pytest.raises(DataError) as refused:
        for frame in read_video(path):
            frames.append(frame)
    return frames, str(refused.value)


@pytest.mark.parametrize('name', ['a.mp4', 'a.avi', 'a.mkv', 'a.webm', 'b:c %03d é #1.mp4'])
def test_frames_of_a_video(videos, tmp_path, name):
    frames = list(read_video(videos.make_video(tmp_path / name)))
    assert len(frames) == 12
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx([i / 10 for i in range(12)], abs=1e-3)
    assert {frame.fps for frame in frames} == {10}
    for i, frame in enumerate(frames):
        assert videos.bar(frame.image) == pytest.approx(4 * (i + 1), abs=1)


def test_relative_paths(videos, tmp_path, monkeypatch):
    made = videos.make_video(tmp_path / 'b:c.mp4')
    monkeypatch.chdir(tmp_path)
    assert len(list(read_video(made.relative_to(tmp_path)))) == 12


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_rotated_videos_are_turned_upright(videos, tmp_path, degrees):
    plain = list(read_video(videos.make_video(tmp_path / 'a.mp4')))
    turned = list(read_video(videos.turn(tmp_path / 'a.mp4', degrees)))
    assert len(turned) == 12
    for one, other in zip(plain, turned, strict=True):
        np.testing.assert_array_equal(np.rot90(one.image, -degrees // 90), other.image)


def test_no_more_frames_than_asked_for(videos, tmp_path):
    made = videos.make_video(tmp_path / 'a.mp4')
    assert [frame.index for frame in read_video(made, max_frames=5)] == [0, 1, 2, 3, 4]
    assert len(list(read_video(made, max_frames=12))) == len(list(read_video(made, max_frames=99))) == 12


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.mp4', b'', 'is not a video that OpenCV can read: it is empty$'),
        ('a.mp4', b'no video' * 100, 'is not a video that OpenCV can read: it is damaged, truncated, not a video, or'),
        ('a.avi', b'RIFF', 'is not a video that OpenCV can read'),
        ('a.txt', b'text', r'a\.txt is neither an image nor a video that OpenCV can read$'),
    ],
)
def test_files_that_are_no_video(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        next(read_video(tmp_path / name))


def test_missing_video(tmp_path):
    with pytest.raises(DataError, match=r'there is no video .*gone\.mp4'):
        next(read_video(tmp_path / 'gone.mp4'))
    with pytest.raises(DataError, match='there is no video'):
        next(read_video(tmp_path))


def test_video_without_frames(videos, tmp_path):
    frames, error = read_with_error(videos.make_video(tmp_path / 'a.mp4', count=0))
    assert not frames and 'is not a video that OpenCV can read' in error


def test_video_whose_index_is_cut_off(videos, tmp_path):
    frames, error = read_with_error(videos.cut(videos.make_video(tmp_path / 'a.mp4'), 0.5))
    assert not frames and 'is not a video that OpenCV can read' in error


@pytest.mark.parametrize('name', ['a.avi', 'a.mkv', 'a.webm'])
def test_video_that_is_cut_off_is_said(videos, tmp_path, name):
    made = videos.make_video(tmp_path / name, count=40)
    whole = list(read_video(made))
    frames, error = read_with_error(videos.cut(made, 0.7))
    assert 5 < len(frames) < 40
    assert f'only {len(frames)} of the 40 declared frames can be decoded' in error
    for one, other in zip(whole, frames[:-1], strict=False):  # part of the last frame may be missing
        np.testing.assert_array_equal(one.image, other.image)


def test_frames_behind_a_damaged_one_are_read(videos, tmp_path):
    made = videos.make_video(tmp_path / 'a.avi', count=40)
    frames, error = read_with_error(videos.damage(made, 0.5, 0.52))
    # The damage is 368 bytes long, less than a frame.
    assert 37 <= len(frames) < 40
    assert f'only {len(frames)} of the 40 declared frames' in error
    assert frames[-1].time > 3.5
    assert videos.bar(frames[-1].image) == videos.bar(videos.frame(39))
    assert [frame.index for frame in frames] == list(range(len(frames)))


class Capture:
    """A camera or video that gives some frames, each of a different grey, and then nothing."""

    opened = []

    def __init__(self, source, api, frames=3, fps=0.0, fourcc=0):
        self.source, self.left, self.fps, self.fourcc, self.released = source, frames, fps, fourcc, False
        self.opened.append(self)

    def isOpened(self):  # noqa: N802  OpenCV's name
        return self.left is not None

    def get(self, prop):
        return {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FOURCC: self.fourcc}.get(prop, 0.0)

    def set(self, prop, value):
        return True

    def read(self):
        if not self.left:
            return False, None
        self.left -= 1
        return True, np.full((48, 64, 3), self.left, np.uint8)

    def release(self):
        self.released = True


@pytest.fixture
def capture(monkeypatch):
    """``capture(frames=3, fps=0.0)`` makes OpenCV open such a Capture from then on."""
    monkeypatch.setattr(Capture, 'opened', [])

    def set_up(**kwargs):
        monkeypatch.setattr(cv2, 'VideoCapture', lambda source, api: Capture(source, api, **kwargs))
        return Capture.opened

    return set_up


def test_video_of_unknown_rate(capture, tmp_path):
    opened = capture(frames=3, fps=0.0)
    (tmp_path / 'a.mp4').write_bytes(b'x')
    frames = list(read_video(tmp_path / 'a.mp4'))
    assert [(frame.index, frame.time, frame.fps) for frame in frames] == [
        (0, None, None),
        (1, None, None),
        (2, None, None),
    ]
    assert opened[0].released


@pytest.mark.parametrize('fps', [float('nan'), -1.0, 90000.0])
def test_rates_that_cannot_be(capture, tmp_path, fps):
    capture(frames=1, fps=fps)
    assert next(read_camera(0)).fps is None


def test_codec_that_opencv_lacks(capture, tmp_path):
    capture(frames=0, fps=25.0, fourcc=cv2.VideoWriter_fourcc(*'av01'))
    (tmp_path / 'a.mp4').write_bytes(b'x')
    with pytest.raises(
        DataError, match=r"a\.mp4: no frame can be decoded; this build of OpenCV lacks the codec 'av01'"
    ):
        next(read_video(tmp_path / 'a.mp4'))


def test_camera(capture):
    opened = capture(frames=3, fps=30.0)
    frames = read_camera(2)
    first, second = next(frames), next(frames)
    assert (opened[0].source, first.index, second.index, first.fps) == (2, 0, 1, 30)
    assert first.time == 0 < second.time < 60
    assert not opened[0].released
    frames.close()
    assert opened[0].released


def test_camera_that_stops(capture):
    opened = capture(frames=3)
    assert len(list(read_camera(0, max_frames=3))) == 3
    with pytest.raises(DataError, match='camera 0 stopped returning images after 3 frames'):
        list(read_camera(0))
    assert all(each.released for each in opened)


def test_cameras_that_cannot_be_used(capture):
    capture(frames=None)
    with pytest.raises(
        UsageError, match='camera 7 cannot be opened: it is not connected, in use by another program, or'
    ):
        next(read_camera(7))
    capture(frames=0)
    with pytest.raises(UsageError, match='camera 7 can be opened but returns no image'):
        next(read_camera(7))


def test_a_camera_that_is_not_there_is_one_sentence(capfd):
    with pytest.raises(UsageError, match='camera 97 cannot be opened'):
        next(read_camera(97))
    assert capfd.readouterr() == ('', '')


# -------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize('fps', [10.0, 29.97, 23.976, 0.5])
@pytest.mark.parametrize(
    ('size', 'suffix'), [((96, 64), '.mp4'), ((97, 64), '.avi'), ((96, 65), '.avi'), ((17, 9), '.avi')]
)
def test_a_written_video_has_the_same_frames_rate_and_size(videos, tmp_path, size, suffix, fps):
    writer = VideoWriter(tmp_path / 'é.mp4', size, fps)
    for i in range(7):
        writer.write(videos.frame(i, size))
    writer.close()
    assert writer.path == tmp_path / f'é{suffix}'
    frames = list(read_video(writer.path))
    assert len(frames) == 7
    assert frames[0].fps == pytest.approx(fps, rel=1e-3)
    assert frames[6].time == pytest.approx(6 / fps, rel=1e-3)
    for i, frame in enumerate(frames):
        assert frame.image.shape == (size[1], size[0], 3)
        assert videos.bar(frame.image) == pytest.approx(min(4 * (i + 1), size[0]), abs=1)


def test_unknown_rate_is_the_default(videos, tmp_path):
    writer = VideoWriter(tmp_path / 'a.mp4', (96, 64), None)
    writer.write(videos.frame(0))
    writer.close()
    assert next(read_video(writer.path)).fps == video.DEFAULT_FPS == 25


def test_frames_of_another_size_are_not_lost(videos, tmp_path):
    writer = VideoWriter(tmp_path / 'a.mp4', (96, 64), 10)
    for size in ((96, 64), (48, 32), (192, 64)):
        writer.write(videos.frame(3, size))
    writer.close()
    assert [frame.image.shape for frame in read_video(writer.path)] == [(64, 96, 3)] * 3


def test_videos_that_cannot_be_written(tmp_path):
    message = (
        r'a\.mp4 cannot be written: this build of OpenCV does not write mp4v in \.mp4 at 96 x 64 pixels and 10 frames'
    )
    with pytest.raises(UsageError, match=message):
        VideoWriter(tmp_path / 'gone' / 'a.mp4', (96, 64), 10)


def test_frames_that_were_not_written_are_said(videos, tmp_path):
    writer = VideoWriter(tmp_path / 'a.mp4', (96, 64), 10)
    writer.write(videos.frame(0))
    writer._writer.write(np.zeros((8, 8, 3), np.uint8))  # OpenCV drops it silently, as on a full disk
    writer.count += 1
    with pytest.raises(DataError, match=r'a\.mp4 contains 1 of 2 frames: OpenCV could not write the others'):
        writer.close()
