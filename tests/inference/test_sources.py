import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmcnn.errors import DataError, UsageError
from mmcnn.inference.sources import Source, find_sources

IMAGE = np.full((4, 6, 3), 50, np.uint8)


def put(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        known = suffix if suffix in ('.jpg', '.png', '.tif', '.gif') else '.png'
        cv2.imencode(known, IMAGE)[1].tofile(path)


def names(named):
    return [source.name for source in find_sources(named).sources]


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder in the current one: images in two folders, a video, and files that are neither."""
    monkeypatch.chdir(tmp_path)
    put(Path('album/b.JPG'), Path('album/a.png'), Path('album/sub/a.png'), Path('album/Straße/é 1.tif'))
    for name in ('clip.MP4', 'notes.txt', 'sub/a.txt', 'sub/x.json', 'old.heic', 'no_ending', '.DS_Store', '._b.JPG'):
        Path('album', name).write_bytes(b'x')
    put(Path('album/anim.gif'))
    Path('album/folder.png').mkdir()
    Path('album/dangling.jpg').symlink_to('gone.jpg')
    return Path('album')


def test_folder(album):
    found = find_sources(album)
    expected = ['Straße/é 1.tif', 'a.png', 'anim.gif', 'b.JPG', 'clip.MP4', 'sub/a.png']
    assert [source.name for source in found.sources] == expected
    assert [source.path for source in found.sources] == [album / source.name for source in found.sources]
    assert [source.name for source in found.sources if source.is_video] == ['clip.MP4']
    assert found == find_sources(str(album)) == find_sources([album])


def test_an_image_with_another_ending_or_none_is_known_by_its_content(album):
    before = names(album)
    put(album / 'photo.jfif', album / 'scan', album / 'x.PNG_')
    assert sorted(set(names(album)) - set(before)) == ['photo.jfif', 'scan', 'x.PNG_']
    assert all(frame.image.shape == IMAGE.shape for frame in find_sources(album / 'photo.jfif').read(None))


def test_what_is_not_read_of_a_folder_is_named(album):
    reason = 'is not read: OpenCV cannot read it as an image, and its suffix is not that of a video'
    assert find_sources(album).left_out == (
        'album/dangling.jpg is not read: it is a link to a file that does not exist',
        f'album/no_ending {reason}',
        f'album/old.heic {reason}',
        '5 files in album are neither an image nor a video: 1 .json, 2 .txt, 2 hidden',
    )


def test_links_to_folders_are_named(album, tmp_path):
    put(tmp_path / 'elsewhere' / 'a.png')
    (album / 'link').symlink_to(tmp_path / 'elsewhere')
    assert 'album/link is not read: it is a link to a folder' in find_sources(album).left_out
    assert 'link/a.png' not in names(album)
    assert names(album / 'link') == ['a.png']  # it is named explicitly


def test_results_of_an_inference_are_no_images(album):
    put(album / 'detections' / 'a.png', album / 'detections' / 'sub' / 'a.png')
    (album / 'detections' / 'detections.json').write_text('{}')
    found = find_sources(album)
    assert not [source for source in found.sources if 'detections' in source.name]
    line = 'album/detections is not read: according to its detections.json, it holds drawn images'
    assert line in found.left_out
    assert names(album / 'detections') == ['a.png', 'sub/a.png']  # it is named explicitly


@pytest.mark.parametrize(
    ('name', 'is_video'),
    [('a.png', False), ('anim.gif', False), ('clip.MP4', True), ('no_ending', True), ('sub/x.json', True)],
)
def test_a_named_file_is_read_whatever_its_ending(album, name, is_video):
    assert find_sources(album / name).sources == (Source(Path(name).name, album / name, is_video=is_video),)


def test_an_image_without_an_ending(album):
    put(album / 'scan')
    (source,) = find_sources(album / 'scan').sources
    assert not source.is_video
    assert next(source.read()).image.shape == IMAGE.shape


def test_patterns(album):
    assert names('album/*.png') == ['a.png']  # the folder with this ending is empty
    assert names('album/*.[Jp][Pn][Gg]') == ['a.png', 'b.JPG']
    assert names('album/[Ss]*') == ['é 1.tif', 'a.png']  # folders, as a shell would expand it
    assert names('album/**') == names('album')
    others = '1 file in album/*.txt is neither an image nor a video: 1 .txt'
    assert find_sources(['album/a.png', 'album/*.txt']).left_out == (others,)
    assert names('**/a.*g') == ['a.png', 'sub/a.png']  # names are relative to the folder that they share
    assert names('alb*') == names(album)
    put(Path('[1].png'))
    assert names('[1].png') == ['[1].png']  # a file with this name
    with pytest.raises(UsageError, match=r'^no file matches album/\*\.bmp$'):
        find_sources('album/*.bmp')


def test_names_that_are_equal_are_told_apart_by_folders(album):
    assert names(['album/a.png', 'album/b.JPG']) == ['a.png', 'b.JPG']
    assert names(['album/a.png', 'album/sub/a.png']) == ['a.png', 'sub/a.png']
    put(Path('day1/x/1.png'), Path('day2/x/1.png'))
    assert names(['day1', 'day2']) == ['day1/x/1.png', 'day2/x/1.png']
    assert names(['day1/x/1.png', Path('day2') / 'x' / '1.png', 0]) == ['day1/x/1.png', 'day2/x/1.png', 'camera0']


def test_each_file_is_read_once(album):
    assert names([album, 'album/a.png', album.resolve() / 'a.png', 'album/../album/a.png']) == names(album)
    assert names([0, '0', 1]) == ['camera0', 'camera1']


@pytest.mark.parametrize('number', [2, '2', np.int64(2)])
def test_cameras(album, number):
    assert find_sources(number).sources == (Source('camera2', camera=2, is_video=True),)


def test_a_file_whose_name_is_a_number_is_no_camera(album):
    put(Path('2'))
    assert find_sources('2').sources[0].path == Path('2')


@pytest.mark.parametrize(
    ('named', 'message'),
    [
        ('gone', '^there is no image, video or folder gone$'),
        (['album', 'gone.jpg'], r'there is no image, video or folder gone\.jpg'),
        ('http://example.com/clip.mp4', r'^http://example\.com/clip\.mp4 is an address.*download the file first'),
        ('rtsp://10.0.0.1/stream', 'is an address'),
        (-1, 'camera -1: cameras are numbered from 0'),
        (True, 'not a bool; pass images in memory to the detector directly'),
        (
            [IMAGE],
            'a source of images must be a file, a folder, a pattern or the number of a camera, not a nd',
        ),
        (None, 'not a NoneType'),
        ([], 'contains no images or videos'),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_said_at_once(album, named, message):
    with pytest.raises(UsageError, match=message):
        find_sources(named)


def test_folder_without_images(tmp_path):
    with pytest.raises(UsageError, match=f'^{tmp_path} contains no images or videos that can be read$'):
        find_sources(tmp_path)
    (tmp_path / 'a.heic').touch()
    with pytest.raises(
        UsageError,
        match=r'can be read; .*a\.heic is not read: OpenCV cannot read it as an image',
    ):
        find_sources(tmp_path)


# --------------------------------------------------------------------------------------------------------------- lists


def test_a_list_of_paths(album):
    """Paths are relative to the current folder or to the list's folder."""
    text = '\ufeffalbum/a.png\r\n\n  b.JPG \nsub\ngone.jpg\n'
    (album / 'list.txt').write_text(text, encoding='utf-8')
    found = find_sources('album/list.txt')
    assert [source.name for source in found.sources] == ['a.png', 'b.JPG', 'sub/a.png']
    assert found.left_out == (
        '2 files in album/sub are neither an image nor a video: 1 .json, 1 .txt',
        'album/list.txt lists gone.jpg, which does not exist',
    )


def test_a_path_of_a_list_that_could_be_either_of_two(album):
    put(Path('a.png'))
    (album / 'list.txt').write_text('a.png\n')
    with pytest.raises(
        UsageError, match=r'lists a\.png, which exists in both the current folder and album: give the full path'
    ):
        find_sources('album/list.txt')
    Path('a.png').unlink()
    Path('a.png').symlink_to(album / 'a.png')
    assert names('album/list.txt') == ['a.png']


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', r'is not a list of images, one path per line: it is empty'),
        (
            b'0 0.5 0.5 0.2 0.2\n',
            r"its first line is '0 0\.5 0\.5 0\.2 0\.2', which does not exist",
        ),
        (b'x' * 5000, r"its first line is 'x{200}', which"),
        (b'\xff\xfe', 'cannot be read as a list of images, one path per line: .*utf-8'),
    ],
)
def test_a_text_that_is_no_list(album, content, reason):
    (album / 'list.txt').write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        find_sources('album/list.txt')
    found = find_sources(['album/list.txt', 'album/a.png'])  # as a shell expands a pattern
    assert [source.name for source in found.sources] == ['a.png'] and len(found.left_out) == 1


# ------------------------------------------------------------------------------------------------------------- reading


def test_images_and_frames_in_order(album, videos):
    (album / 'clip.MP4').unlink()
    videos.make_video(album / 'clip.mp4', count=3)
    skipped = []
    frames = list(find_sources(album).read(skipped.append))
    assert [frame.name for frame in frames] == [
        'Straße/é 1.tif', 'a.png', 'anim.gif', 'b.JPG', 'clip.mp4/000000', 'clip.mp4/000001', 'clip.mp4/000002',
        'sub/a.png',
    ]  # fmt: skip
    assert [frame.index for frame in frames] == [None, None, None, None, 0, 1, 2, None]
    assert [frame.time for frame in frames[:5]] == [None, None, None, None, 0]
    assert frames[5].time == pytest.approx(0.1)
    assert frames[5].path == album / 'clip.mp4' and frames[0].path == album / 'Straße' / 'é 1.tif'
    assert not skipped
    assert [frame.image.shape for frame in frames[3:5]] == [IMAGE.shape, (64, 96, 3)]


def test_what_is_broken_is_reported_and_the_rest_is_read(album, videos):
    (album / 'aa.png').write_bytes(b'')
    videos.cut(videos.make_video(album / 'short.avi', count=40), 0.7)
    skipped = []
    frames = list(find_sources(album).read(skipped.append))
    images = ['Straße/é 1.tif', 'a.png', 'anim.gif', 'b.JPG', 'sub/a.png']
    assert [frame.name for frame in frames if frame.index is None] == images
    count = len(frames) - 5
    assert [str(error) for error in skipped] == [
        'album/aa.png is not an image that OpenCV can read: it is empty',
        'album/clip.MP4 is not a video that OpenCV can read: it is damaged, truncated, not a video, or has a codec '
        'that this build of OpenCV lacks',
        f'album/short.avi: only {count} of the 40 declared frames can be decoded; the file is truncated or damaged',
    ]
    assert 5 < count < 40


def test_nothing_that_can_be_read_is_an_error(tmp_path):
    for name in ('a.png', 'b.png'):
        (tmp_path / name).write_bytes(b'')
    skipped = []
    with pytest.raises(
        DataError, match=r'^none of the 2 files could be read; the first error: .*a\.png is not an image'
    ):
        list(find_sources(tmp_path).read(skipped.append))
    assert len(skipped) == 2
    with pytest.raises(DataError, match=r'^\S*b\.png is not an image that OpenCV can read: it is empty$'):
        list(find_sources(tmp_path / 'b.png').read(skipped.append))
    assert len(skipped) == 2  # only the error reports it


def test_one_image_at_a_time(album, monkeypatch):
    read = []
    monkeypatch.setattr('mmcnn.inference.sources.read_image', lambda path: read.append(path) or IMAGE)
    (album / 'clip.MP4').unlink()
    with contextlib.closing(find_sources(album).read(print)) as frames:
        next(frames), next(frames)
        assert len(read) == 2
