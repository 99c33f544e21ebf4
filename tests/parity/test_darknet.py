"""Darknet's weights files against networks that are computed directly from the file, layer by layer as in the cfg."""

import math
import struct

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from torch.nn import functional as F

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.weights.sources.darknet import read_darknet

CLASSES = 80
IMAGE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
NEW, OLD = struct.pack('<3iQ', 0, 2, 5, 32013312), struct.pack('<3iI', 0, 1, 0, 32013312)

# -------------------------------------------------------- the peer: layers of the cfg files, and a network from them
# A layer: ('conv', filters, size, stride, activation), ('shortcut', from), ('route', from, ...), ('upsample',),
# ('maxpool', size), ('avgpool',), ('yolo',). A negative ``from`` is relative. 'linear' has a bias and no BatchNorm.


def conv(filters, size=1, stride=1, act='leaky'):
    return ('conv', filters, size, stride, act)


def residuals(filters, hidden, count, act):
    return [conv(hidden, 1, 1, act), conv(filters, 3, 1, act), ('shortcut', -3)] * count


def darknet53():
    layers = [conv(32, 3)]
    for filters, count in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        layers += [conv(filters, 3, 2), *residuals(filters, filters // 2, count, 'leaky')]
    return layers  # 0 to 74


def csdarknet53():
    layers = [conv(32, 3, 1, 'mish')]
    for filters, path, hidden, count in (
        (64, 64, 32, 1), (128, 64, 64, 2), (256, 128, 128, 8), (512, 256, 256, 8), (1024, 512, 512, 4)
    ):  # fmt: skip
        layers += [conv(filters, 3, 2, 'mish'), conv(path, act='mish'), ('route', -2), conv(path, act='mish')]
        layers += residuals(path, hidden, count, 'mish')
        layers += [conv(path, act='mish'), ('route', -1, -4 - 3 * count), conv(filters, act='mish')]
    return layers  # 0 to 104


def five(c):
    return [conv(c), conv(2 * c, 3), conv(c), conv(2 * c, 3), conv(c)]


def head(c):
    return [conv(2 * c, 3), conv(3 * (5 + CLASSES), act='linear'), ('yolo',)]


def yolov3():
    return [
        *darknet53(), *five(512), *head(512),
        ('route', 79), conv(256), ('upsample',), ('route', 85, 61), *five(256), *head(256),
        ('route', 91), conv(128), ('upsample',), ('route', 97, 36), *five(128), *head(128),
    ]  # fmt: skip


def yolov4():
    return [
        *csdarknet53(), conv(512), conv(1024, 3), conv(512),  # 107
        ('maxpool', 5), ('route', 107), ('maxpool', 9), ('route', 107), ('maxpool', 13),  # 112
        ('route', 112, 110, 108, 107), conv(512), conv(1024, 3), conv(512),  # 116
        conv(256), ('upsample',), ('route', 85), conv(256), ('route', 120, 118), *five(256),  # 126
        conv(128), ('upsample',), ('route', 54), conv(128), ('route', 130, 128), *five(128), *head(128),  # 139
        ('route', 136), conv(256, 3, 2), ('route', 141, 126), *five(256), *head(256),  # 150
        ('route', 147), conv(512, 3, 2), ('route', 152, 116), *five(512), *head(512),  # 161
    ]  # fmt: skip


def classifier(trunk):
    return [*trunk, ('avgpool',), conv(1000, act='linear')]


def convolutions(layers):
    """(channels in, layer) of each convolution."""
    channels, found = [], []
    for layer in layers:
        if layer[0] == 'conv':
            found.append((channels[-1] if channels else 3, layer))
        route = layer[1:] if layer[0] == 'route' else (-1,)
        channels.append(layer[1] if layer[0] == 'conv' else sum(channels[j] for j in route))
    return found


def floats_of(layers):
    return sum(n * (4 - 3 * (act == 'linear')) + n * c * k * k for c, (_, n, k, _, act) in convolutions(layers))


def stream(layers, seed=0):
    """Random weights and statistics, float32 in the file's order."""
    rng, parts = np.random.default_rng(seed), []
    for channels, (_, n, k, _, act) in convolutions(layers):
        parts.append(rng.uniform(-0.2, 0.2, n))
        if act != 'linear':
            parts += [rng.uniform(0.5, 1.0, n), rng.uniform(-0.2, 0.2, n), rng.uniform(0.5, 1.5, n)]
        weights = rng.random(n * channels * k * k, np.float32)
        weights -= 0.5
        weights *= math.sqrt((12 if act != 'linear' else 2) / (channels * k * k))
        parts.append(weights)
    return np.concatenate([part.astype(np.float32) for part in parts])


def run(layers, floats, image):
    """Output of each layer; every float has to be used."""
    outputs, position = [], 0

    def take(*shape):
        nonlocal position
        position += math.prod(shape)
        return torch.from_numpy(floats[position - math.prod(shape) : position]).view(shape)

    for kind, *args in layers:
        x = outputs[-1] if outputs else image
        if kind == 'conv':
            n, size, stride, act = args
            bias = take(n)
            norm = None if act == 'linear' else [take(n), take(n), take(n)]
            x = F.conv2d(x, take(n, x.shape[1], size, size), None if norm else bias, stride, size // 2)
            if norm:
                gamma, mean, variance = norm
                x = F.batch_norm(x, mean, variance, gamma, bias, eps=1e-5)
            x = dict(linear=lambda x: x, leaky=lambda x: F.leaky_relu(x, 0.1), mish=F.mish)[act](x)
        elif kind == 'route':
            x = torch.cat([outputs[j] for j in args], dim=1)
        elif kind == 'shortcut':
            x = x + outputs[args[0]]
        elif kind == 'upsample':
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        elif kind == 'maxpool':
            x = F.max_pool2d(x, args[0], stride=1, padding=args[0] // 2)
        elif kind == 'avgpool':
            x = x.mean(dim=(2, 3), keepdim=True)
        outputs.append(x)
    assert position == len(floats)
    return outputs


# --------------------------------------------------------------------------------------------------------- the tests


def detector(config, device='cpu'):
    model = dict(load_config(config).model)
    model['backbone'] = {**model['backbone'], 'init_cfg': None}
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device(device):
        return MODELS.build(model).eval()


def write(path, floats, header=NEW):
    path.write_bytes(header + floats.tobytes())
    return path


def load(model, path):
    translation = read_darknet(path, model)
    missing, unexpected = model.load_state_dict(translation.state, strict=False)
    assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)
    return translation


@pytest.fixture
def assert_equal_maps(record_property):
    """``assert_equal_maps(name, cfg, suffix, ours, expected)``; the first three identify the row of docs/parity.md."""

    def check(name, cfg, suffix, ours, expected):
        for a, b in zip(ours, expected, strict=True):
            assert b.std() > 1e-2 * b.abs().max()  # a constant would prove nothing
            assert a.shape == b.shape
        difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, expected, strict=True))
        record_property('parity', (name, f'darknet {cfg}', suffix, difference))
        assert difference < 1e-4

    return check


@pytest.fixture(autouse=True)
def _tidy(tmp_path):
    yield
    for path in tmp_path.iterdir():  # pytest would keep a gigabyte
        path.unlink()


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Makes, once for each detector, its layers, its floats, the output of each layer, and its file."""
    made, folder = {}, tmp_path_factory.mktemp('darknet')

    def make(layers):
        if layers not in made:
            cfg = layers()
            floats = stream(cfg)
            path = write(folder / f'{layers.__name__}.weights', floats)
            with torch.no_grad():
                made[layers] = cfg, floats, run(cfg, floats, IMAGE), path
        return made[layers]

    yield make
    for *_, path in made.values():
        path.unlink()


@pytest.mark.parametrize(
    ('variant', 'header', 'layers', 'cut', 'maps'),
    [
        ('darknet53', OLD, yolov3, 74, (0, 4, 11, 36, 61, 74)),
        ('cspdarknet53', NEW, yolov4, 105, (0, 10, 23, 54, 85, 104)),
    ],
)
def test_backbones(files, assert_equal_maps, tmp_path, variant, header, layers, cut, maps):
    cfg, floats, outputs, _ = files(layers)
    path = write(tmp_path / f'x.conv.{cut}', floats[: floats_of(cfg[:cut])], header)
    backbone = mmcnn.build_backbone(variant, out_indices=(0, 1, 2, 3, 4, 5)).eval()
    translation = load(backbone, path)
    assert not translation.left_out and not translation.absent
    with torch.no_grad():
        expected = [outputs[i] for i in maps]
        assert_equal_maps(variant, f'{layers.__name__}.cfg', f'.conv.{cut}', backbone(IMAGE), expected)


def decoded(maps, anchors, scales):
    """Boxes (x1, y1, x2, y2), objectness and class scores of prediction maps, by Darknet's formulas."""
    found = []
    for x, sizes, scale in zip(maps, anchors, scales, strict=True):
        _, _, height, width = x.shape
        stride = IMAGE.shape[3] / width
        for a, (w, h) in enumerate(sizes):
            tx, ty, tw, th, *rest = x[0, a * (5 + CLASSES) : (a + 1) * (5 + CLASSES)]
            columns, rows = torch.arange(width)[None, :], torch.arange(height)[:, None]
            cx = (columns + scale * tx.sigmoid() - (scale - 1) / 2) * stride
            cy = (rows + scale * ty.sigmoid() - (scale - 1) / 2) * stride
            bw, bh = w * tw.exp(), h * th.exp()
            box = torch.stack([cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2], dim=-1)
            found.append(torch.cat([box, torch.stack(rest, dim=-1).sigmoid()], dim=-1).flatten(0, 1))
    return torch.cat(found).split([4, 1, CLASSES], dim=1)


def test_yolov3(files, assert_equal_maps):
    _, _, outputs, path = files(yolov3)
    model = detector('yolov3_darknet53')
    translation = load(model, path)
    assert not translation.left_out and not translation.absent
    maps = [outputs[i] for i in (81, 93, 105)]
    with torch.no_grad():
        assert_equal_maps('yolov3_darknet53', 'yolov3.cfg', '.weights', model(IMAGE, mode='tensor')[0], maps)
        meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1, 1))
        cfg = model.test_cfg | dict(conf_thr=-1, score_thr=-1, nms_pre=10**6)
        (found,) = model.bbox_head.predict_by_feat(model(IMAGE, mode='tensor')[0], [meta], cfg, with_nms=False)
    anchors = [[(116, 90), (156, 198), (373, 326)], [(30, 61), (62, 45), (59, 119)], [(10, 13), (16, 30), (33, 23)]]
    boxes, objectness, scores = decoded(maps, anchors, (1, 1, 1))
    for label in (0, 79):
        ours = found[found.labels == label]
        best = scores[:, label].argsort(descending=True)
        torch.testing.assert_close(ours.scores, (scores[:, label] * objectness[:, 0])[best], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours.bboxes, boxes[best], rtol=1e-4, atol=1e-2)


def test_yolov4(files, assert_equal_maps):
    _, _, outputs, path = files(yolov4)
    model = detector('yolov4_cspdarknet53_darknet')
    translation = load(model, path)
    assert not translation.left_out and not translation.absent
    maps = [outputs[i] for i in (138, 149, 160)]
    with torch.no_grad():
        ours = model(IMAGE, mode='tensor')[0]
        assert_equal_maps('yolov4_cspdarknet53_darknet', 'yolov4.cfg', '.weights', ours, maps)
        cfg = dict(score_thr=-1, multi_label=False, nms_pre=10**6)  # one label per box, in the order of the boxes
        (found,) = model.bbox_head.predict_by_feat(ours, [dict(img_shape=(64, 96))], cfg, with_nms=False)
    anchors = [[(12, 16), (19, 36), (40, 28)], [(36, 75), (76, 55), (72, 146)], [(142, 110), (192, 243), (459, 401)]]
    boxes, objectness, scores = decoded(maps, anchors, (1.2, 1.1, 1.05))
    inside = torch.minimum(boxes.clamp(min=0), torch.tensor([96.0, 64.0, 96.0, 64.0]))
    assert (inside != boxes).float().mean() < 0.9 and len(boxes) == 3 * (8 * 12 + 4 * 6 + 2 * 3)
    torch.testing.assert_close(found.bboxes, inside, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.scores, (scores * objectness).amax(1), rtol=1e-4, atol=1e-6)
    assert (found.labels == (scores * objectness).argmax(1)).float().mean() > 0.99  # scores may be equal


def test_cut_off_in_the_neck(files, assert_equal_maps, tmp_path):
    cfg, floats, outputs, _ = files(yolov4)
    path = write(tmp_path / 'yolov4.conv.137', floats[: floats_of(cfg[:137])])
    model = detector('yolov4_cspdarknet53_darknet', device='meta')
    translation = read_darknet(path, model)
    ((reason, absent),) = translation.absent.items()
    assert reason == 'after the end of .conv.137' and not translation.left_out
    assert {key.rpartition('.')[0].removesuffix('.conv').removesuffix('.bn') for key in absent} == {
        'neck.down3', 'neck.down4', *(f'neck.bottom_up{i}.{j}' for i in (4, 5) for j in range(5)),
        *(f'bbox_head.{kind}.{i}' for kind in ('bridges', 'predictions') for i in range(3)),
    }  # fmt: skip
    every = {key for key in model.state_dict() if not key.endswith('num_batches_tracked')}
    assert every == {*translation.state, *absent} and not set(translation.state) & set(absent)
    rest = {key: torch.zeros(model.state_dict()[key].shape) for key in absent}
    model.load_state_dict({**translation.state, **rest}, strict=False, assign=True)
    with torch.no_grad():
        ours = model.neck(model.backbone(IMAGE))[:1]
        assert_equal_maps('yolov4_cspdarknet53_darknet', 'yolov4.cfg', '.conv.137', ours, [outputs[136]])


@pytest.mark.parametrize(
    ('config', 'layers', 'cut', 'parts'),
    [
        ('yolov3_darknet53', yolov3, 74, {'backbone'}),
        ('yolov3_darknet53', yolov3, 81, {'backbone', 'neck.detect1', 'bbox_head.convs_bridge.0'}),
        ('yolov4_cspdarknet53_darknet', yolov4, 105, {'backbone'}),
    ],
)
def test_cut_off_into_a_detector(files, tmp_path, config, layers, cut, parts):
    cfg, floats, _, whole = files(layers)
    path = write(tmp_path / f'x.conv.{cut}', floats[: floats_of(cfg[:cut])])
    model = detector(config, device='meta')
    translation, complete = read_darknet(path, model), read_darknet(whole, model).state
    assert set(translation.absent) == {f'after the end of .conv.{cut}'}
    filled = {key for key in complete if any(key.startswith(f'{part}.') for part in parts)}
    assert set(translation.state) == filled and set(complete) - filled == set(*translation.absent.values())
    assert all(torch.equal(translation.state[key], complete[key]) for key in filled)


@pytest.mark.parametrize(('variant', 'trunk'), [('darknet53', darknet53), ('cspdarknet53', csdarknet53)])
def test_classifiers(assert_equal_maps, tmp_path, variant, trunk):
    cfg = [*trunk(), ('avgpool',), conv(1000, act='linear')]
    floats = stream(cfg)
    path = write(tmp_path / 'x.weights', floats)
    model = mmcnn.build_classifier(variant).eval()
    translation = load(model, path)
    assert not translation.left_out and not translation.absent
    with torch.no_grad():
        expected = run(cfg, floats, IMAGE)[-1].flatten(1)
        assert_equal_maps(variant, f'{trunk.__name__}.cfg', '.weights', [model(IMAGE)], [expected])

    top = ['top.classes.bias', 'top.classes.weight']
    cut = write(tmp_path / 'x.conv', floats[: floats_of(trunk())])
    (absent,) = read_darknet(cut, model).absent.values()
    assert absent == top

    whole = {key.removeprefix('backbone.'): value for key, value in translation.state.items()}
    for levels, unbuilt in (((3, 4, 5), ()), ((2, 3), ('stage4.', 'stage5.'))):
        with torch.device('meta'):
            bare = mmcnn.build_backbone(variant, out_indices=levels)
        translation = read_darknet(path, bare)
        left_out = {'the top of the classifier': top}
        if unbuilt:
            left_out['stages that are not built'] = [key for key in whole if key.startswith(unbuilt)]
        assert translation.left_out == left_out and not translation.absent
        kept = {key for key in whole if not key.startswith(('top.', *unbuilt))}
        assert set(translation.state) == kept
        assert all(torch.equal(translation.state[key], whole[key]) for key in kept)
