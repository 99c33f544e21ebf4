import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats.darknet_file import is_darknet, read_header
from mmcnn.weights.sources.darknet import order_of, read_darknet, write_darknet

TINY = dict(widen_factor=0.05, deepen_factor=0.1)
HEADER = struct.pack('<3iQ', 0, 2, 5, 6_400_064)


def backbone(name='darknet53', **settings):
    return random_values(mmcnn.build_backbone(name, **TINY, **settings))


def detector(name, classes=3, device='cpu', **settings):
    model = {**load_config(name).model, **settings}
    model['backbone'] = {**model['backbone'], 'init_cfg': None}
    model['bbox_head'] = {**model['bbox_head'], 'num_classes': classes}
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device(device):
        return MODELS.build(model)


def narrow_yolov3():
    head = {**load_config('yolov3_darknet53').model.bbox_head, 'out_channels': [32, 32, 16]}
    neck = dict(type='YOLOV3Neck', num_scales=3, out_channels=[16, 16, 8])
    return detector('yolov3_darknet53', neck=neck, bbox_head=head, widen_factor=0.05)


def random_values(model):
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if key.endswith('running_var') else value.normal_()
    return model


def values(model):
    return {key: value for key, value in model.state_dict().items() if not key.endswith('num_batches_tracked')}


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in state)


@pytest.fixture
def file(tmp_path):
    """A file for ``backbone()``: its path, its bytes and its floats."""
    count = order_of(backbone()).floats - 1000 * 57  # without the classifier's top
    floats = np.random.default_rng(0).uniform(0.5, 1, count).astype('<f4')
    content = HEADER + floats.tobytes()
    path = tmp_path / 'x.conv.74'
    path.write_bytes(content)
    return SimpleNamespace(path=path, content=content, floats=floats)


@pytest.mark.parametrize(
    'make',
    [
        backbone,
        lambda: backbone('cspdarknet53'),
        lambda: random_values(mmcnn.build_classifier('darknet53', 7, **TINY)),
        lambda: random_values(detector('yolov4_cspdarknet53_darknet', widen_factor=0.05, deepen_factor=0.33)),
        lambda: random_values(narrow_yolov3()),
    ],
    ids=['darknet53', 'cspdarknet53', 'classifier', 'yolov4', 'yolov3'],
)
def test_round_trip_is_exact(make, tmp_path):
    model, first, second = make(), tmp_path / 'a.weights', tmp_path / 'b.weights'
    write_darknet(model, first, seen=2**40)
    assert read_header(first) == ((0, 2, 5), 2**40, 20)
    translation = read_darknet(first, model)
    assert not translation.left_out and not translation.absent
    assert_same(translation.state, values(model))
    other = make()
    other.load_state_dict(translation.state, strict=False)
    write_darknet(other, second, seen=2**40)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.weights', 'b.weights']


def test_the_stream_is_read_as_it_lies(file):
    state = read_darknet(file.path, backbone()).state
    assert [f'{key} {tuple(value.shape)}' for key, value in state.items()][:6] == [
        'stem.bn.bias (8,)',
        'stem.bn.weight (8,)',
        'stem.bn.running_mean (8,)',
        'stem.bn.running_var (8,)',
        'stem.conv.weight (8, 3, 3, 3)',
        'stage1.0.bn.bias (8,)',
    ]
    assert (torch.cat([value.flatten() for value in state.values()]).numpy() == file.floats).all()


@pytest.mark.parametrize(
    ('version', 'seen'),
    [((0, 1, 0), 4), ((0, 2, 0), 8), ((0, 2, 5), 8), ((1, 0, 0), 8), ((2, 0, 0), 8)],
)
def test_headers(file, version, seen):
    number = 3_000_000_000 if seen == 4 else 2**40 + 1
    file.path.write_bytes(struct.pack('<3i', *version) + number.to_bytes(seen, 'little') + file.floats.tobytes())
    assert read_header(file.path) == (version, number, 12 + seen)
    state = read_darknet(file.path, backbone()).state
    assert (torch.cat([value.flatten() for value in state.values()]).numpy() == file.floats).all()


def test_recognition():
    assert is_darknet(HEADER, 10**6) and is_darknet(struct.pack('<3iI', 0, 1, 0, 0), 10**6)
    assert is_darknet(struct.pack('>3iQ', 0, 2, 5, 7), 10**6)  # recognized, so that it is refused with a clear message
    assert not is_darknet(HEADER[:8], 8) and not is_darknet(HEADER, 12)
    for other in (
        b'PK\x03\x04' + bytes(60),
        b'\x80\x02' + bytes(60),
        b'\x89HDF\r\n\x1a\n' + bytes(60),
        bytes(64),
        b'a' * 64,
    ):
        assert not is_darknet(other, 10**6)


# ------------------------------------------------------------------------------------------------------------ sizes


def sparse(path, size, header=HEADER):
    with path.open('wb') as file:
        file.write(header)
        file.truncate(size)
    return path


@pytest.mark.parametrize(
    ('name', 'floats'),
    [
        ('darknet53', 40_620_640),
        ('cspdarknet53', 26_652_512),
        ('yolov3_darknet53', 62_001_757),
        ('yolov4_cspdarknet53_darknet', 64_429_405),
        ('yolov4_cspdarknet53_darknet', 42_509_664),
    ],
)
def test_one_float_more_or_less_is_refused(name, floats, tmp_path, monkeypatch):
    if name in mmcnn.list_backbones():
        with torch.device('meta'):
            model = mmcnn.build_backbone(name)
    else:
        model = detector(name, 80, device='meta')
    read_darknet(sparse(tmp_path / 'x', 20 + 4 * floats), model)
    monkeypatch.setattr(np, 'fromfile', lambda *args: pytest.fail('the file was read'))
    for wrong in (floats - 1, floats + 1):
        with pytest.raises(CheckpointError, match=f'^{tmp_path / "x"} has {wrong:,} floats; .* needs .*{floats:,}'):
            read_darknet(sparse(tmp_path / 'x', 20 + 4 * wrong), model)
    for wrong in (1, 3):
        with pytest.raises(CheckpointError, match=f'is truncated or damaged: {wrong} bytes follow its'):
            read_darknet(sparse(tmp_path / 'x', 20 + 4 * floats + wrong), model)


def test_a_size_is_explained(tmp_path):
    model = detector('yolov4_cspdarknet53_darknet', 20, device='meta')
    path = tmp_path / 'x.weights'
    with pytest.raises(CheckpointError) as error:
        read_darknet(sparse(path, 248_007_048), model)
    assert str(error.value) == (
        f'{path} has 62,001,757 floats, like yolov3.weights; YOLOv4 on cspdarknet53 with 20 classes needs '
        '64,106,305 or 26,652,512 (.conv.105) or 42,509,664 (.conv.137)'
    )
    with pytest.raises(CheckpointError, match=r'64,429,405 floats, like yolov4\.weights; cspdarknet53 needs 27,677,'):
        read_darknet(sparse(path, 257_717_640), model.backbone)


@pytest.mark.slow
def test_a_head_of_another_class_count_has_its_own_shapes(tmp_path):
    model = detector('yolov4_cspdarknet53_darknet', 20, device='meta')
    state = read_darknet(sparse(tmp_path / 'x', 257_717_640), model).state  # yolov4.weights: 80 classes
    other = {key: value.shape for key, value in state.items() if value.shape != model.state_dict()[key].shape}
    assert other == {
        f'bbox_head.predictions.{level}.{kind}': torch.Size(shape)
        for level, channels in enumerate((256, 512, 1024))
        for kind, shape in (('bias', (255,)), ('weight', (255, channels, 1, 1)))
    }
    with pytest.raises(CheckpointError, match=r'6 of another shape: .*with allow_head_mismatch=True'):
        mmcnn.load_weights(detector('yolov4_cspdarknet53_darknet', 20), tmp_path / 'x')


@pytest.mark.parametrize(
    ('config', 'settings', 'size', 'words'),
    [
        ('yolov4_cspdarknet53', {}, 257_717_640, r"decoding \(scale_xy 2\.0, size 'sigmoid'; Darknet: \(1\.2, 1\.1, "),
        (
            'yolov4_cspdarknet53_darknet',
            dict(anchors=[[(9, 9)] * 3] * 3),
            257_717_640,
            r'anchors \(\(\(9, 9\), .*Darknet: \(\(12, 16',
        ),
        (
            'yolov3_darknet53',
            dict(anchor_generator=dict(type='YOLOAnchorGenerator', base_sizes=[[(9, 9)] * 3] * 3, strides=[32, 16, 8])),
            248_007_048,
            r'anchors \(\(\(9, 9\), .*Darknet: \(\(10, 13',
        ),
    ],
)  # fmt: skip
def test_predictions_that_would_be_other_boxes_are_refused(config, settings, size, words, tmp_path):
    head = {**load_config(config).model.bbox_head, **settings}
    model = detector(config, 80, device='meta', bbox_head=head)
    with pytest.raises(CheckpointError, match=rf'holds predictions for other {words}'):
        read_darknet(sparse(tmp_path / 'x', size), model)


def test_huge_files_are_refused_by_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(np, 'fromfile', lambda *args: pytest.fail('the file was read'))
    with pytest.raises(CheckpointError, match='has 12,499,999,996 floats; darknet53 needs'):
        read_darknet(sparse(tmp_path / 'x.weights', 50_000_000_004), backbone())
    with pytest.raises(CheckpointError, match='begins with the bytes 00 00'):
        read_darknet(sparse(tmp_path / 'x.weights', 50_000_000_004, header=b''), backbone())


# ---------------------------------------------------------------------------------------------------- hostile files

FOREIGN = {
    'html': (
        b'<!DOCTYPE html>\n<html><head><title>404',
        "a web page, probably from a failed .* with '<!DOCTYPE html>'",
    ),
    'text': (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:',
        "a text file that begins with 'version https://git-",
    ),
    'short text': (b'gone', "a text file that begins with 'gone'"),
    'zip': (b'PK\x03\x04' + bytes(40), r'a zip archive \(\.pth, \.pt or \.npz\)'),
    'pickle': (b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.', r'a pickle \(an old \.pth or \.pt file\)'),
    'hdf5': (b'\x89HDF\r\n\x1a\n' + bytes(40), r'an HDF5 file \(\.h5\)'),
    'safetensors': (struct.pack('<Q', 64) + b'{"__metadata__":{}}' + bytes(40), r'a \.safetensors file'),
    'big-endian': (struct.pack('>3iQ', 0, 2, 5, 1) + bytes(40), 'a file in big-endian byte order'),
    'noise': (bytes(range(200, 240)), 'an unknown file that begins with the bytes c8 c9'),
    'zeros': (bytes(64), 'an unknown file that begins with the bytes 00 00'),
    'a version that never was': (struct.pack('<3iQ', 0, 17, 0, 0) + bytes(64), 'an unknown file'),
}


@pytest.mark.parametrize('kind', FOREIGN)
def test_other_files_are_named(kind, tmp_path):
    content, said = FOREIGN[kind]
    path = tmp_path / 'x.weights'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f'^{path} is not a Darknet weight file but {said}'):
        read_darknet(path, backbone())


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match='does not exist'):
        read_darknet(tmp_path / 'x.weights', backbone())
    with pytest.raises(CheckpointError, match='is a folder'):
        read_darknet(tmp_path, backbone())
    (tmp_path / 'x.weights').touch()
    with pytest.raises(CheckpointError, match='is empty'):
        read_darknet(tmp_path / 'x.weights', backbone())


@pytest.mark.parametrize('size', [12, 15, 19])
def test_half_a_header(size, tmp_path):
    (tmp_path / 'x').write_bytes(HEADER[:size])
    with pytest.raises(CheckpointError, match='is truncated within its header of 20 bytes'):
        read_darknet(tmp_path / 'x', backbone())
    assert not is_darknet(HEADER[:size], size) or size >= 16


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, -1e-30])
def test_values_that_no_training_leaves(file, bad):
    # The stem's 8 variances follow its beta, gamma and mean; stage1 follows the stem.
    variances, next_layer = 3 * 8, 4 * 8 + 8 * 27
    floats = file.floats.copy()
    floats[[variances, next_layer]] = bad
    file.path.write_bytes(HEADER + floats.tobytes())
    said = 'negative variances' if bad == -1e-30 else 'NaN or infinite values'
    with pytest.raises(CheckpointError, match=rf'^{file.path}: stem\.bn\.running_var has {said}$'):
        read_darknet(file.path, backbone())


def test_a_negative_mean_or_beta_is_none_of_them(file):
    floats = file.floats.copy()
    floats[[0, 8, 16, 32]] *= -1
    file.path.write_bytes(HEADER + floats.tobytes())
    assert read_darknet(file.path, backbone()).state['stem.bn.running_mean'][0] < 0


def test_a_file_that_shrinks_while_it_is_read(file, monkeypatch):
    real = np.fromfile
    monkeypatch.setattr(np, 'fromfile', lambda *args: real(*args)[:-1])
    with pytest.raises(CheckpointError, match='became shorter while it was read'):
        read_darknet(file.path, backbone())


# ---------------------------------------------------------------------------------------------------------- writing


def test_what_is_not_written(tmp_path):
    path = tmp_path / 'x.weights'
    path.write_bytes(b'before')
    broken, folded = backbone(), mmcnn.fuse(backbone())
    broken.stage5[0].bn.running_var[0] = -1
    for model, said in (
        (broken, r'stage5\.0\.bn\.running_var has negative variances'),
        (folded, 'is not a convolution followed by BatchNorm'),
        (backbone(out_indices=(2, 3)), r'darknet53 is not built as far as stage5\..*: build it with its last level'),
        (mmcnn.build_backbone('vgg16', widen_factor=0.1), 'Darknet has no weight files for vgg16'),
    ):
        with pytest.raises(CheckpointError, match=said):
            write_darknet(model, path)
    with pytest.raises(CheckpointError, match=r'cannot be written: No such file'):
        write_darknet(backbone(), tmp_path / 'nowhere' / 'x.weights')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(CheckpointError, match='cannot be written: Is a directory'):
        write_darknet(backbone(), tmp_path / 'folder')
    assert path.read_bytes() == b'before' and sorted(p.name for p in tmp_path.iterdir()) == ['folder', 'x.weights']


def test_half_precision_is_written_as_float32(tmp_path):
    model = backbone().half()
    write_darknet(model, tmp_path / 'x.weights')
    assert_same(read_darknet(tmp_path / 'x.weights', model).state, {k: v.float() for k, v in values(model).items()})
