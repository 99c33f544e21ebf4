import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mmcnn
from mmcnn.datasets.check.detector import check_data
from mmcnn.errors import CheckpointError, DataError, UsageError
from mmcnn.inference.detector import Detector
from mmcnn.inference.images import read_image
from mmcnn.inference.video import read_video
from mmcnn.runs.infer import infer
from mmcnn.runs.options import InferOptions


@pytest.fixture
def album(shapes, tmp_path, monkeypatch):
    """The current folder with an album of images, one of them in a subfolder."""
    monkeypatch.chdir(tmp_path)
    root = Path('album')
    sources = sorted((shapes / 'images').iterdir())
    for source, name in zip(sources, ('a.jpg', 'b.png', 'sub/a.jpg'), strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imencode((root / name).suffix, read_image(source))[1].tofile(root / name)
    return root


@pytest.fixture(scope='module')
def detector(trained):
    return Detector(trained.checkpoint, device='cpu', score_thr=0.001)


@pytest.fixture
def run(trained):
    """``run(sources, **options)``: infer on the CPU with a score threshold of 0.001."""

    def run(*sources, **options):
        options = dict(device='cpu', score_thr=0.001) | options
        return infer(InferOptions(checkpoint=trained.checkpoint, sources=list(sources), **options))

    return run


def records(folder):
    return json.loads((folder / 'detections.json').read_text(encoding='utf-8'))


def test_images(run, detector, album):
    result = run(album, out='found')
    assert (result.folder, result.images, result.videos, result.frames) == (Path('found'), 3, 0, 0)
    assert list(records(result.folder)) == ['a.jpg', 'b.png', 'sub/a.jpg']
    assert result.objects == sum(map(len, records(result.folder).values())) > 10
    for name, record in records(result.folder).items():
        expected = detector(album / name)
        assert [each['name'] for each in record] == expected.names
        assert [each['label'] for each in record] == expected.labels.tolist()
        np.testing.assert_allclose([each['bbox'] for each in record], expected.boxes, atol=0.006)
        np.testing.assert_allclose([each['score'] for each in record], expected.scores, atol=6e-5)
    np.testing.assert_array_equal(read_image('found/b.png'), detector('album/b.png').plot())


def test_mixed_precision(run, album):
    exact, mixed = (records(run(album, out=f'found_{amp}', amp=amp).folder)['a.jpg'] for amp in ('off', 'bf16'))
    assert mixed != exact and mixed[0]['score'] == pytest.approx(exact[0]['score'], abs=0.02)


def test_the_file_is_laid_out_as_json_itself_does(run, album):
    text = (run(album).folder / 'detections.json').read_text(encoding='utf-8')
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + '\n'


@pytest.mark.parametrize('batch_size', [1, 4])
def test_a_video_has_as_many_frames_the_same_rate_and_size(run, videos, detector, tmp_path, batch_size):
    made = videos.make_video(tmp_path / 'clip.mp4', count=7, fps=29.97)
    least = detector(videos.frame(3)).scores[4].item()
    result = run(made, out=tmp_path / 'out', batch_size=batch_size, score_thr=least)
    assert (result.images, result.videos, result.frames, result.left_out) == (0, 1, 7, ())
    assert list(records(result.folder)) == [f'clip.mp4/00000{i}' for i in range(7)]
    source, drawn = list(read_video(made)), list(read_video(result.folder / 'clip.mp4'))
    assert len(drawn) == 7
    assert drawn[0].fps == pytest.approx(source[0].fps)
    assert [frame.time for frame in drawn] == pytest.approx([frame.time for frame in source])
    for one, other, record in zip(source, drawn, records(result.folder).values(), strict=True):
        assert other.image.shape == one.image.shape
        found = detector(one.image)
        found = found[found.scores >= least]
        assert len(record) == pytest.approx(len(found), abs=batch_size - 1)
        if len(record) == len(found) > 0:
            apart = [np.abs(image.astype(int) - other.image).mean() for image in (found.plot(one.image), one.image)]
            assert apart[0] < apart[1] / 2  # MPEG-4 is lossy, but the boxes are drawn
    assert result.objects > 5


@pytest.mark.slow
def test_videos_of_any_kind(run, videos, tmp_path):
    videos.make_video(tmp_path / 'v' / 'odd.avi', count=3, size=(97, 65))
    videos.turn(videos.make_video(tmp_path / 'v' / 'turned.mp4', count=3), 90)
    videos.make_video(tmp_path / 'v' / 'web.webm', count=3)
    videos.damage(videos.make_video(tmp_path / 'v' / 'damaged.avi', count=40), 0.5, 0.52)
    (tmp_path / 'v' / 'empty.mp4').write_bytes(b'')
    result = run(tmp_path / 'v', out=tmp_path / 'out')
    damaged = len([name for name in records(result.folder) if name.startswith('damaged.avi/')])
    assert (result.videos, result.frames) == (4, 9 + damaged)
    assert 30 < damaged < 40
    assert len(result.left_out) == 2
    assert f'damaged.avi: only {damaged} of the 40 declared frames' in result.left_out[0]
    assert 'empty.mp4 is not a video that OpenCV can read: it is empty' in result.left_out[1]
    written = dict(odd='avi', turned='mp4', web='mp4', damaged='mp4')
    assert {path.name for path in result.folder.iterdir()} == {
        'detections.json', *(f'{stem}.{suffix}' for stem, suffix in written.items())
    }  # fmt: skip
    shapes = dict(odd=(65, 97, 3), turned=(96, 64, 3), web=(64, 96, 3), damaged=(64, 96, 3))
    for stem, suffix in written.items():
        frames = list(read_video(result.folder / f'{stem}.{suffix}'))
        assert len(frames) == (damaged if stem == 'damaged' else 3)
        assert frames[0].image.shape == shapes[stem]
        assert frames[0].fps == 10


def test_of_images_with_several_frames_the_first_is_read_and_that_is_said(trained, album, capsys):
    for name in ('g.gif', 'm.tif', 'one.gif'):
        frames = [Image.new('RGB', (40, 30), colour) for colour in ('red', 'blue', 'green')]
        frames[0].save(album / name, save_all=True, append_images=[] if name == 'one.gif' else frames[1:])
    result = infer(InferOptions(checkpoint=trained.checkpoint, sources='album', device='cpu', score_thr=1.0))
    assert result.images == 6
    said = capsys.readouterr().out
    assert said == 'note: only the first frame or page of an image is read: g.gif (3), m.tif (3)\n'
    assert read_image(result.folder / 'g.png')[0, 0].argmax() == 2  # red


def test_max_frames(run, videos, album, tmp_path):
    for name in ('a.mp4', 'b.mp4'):
        videos.make_video(album / name, count=5)
    result = run(album, max_frames=2)
    assert (result.images, result.videos, result.frames, result.left_out) == (3, 2, 4, ())


class Camera:
    """A camera that gives three images before someone presses Ctrl-C."""

    def __init__(self, source, api):
        self.count = 0

    def isOpened(self):  # noqa: N802  OpenCV's name
        return True

    def get(self, prop):
        return 0.0

    def read(self):
        self.count += 1
        if self.count > 3:
            raise KeyboardInterrupt
        return True, np.full((64, 64, 3), 80 * self.count, np.uint8)

    def release(self):
        pass


def test_a_camera_ends_with_ctrl_c(trained, tmp_path):
    lines = []
    options = InferOptions(checkpoint=trained.checkpoint, sources=0, out=tmp_path / 'out', device='cpu')
    with pytest.MonkeyPatch.context() as patch:
        real = cv2.VideoCapture
        patch.setattr(cv2, 'VideoCapture', lambda source, api: (Camera if source == 0 else real)(source, api))
        result = infer(options, lines.append)
    assert (result.videos, result.frames) == (1, 3)
    assert list(records(result.folder)) == ['camera0/000000', 'camera0/000001', 'camera0/000002']
    assert len(list(read_video(result.folder / 'camera0.mp4'))) == 3
    assert lines == ['note: camera0 has no frame rate; the drawn video has 25 frames per second']


def test_what_was_found_before_ctrl_c_is_kept(run, videos, album, capsys):
    def interrupted(path):
        if path.name == 'b.png':
            raise KeyboardInterrupt
        return read_image(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmcnn.inference.sources.read_image', interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(album, out='out', format='coco')
    assert capsys.readouterr().out.endswith('stopped: the results of 1 image are in out\n')
    assert list(records(Path('out'))) == ['a.jpg']
    assert len(json.loads(Path('out/coco.json').read_text())['images']) == 1


# --------------------------------------------------------------------------------------------------------- label files


def refused_nothing(report):
    """All images and boxes can be used for training; some boxes of an untrained network are tiny."""
    assert {finding.kind for finding in report.findings} <= {'class without a box', 'box below a pixel'}, (
        report.findings
    )
    assert len(report.kept[0]['images']) == 3


def test_coco_labels_are_a_data_set(run, detector, album):
    result = run(album, format='coco', score_thr=0.002)
    coco = json.loads((result.folder / 'coco.json').read_text(encoding='utf-8'))
    assert [image['file_name'] for image in coco['images']] == ['a.jpg', 'b.png', 'sub/a.jpg']
    assert coco['images'][0] == dict(id=1, file_name='a.jpg', width=64, height=64)
    assert coco['categories'] == [dict(id=i, name=name) for i, name in ((1, 'circle'), (2, 'square'), (3, 'triangle'))]
    assert [each['id'] for each in coco['annotations']] == list(range(1, result.objects + 1))
    by_image = [[each for each in coco['annotations'] if each['image_id'] == i] for i in (1, 2, 3)]
    for own, name in zip(by_image, records(result.folder), strict=True):
        found = detector(album / name)
        found = found[found.scores >= 0.002]
        assert [each['category_id'] for each in own] == [label + 1 for label in found.labels]
        boxes = np.array([each['bbox'] for each in own])
        np.testing.assert_allclose(boxes[:, :2], found.boxes[:, :2], atol=0.006)
        np.testing.assert_allclose(boxes[:, 2:], found.boxes[:, 2:] - found.boxes[:, :2], atol=0.011)
        assert (boxes[:, :2] + boxes[:, 2:]).max() <= 64
        assert [each['score'] for each in own] == pytest.approx(found.scores.tolist())
        assert all(each['area'] == pytest.approx(each['bbox'][2] * each['bbox'][3], abs=0.01) for each in own)
    # The file can be used with --data unchanged.
    data = Path('data')
    data.mkdir()
    album.rename(data / 'images')
    (data / 'train.json').write_text(json.dumps(coco))
    refused_nothing(check_data(data, names=['train']))


def test_yolo_labels_are_a_data_set(run, detector, album):
    result = run(album, format=('yolo', 'coco', 'yolo'))
    assert (result.folder / 'coco.json').is_file()
    folder = result.folder / 'yolo'
    labels = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.txt'))
    assert labels == ['labels/a.txt', 'labels/b.txt', 'labels/sub/a.txt']
    found = detector(album / 'b.png')
    lines = [line.split(' ') for line in (folder / 'labels' / 'b.txt').read_text().splitlines()]
    assert [int(line[0]) for line in lines] == found.labels.tolist()
    cx, cy, w, h = np.array([line[1:] for line in lines], float).T * 64
    np.testing.assert_allclose(np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1), found.boxes, atol=1e-3)
    album.rename(folder / 'images')
    report = check_data(folder, names=['train'])
    assert report.classes == ('circle', 'square', 'triangle')
    refused_nothing(report)
    drawn = mmcnn.check_data(folder, val_fraction=0.34)
    assert drawn.ok
    assert [len(kept['images']) for kept in drawn.kept] == [2, 1]


def test_an_image_without_objects_has_an_empty_label_file(run, album):
    result = run(album, format='yolo', score_thr=1.0)
    assert result.objects == 0
    assert [path.read_text() for path in (result.folder / 'yolo').rglob('*.txt')] == [''] * 3


def test_frames_that_are_labelled_are_written(run, videos, tmp_path):
    made = videos.make_video(tmp_path / 'clip.mp4', count=3)
    result = run(made, out=tmp_path / 'out', format=('coco', 'yolo'))
    names = [f'clip.mp4/00000{i}.jpg' for i in range(3)]
    assert [image['file_name'] for image in json.loads((result.folder / 'coco.json').read_text())['images']] == names
    for name, frame in zip(names, read_video(made), strict=True):
        assert np.abs(read_image(result.folder / 'frames' / name).astype(int) - frame.image).mean() < 3  # without boxes
        assert (result.folder / 'yolo' / 'labels' / name).with_suffix('.txt').is_file()


# ----------------------------------------------------------------------------------------------- nothing is overwritten


def test_the_default_folder_is_a_new_one(run, album):
    Path('detections').mkdir()
    assert [run(album / 'a.jpg').folder for _ in range(3)] == [
        Path('detections'), Path('detections-2'), Path('detections-3')
    ]  # fmt: skip
    assert all(list(records(Path(name))) == ['a.jpg'] for name in ('detections', 'detections-2', 'detections-3'))


def test_equal_names_do_not_collide(run, album, videos):
    (album / 'x').mkdir()
    image = read_image(album / 'b.png')
    cv2.imencode('.png', image)[1].tofile(album / 'x' / 'scan')
    cv2.imencode('.png', image[::-1])[1].tofile(album / 'x' / 'scan.png')
    cv2.imencode('.png', image[:, ::-1])[1].tofile(album / 'x' / 'scan.dat')
    videos.make_video(album / 'x' / 'clip.avi', count=2)
    videos.make_video(album / 'x' / 'clip.mp4', count=3)
    result = run('album/x/*', 'album/a.jpg', 'album/sub/a.jpg', out='out')
    assert list(records(result.folder)) == [
        'x/clip.avi/000000', 'x/clip.avi/000001', 'x/clip.mp4/000000', 'x/clip.mp4/000001', 'x/clip.mp4/000002',
        'x/scan', 'x/scan.dat', 'x/scan.png', 'a.jpg', 'sub/a.jpg',
    ]  # fmt: skip
    written = sorted(path.relative_to('out').as_posix() for path in Path('out').rglob('*.*'))
    assert written == [
        'a.jpg', 'detections.json', 'sub/a.jpg', 'x/clip-2.mp4', 'x/clip.mp4', 'x/scan-2.png', 'x/scan-3.png',
        'x/scan.png',
    ]  # fmt: skip
    assert len(list(read_video(Path('out/x/clip.mp4')))) == 3
    assert len(list(read_video(Path('out/x/clip-2.mp4')))) == 2


@pytest.mark.parametrize(
    'there', ['sub/a.jpg', 'detections.json', 'coco.json', 'yolo/x', 'clip.mp4', 'clip.avi', 'frames/x']
)
def test_a_file_that_would_be_overwritten_is_named_first(run, album, videos, there):
    videos.make_video(album / 'clip.mp4', count=2)
    path = Path('out') / there
    path.parent.mkdir(parents=True)
    path.write_text('mine')
    with pytest.raises(
        UsageError, match=rf'out=out: out/{Path(there).parts[0]}.* exists and would be overwritten; choose'
    ):
        run(album, out='out', format=('coco', 'yolo'))
    assert [each for each in Path('out').rglob('*') if each.is_file()] == [path]
    assert path.read_text() == 'mine'


def test_a_folder_with_other_files_can_be_used(run, album):
    Path('out').mkdir()
    Path('out/notes.txt').write_text('mine')
    assert run(album, out='out').images == 3


def test_folders_that_cannot_be_used(run, album):
    Path('file').write_text('')
    for out in ('file', 'file/below/it'):
        with pytest.raises(UsageError, match=rf'^out={out}: .*/file is a file; give a folder$'):
            run(album, out=out)


def test_images_that_would_share_labels(run, album):
    (album / 'a.png').write_bytes((album / 'b.png').read_bytes())
    with pytest.raises(
        UsageError, match=r'^format=yolo: a\.jpg and a\.png would share the label file a\.txt; rename one'
    ):
        run(album, out='out', format='yolo')
    assert not Path('out').exists()
    assert run(album, out='out', format='coco').images == 4


# ------------------------------------------------------------------------------------------------------------- refusals


def test_nothing_is_written_if_nothing_can_be_read(run, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'')
    with pytest.raises(DataError, match=r'a\.jpg is not an image that OpenCV can read: it is empty'):
        run(tmp_path / 'a.jpg', out=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_everything_is_checked_before_the_checkpoint_is_read(album):
    def refused(message, **options):
        with pytest.raises(UsageError, match=message):
            infer(InferOptions(**dict(checkpoint='gone.pth', sources='album') | options))

    refused('there is no image, video or folder nowhere', sources='nowhere')
    Path('file').touch()
    refused('is a file; give a folder', out='file')
    refused(r'font=gone\.ttf: the file does not exist', font='gone.ttf')
    with pytest.raises(CheckpointError, match=r'gone\.pth does not exist'):
        infer(InferOptions(checkpoint='gone.pth', sources='album'))
    assert not Path('detections').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(score_thr=2.0), r'^score_thr=2\.0: the value must be between 0 and 1; 2 % is 0\.02$'),
        (dict(score_thr=float('nan')), r'score_thr=nan'),
        (dict(batch_size=0), '^batch_size=0: the value must be at least 1$'),
        (dict(max_frames=0), '^max_frames=0: the value must be at least 1$'),
        (dict(format='cocoo'), "^format='cocoo': did you mean coco"),
        (dict(format=('coco', 'voc')), "^format='voc': "),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        InferOptions(checkpoint='x.pth', sources='y', **options)


def test_the_checkpoint_is_read_once(run, album, monkeypatch):
    from mmcnn.weights.checkpoint import Checkpoint

    open_file, paths = Checkpoint.open, []
    monkeypatch.setattr(Checkpoint, 'open', staticmethod(lambda path: paths.append(path) or open_file(path)))
    run(album / 'a.jpg')
    assert len(paths) == 1


def test_the_process_is_left_as_it_was(run, album):
    import mmengine.device.utils as device_utils
    import torch

    device, state = device_utils.DEVICE, torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        run(album)
    assert device == device_utils.DEVICE
    assert torch.equal(torch.get_rng_state(), state)
