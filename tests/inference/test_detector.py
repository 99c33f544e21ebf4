import gc
import os
import runpy
import weakref
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from PIL import Image

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.device import device_called
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.inference.detector import Detections, Detector, classes_of, read_image
from mmcnn.inference.detector import test_pipeline as detector_pipeline  # pytest would collect test_pipeline
from mmcnn.weights.checkpoint import Checkpoint, read_checkpoint

#: ultralytics' network, from the tests of its files.
yolov5 = runpy.run_path(str(Path(__file__).parents[1] / 'weights' / 'conftest.py'))['yolov5']


@pytest.fixture(scope='module')
def detector(trained):
    return Detector(trained.checkpoint, device='cpu', score_thr=0.001)


@pytest.fixture(scope='module')
def picture(shapes):
    """The path of an image of 64 x 64 pixels."""
    return sorted((shapes / 'images').glob('val_*.jpg'))[0]


def test_the_file_s_tensors_are_let_go_of(trained):
    file = Checkpoint.open(trained.checkpoint)
    tensors = [weakref.ref(value) for value in file.state_dict.values()]
    detector = Detector(file, device='cpu')
    gc.collect()
    assert detector.num_parameters > 0 and tensors and not any(tensor() is not None for tensor in tensors)
    assert file.classes == detector.classes


def test_what_is_found(detector, picture):
    found = detector(picture)
    count = len(found.boxes)
    assert isinstance(found, Detections)
    assert 0 < count <= 300
    assert (found.boxes.shape, found.boxes.dtype) == ((count, 4), np.float32)
    assert (found.scores.shape, found.scores.dtype) == ((count,), np.float32)
    assert (found.labels.shape, found.labels.dtype) == ((count,), np.int64)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 64).all()
    assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.min() >= 0.001
    assert found.scores.max() <= 1
    assert detector.classes == ('circle', 'square', 'triangle')
    assert found.names == [('circle', 'square', 'triangle')[label] for label in found.labels]


def test_mixed_precision(trained, detector, picture):
    mixed = Detector(trained.checkpoint, device='cpu', score_thr=0.001, amp='bf16')
    convolutions = [module for module in mixed.model.modules() if isinstance(module, torch.nn.Conv2d)]
    assert {each.weight.dtype for each in convolutions} == {torch.bfloat16}
    assert mixed.num_parameters == detector.num_parameters
    with torch.no_grad():
        exact, found = (each.model(**each.prepare([picture]), mode='predict') for each in (detector, mixed))
    exact, found = exact[0].pred_instances, found[0].pred_instances
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    assert 0 < (found.scores[:5] - exact.scores[:5]).abs().max() < 0.02
    assert len(mixed(picture).boxes) > 0


def test_a_precision_that_the_device_lacks_is_refused_before_the_file_is_read(tmp_path):
    with pytest.raises(UsageError, match='amp=fp16 needs a GPU'):
        Detector(tmp_path / 'missing.pth', device='cpu', amp='fp16')


def test_boxes_without_area_are_no_detections(detector, picture, monkeypatch):
    def predict(**kwargs):
        boxes = torch.tensor([[3.0, 0, 3, 9], [1, 2, 5, 6], [4, 8, 9, 8], [64, 64, 64, 64]])
        instances = InstanceData(bboxes=boxes, scores=torch.full((4,), 0.9), labels=torch.zeros(4, dtype=torch.long))
        return [SimpleNamespace(pred_instances=instances)]

    monkeypatch.setattr(detector.model, 'forward', predict)
    assert detector(picture).boxes.tolist() == [[1, 2, 5, 6]]


@pytest.mark.parametrize(
    'change, says',
    [
        (lambda state: {f'module.{key}': value for key, value in state.items()}, 'module. removed from the names'),
        (lambda state: {f'net.{key}': value for key, value in state.items()}, 'net. removed from the names'),
        (lambda state: {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
         'float16'),
        (dict, None),
    ],
    ids=['module', 'net', 'half', 'as it is'],
)  # fmt: skip
def test_what_was_read_otherwise_than_it_is_written_is_said(trained, picture, tmp_path, change, says):
    content = read_checkpoint(trained.checkpoint)
    torch.save(dict(meta=content['meta'], state_dict=change(content['state_dict'])), tmp_path / 'a.pth')
    said = []
    found = Detector(tmp_path / 'a.pth', device='cpu', score_thr=0.001, say=said.append)(picture)
    assert len(found) and ''.join(said).count('note: ') == (says is not None) and (says or '') in ''.join(said)


def test_boxes_are_pixels_of_the_image_as_given(detector, picture):
    # The network's input is 64 px wide, so it sees the same pixels if each pixel of the image is doubled.
    image = read_image(picture)
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    small_boxes, large_boxes = detector(image).boxes, detector(large).boxes
    assert large_boxes.max() > 100
    np.testing.assert_allclose(large_boxes / 2, small_boxes, atol=1e-3)
    wide = detector(np.concatenate([image, image], axis=1)).boxes
    assert wide[:, [0, 2]].max() > 64 >= wide[:, [1, 3]].max()


def test_published_weights_need_no_config(yolov5, picture, tmp_path, capsys):
    """The highest-scoring box of a YOLOv5 with ultralytics' layers is also ours, and the file contains all we need."""
    peer = yolov5.model('n', nc=3)
    detector = Detector(yolov5.save(peer, tmp_path / 'a.pt'), device='cpu', score_thr=0)
    assert detector.classes == ('thing 0', 'thing 1', 'thing 2')
    assert 'YOLOv5n (v6.0 to v7.0), which fits yolov5_n' in capsys.readouterr().out
    assert Detector(tmp_path / 'a.pt', 'yolov5_n', device='cpu').classes == detector.classes
    data = detector.prepare([picture])
    sample = data['data_samples'][0]
    with torch.no_grad():
        maps = peer.maps(data['inputs'])
        rows = peer.boxes(maps[-1])[0]
    scores = (rows[:, 4:5] * rows[:, 5:]).max(1).values
    x, y, w, h = rows[:, :4].T.numpy()
    found = detector(picture)
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    expected = (corners - np.tile(sample.pad_param[::-1], 2)) / np.tile(sample.scale_factor, 2)
    expected = expected.clip(0, 64)
    inside = (expected[:, 2:] > expected[:, :2]).all(axis=1)
    surest = np.where(inside, scores, -1).argmax()
    np.testing.assert_allclose(found.boxes[0], expected[surest], atol=1e-2)
    assert found.scores[0] == pytest.approx(scores[surest].item(), abs=1e-5)


def test_names_for_classes_that_a_file_does_not_name(yolov5, picture, tmp_path):
    torch.save(yolov5.model('n', nc=2).state_dict(), tmp_path / 'a.pt')
    with pytest.raises(CheckpointError, match='has 2 classes without names'):
        Detector(tmp_path / 'a.pt')
    (tmp_path / 'my.names').write_text('cat\ndog\n')
    said = []
    detector = Detector(tmp_path / 'a.pt', device='cpu', classes=tmp_path / 'my.names', score_thr=0, say=said.append)
    assert detector.classes == ('cat', 'dog') and set(detector(picture).names) <= {'cat', 'dog'}
    assert 'its 2 classes have the given names' in said[0]


def same(found, other):
    assert found.names == other.names
    for field in ('boxes', 'scores', 'labels'):
        np.testing.assert_array_equal(getattr(found, field), getattr(other, field))


def test_folded_norms_change_nothing_that_is_found(detector, trained, picture, monkeypatch):
    monkeypatch.setattr('mmcnn.inference.detector.fuse', lambda network: network.eval())
    plain = Detector(trained.checkpoint, device='cpu', score_thr=0.001)
    norms = [[m for m in each.model.modules() if isinstance(m, torch.nn.BatchNorm2d)] for each in (plain, detector)]
    assert norms[0] and not norms[1]
    expected, found = plain(picture), detector(picture)
    assert found.names == expected.names
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)


def test_path_text_and_array_give_the_same(detector, picture):
    expected = detector(picture)
    same(detector(str(picture)), expected)
    same(detector(read_image(picture)), expected)


def test_batch_gives_what_single_images_give(detector, shapes):
    paths = sorted((shapes / 'images').iterdir())[:2]
    # The third image has another size, so the batch is padded.
    images = [*paths, cv2.resize(read_image(paths[0]), (32, 64))]
    found = detector.batch(images)
    assert len(found) == 3
    for one, image in zip(found[:2], images[:2], strict=True):
        alone = detector(image)
        assert one.names[:10] == alone.names[:10]
        np.testing.assert_allclose(one.boxes[:10], alone.boxes[:10], atol=1e-2)
    assert found[2].boxes[:, [0, 2]].max() <= 32


def test_images_as_the_network_takes_them(detector, picture):
    data = detector.prepare([picture, picture])
    assert data['inputs'].shape == (2, 3, 96, 96)  # 64 and the padding of YOLOv5's letterbox, half a stride per side
    assert data['inputs'][0, :, 16:80, 16:80].mul(255).round().flip(0).permute(1, 2, 0).byte().numpy() == pytest.approx(
        read_image(picture)
    )
    assert [sample.ori_shape for sample in data['data_samples']] == [(64, 64)] * 2


def test_parameters_are_those_before_the_folding(detector, trained):
    state = torch.load(trained.checkpoint, weights_only=True)['state_dict']
    learned = sum(value.numel() for key, value in state.items() if key.endswith(('weight', 'bias')))
    assert detector.num_parameters == learned
    assert sum(parameter.numel() for parameter in detector.model.parameters()) < learned


@pytest.mark.slow
def test_threshold(trained, picture):
    everything = Detector(trained.checkpoint, device='cpu', score_thr=0)(picture)
    middle = float(np.median(everything.scores))
    found = Detector(trained.checkpoint, device='cpu', score_thr=middle)(picture)
    np.testing.assert_array_equal(found.scores, everything.scores[everything.scores >= middle])
    nothing = Detector(trained.checkpoint, device='cpu', score_thr=1.0)(picture)
    assert nothing.boxes.shape == (0, 4)
    assert nothing.names == []


def test_forms_of_an_image_give_the_same(detector, picture):
    image, expected = read_image(picture), detector(picture)
    rgb = image[..., ::-1].copy()
    with Image.open(picture) as pil:
        given = dict(
            text=str(picture),
            array=image,
            bytes=picture.read_bytes(),
            pil=Image.fromarray(rgb),
            file=pil,
            tensor=torch.from_numpy(rgb).permute(2, 0, 1),
            floats=image / 255,
            bgra=np.dstack([image, image[..., :1]]),
            first=image.transpose(2, 0, 1),
        )
        for form in given.values():
            same(detector(form), expected)
        for found in (detector(list(given.values())), detector.batch(tuple(given.values()))):
            assert len(found) == len(given)
            for one in found:
                np.testing.assert_allclose(one.boxes[:10], expected.boxes[:10], atol=1e-2)


def test_lists(detector, picture, monkeypatch):
    assert detector([]) == detector(()) == detector.batch([]) == []
    (found,) = detector([picture])
    same(found, detector(picture))
    sizes = []
    collated = detector._collated
    monkeypatch.setattr(detector, '_collated', lambda samples: sizes.append(len(samples)) or collated(samples))
    assert [each.path for each in detector([picture, read_image(picture)] * 10)] == [picture, None] * 10
    assert sizes == [8, 8, 4]
    assert len(detector.batch([picture] * 10)) == 10
    assert sizes == [8, 8, 4, 10]


def test_detections_know_their_file(detector, picture):
    assert detector(str(picture)).path == detector(picture).path == picture
    assert detector(read_image(picture)).path is None
    found = detector(picture)[:3]
    np.testing.assert_array_equal(found.plot(), found.plot(read_image(picture)))


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((1, 8, 8, 3), np.uint8), r'the image is a batch \(1, 8, 8, 3\) of uint8 of 1 images'),
        (np.zeros((0, 8, 3), np.uint8), r'the image is \(0, 8, 3\) of uint8; it must be \(H, W, 3\) in BGR order'),
        (np.full((8, 8, 3), np.nan), 'the image is .* NaN'),
        ([np.zeros((8, 8, 3), np.uint8)] * 9 + [np.zeros(3)], r'images\[9\] is \(3,\) of float64; it must be'),
        ([[1, 2, 3]], r'images\[0\] is of type list; it must be a path, a NumPy array'),
        (None, 'the image is of type NoneType'),
        ('https://example.com/a.jpg', 'download the file first'),
    ],
    ids=lambda value: str(type(value)),
)
def test_images_of_another_form(detector, image, message):
    with pytest.raises(mmcnn.errors.UsageError, match=message):
        detector(image)


def test_files_that_are_no_image(detector, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'there is no image .*gone\.jpg'):
        detector(tmp_path / 'gone.jpg')
    with pytest.raises(FileNotFoundError, match='there is no image'):
        detector(tmp_path)
    for content in (b'', b'no picture', b'\x89PNG\r\n\x1a\n'):
        (tmp_path / 'x.png').write_bytes(content)
        with pytest.raises(ValueError, match=r'x\.png is not an image that OpenCV can read'):
            detector(str(tmp_path / 'x.png'))


# -------------------------------------------------------------------------------------------------------------- stream


@pytest.fixture
def album(shapes, videos, tmp_path):
    """A folder with two images, a damaged one and a video of four frames."""
    sources = sorted((shapes / 'images').glob('val_*.jpg'))
    for name, source in zip(('a.jpg', 'sub/b.jpg'), sources, strict=False):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    videos.make_video(tmp_path / 'clip.mp4', count=4, size=(64, 64))
    return tmp_path


def test_stream(detector, album):
    with pytest.warns(UserWarning, match=r'^left out: .*broken\.jpg is not an image that OpenCV can read$'):
        frames = list(detector.stream(album))
    assert [frame.name for frame in frames] == ['a.jpg', *(f'clip.mp4/00000{i}' for i in range(4)), 'sub/b.jpg']
    assert [frame.index for frame in frames] == [None, 0, 1, 2, 3, None]
    assert [frame.time for frame in frames[1:5]] == pytest.approx([0, 0.1, 0.2, 0.3])
    for frame in frames:
        assert isinstance(frame.found, Detections)
        same(frame.found, detector(frame.image))
    assert [frame.path for frame in frames[::5]] == [album / 'a.jpg', album / 'sub' / 'b.jpg']
    # A frame of a video is not a file that could be read again.
    assert [frame.found.path for frame in frames] == [album / 'a.jpg', *[None] * 4, album / 'sub' / 'b.jpg']


def test_stream_in_batches(detector, album, monkeypatch):
    sizes, skipped = [], []
    collated = detector._collated
    monkeypatch.setattr(detector, '_collated', lambda samples: sizes.append(len(samples)) or collated(samples))
    frames = list(detector.stream(album, batch_size=4, on_skip=skipped.append))
    assert sizes == [4, 2]
    assert [type(error) for error in skipped] == [mmcnn.errors.DataError]
    for frame in frames:
        np.testing.assert_allclose(frame.found.boxes[:5], detector(frame.image).boxes[:5], atol=1e-2)


def test_stream_reads_no_further_than_it_is_asked(detector, album):
    read = []

    class Camera:
        released = False

        def read(self):
            read.append(1)
            return True, np.zeros((64, 64, 3), np.uint8)

        def get(self, prop):
            return 0.0

        def isOpened(self):  # noqa: N802  OpenCV's name
            return True

        def release(self):
            self.released = True

    camera = Camera()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cv2, 'VideoCapture', lambda source, api: camera)
        stream = detector.stream(0)
        assert not read  # the camera is read only when the first frame is requested
        frame = next(stream)
        assert (frame.name, frame.path, frame.index, len(read)) == ('camera0/000000', None, 0, 1)
        next(stream)
        assert len(read) == 2 and not camera.released
        stream.close()
        assert camera.released
        assert [frame.index for frame in detector.stream('0', max_frames=3)] == [0, 1, 2]
        assert len(read) == 5


def test_stream_refuses_at_once(detector, album):
    with pytest.raises(mmcnn.errors.UsageError, match='there is no image, video or folder'):
        detector.stream(album / 'gone')
    for name in ('batch_size', 'max_frames'):
        with pytest.raises(mmcnn.errors.UsageError, match=f'{name}=0: the value must be at least 1'):
            detector.stream(album, **{name: 0})
    with pytest.raises(mmcnn.errors.DataError, match=r'broken\.jpg is not an image that OpenCV can read'):
        next(detector.stream(album / 'broken.jpg'))


# ---------------------------------------------------------------------------------------------------------- read_image


def test_read_image_gives_bgr(tmp_path):
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[...] = 10, 20, 30
    path = tmp_path / 'größe 多.png'
    Image.fromarray(rgb).save(path)
    image = read_image(path)
    assert (image.shape, image.dtype) == ((2, 3, 3), np.uint8)
    assert image[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', '1', 'I;16'])
def test_read_image_gives_three_channels(mode, tmp_path):
    source = (
        Image.fromarray(np.full((4, 5), 40_000, np.uint16))
        if mode == 'I;16'
        else Image.new('RGB', (5, 4)).convert(mode)
    )
    source.save(tmp_path / 'x.png')
    image = read_image(tmp_path / 'x.png')
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ('orientation', 'upright'),
    [
        (1, lambda stored: stored),
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (5, lambda stored: stored.transpose(1, 0, 2)),
        (6, lambda stored: np.rot90(stored, -1)),  # the top of the scene is on the right of the stored image
        (8, lambda stored: np.rot90(stored, 1)),
    ],
)
def test_read_image_turns_pictures_upright(orientation, upright, tmp_path):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = 255  # the upper left quarter is white
    stored[8:, 16:] = 128
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / 'x.jpg', exif=exif, quality=100)
    image = read_image(tmp_path / 'x.jpg')
    np.testing.assert_allclose(image.astype(int), upright(stored), atol=12)


# --------------------------------------------------------------------------------------------------------- checkpoints


class Call:
    """Is pickled as a call of the function with the arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def changed(checkpoint, path, meta=None, **entries):
    content = torch.load(checkpoint, weights_only=True)
    content['meta'] = content['meta'] | (meta or {})
    torch.save(content | entries, path)
    return path


def test_hostile_checkpoint(trained, tmp_path):
    path = changed(trained.checkpoint, tmp_path / 'x.pth', payload=Call(os.system, f'touch {tmp_path / "ran"}'))
    with pytest.raises(CheckpointError, match=r'x\.pth was rejected: it asks for .*nothing was run'):
        Detector(path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'code',
    [
        'import os',
        'x = __import__("pathlib").Path({marker!r}).touch()',
        'x = (lambda: open({marker!r}, "w"))()',
        'model = dict(type="mmcnn.wired", detector="os.system", command="touch {marker}")',
        'model = dict(type="os.system", command="touch {marker}")',
        'model = dict(type="mmengine.put_text", text="x", filepath={marker!r})',
        'model = dict(type="mmdet.xyz")',
        # MMDetection evaluates it when it builds the model
        'model = dict(type="SingleStageDetector", backbone=dict(type="mmcnn.darknet53"), neck=dict('
        'type="StrongSORTTracker", cmc=dict(type="CameraMotionCompensation", warp_mode="open({marker!r}, \'w\')")))',
    ],
)
def test_recorded_config_that_is_no_data(trained, tmp_path, code):
    text = torch.load(trained.checkpoint, weights_only=True)['meta']['cfg']
    text += code.format(marker=str(tmp_path / 'ran'))
    path = changed(trained.checkpoint, tmp_path / 'x.pth', {'cfg': text})
    with pytest.raises(CheckpointError, match=r'the config inside .*x\.pth was rejected, line \d+'):
        Detector(path)
    assert not (tmp_path / 'ran').exists()
    Detector(path, trained.work_dir / 'yolov4_cspdarknet53.py', device='cpu')  # a config that is passed replaces it


def test_weights_have_to_fit(trained):
    config = Config.fromfile(trained.work_dir / 'yolov4_cspdarknet53.py')
    config.model.bbox_head.anchors = [level[:2] for level in config.model.bbox_head.anchors]
    with pytest.raises(CheckpointError, match=r'does not fit the model: 6 of another shape: bbox_head\.predictions\.0'):
        Detector(trained.checkpoint, config)


def test_no_pretrained_weights_are_fetched(trained, picture):
    config = Config.fromfile(trained.work_dir / 'yolov4_cspdarknet53.py')
    config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='https://127.0.0.1:1/gone.pth')
    assert len(Detector(trained.checkpoint, config, device='cpu', score_thr=0)(picture).boxes)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r'gone\.pth does not exist'):
        mmcnn.Detector(tmp_path / 'gone.pth')


def config_with(classes):
    return Config(dict(test_dataloader=dict(dataset=dict(metainfo=dict(classes=classes)))))


def test_classes_come_from_the_run_else_from_the_config():
    named = config_with(('a', 'b'))
    assert classes_of({'meta': {'dataset_meta': {'classes': ('x', 'y')}}}, named, 'f') == ('x', 'y')
    assert classes_of({'meta': {'dataset_meta': {'CLASSES': ['x', 'y']}}}, named, 'f') == ('x', 'y')
    assert classes_of({'meta': {}}, named, 'f') == ('a', 'b')
    assert classes_of({}, config_with('circle'), 'f') == ('circle',)
    for unknown in (config_with(None), Config()):
        with pytest.raises(CheckpointError, match=r'^f does not name its classes .*: use classes=a,b,c'):
            classes_of({}, unknown, 'f')


def test_pipeline_reads_neither_file_nor_annotations():
    steps = detector_pipeline(load_config('yolov4_cspdarknet53'))
    assert [step.type for step in steps] == ['mmcnn.LetterBox', 'PackDetInputs']


def test_config_by_name(trained):
    """The narrow config is read, whose layers do not fit the checkpoint."""
    with pytest.raises(CheckpointError, match='of another shape'):
        Detector(trained.checkpoint, 'yolov4_cspdarknet53_narrow', device='cpu')
    with pytest.raises(UsageError, match=r"no config file 'yolov4_cspdarknet35'.*did you mean yolov4_cspdarknet53"):
        Detector(trained.checkpoint, 'yolov4_cspdarknet35')


@pytest.mark.parametrize(
    ('device', 'message'),
    [
        ('gpus', 'device=gpus: invalid device; use cpu, cuda or cuda:N$'),
        ('gpu:99', r'device=gpu:99, which is cuda:99: PyTorch sees \d+ CUDA devices on this machine'),
        ('99', r'device=99, which is cuda:99: PyTorch sees \d+ CUDA devices on this machine'),
        ('0,1', r'device=0,1: invalid device; .*; a process uses one GPU, and torchrun starts a process for each'),
        (True, 'device=True: invalid device'),
        (-1, 'device=-1: invalid device'),
        ('meta', 'device=meta: invalid device'),
        ('cuda:99', r'device=cuda:99: PyTorch sees \d+ CUDA devices on this machine'),
        (99, r'device=99, which is cuda:99: PyTorch sees \d+ CUDA devices on this machine'),
    ],
)
def test_no_such_device(trained, device, message):
    with pytest.raises(UsageError, match=message):
        Detector(trained.checkpoint, device=device)


@pytest.mark.parametrize(('name', 'device'), [('gpu', 'cuda'), ('GPU:1', 'cuda:1'), ('0', 'cuda:0'), (1, 'cuda:1')])
def test_a_gpu_by_other_names(monkeypatch, name, device):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert device_called(name) == torch.device(device)


@pytest.mark.parametrize(
    ('score', 'message'),
    [(25, 'between 0 and 1; 25 % is 0.25$'), (-0.1, 'between 0 and 1$'), (float('nan'), 'between')],
)
def test_a_score_that_no_box_can_have(score, message):
    with pytest.raises(UsageError, match=f'score_thr={score}: the value must be {message}'):
        Detector('x.pth', score_thr=score)


def test_a_device_of_pytorch(trained):
    assert next(Detector(trained.checkpoint, device=torch.device('cpu')).model.parameters()).device.type == 'cpu'
