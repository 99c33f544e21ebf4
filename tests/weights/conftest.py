"""An independent YOLOv5 whose modules, names and entries match ultralytics' files, and a writer of Keras files."""

import contextlib
import sys
import types
from types import SimpleNamespace

import pytest
import torch
from torch import nn

SIZES = {
    'n': (0.33, 0.25),
    's': (0.33, 0.5),
    'm': (0.67, 0.75),
    'l': (1.0, 1.0),
    'x': (1.33, 1.25),
    'tiny': (0.33, 0.125),
}
ANCHORS = [
    [(10, 13), (16, 30), (33, 23)],
    [(30, 61), (62, 45), (59, 119)],
    [(116, 90), (156, 198), (373, 326)],
]


class Conv(nn.Module):
    def __init__(self, c1, c2, k=1, s=1, p=None):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2 if p is None else p, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, c, add):
        super().__init__()
        self.cv1, self.cv2, self.add = Conv(c, c), Conv(c, c, 3), add

    def forward(self, x):
        return self.cv2(self.cv1(x)) + (x if self.add else 0)


class C3(nn.Module):
    def __init__(self, c1, c2, n, add=True):
        super().__init__()
        self.cv1, self.cv2, self.cv3 = Conv(c1, c2 // 2), Conv(c1, c2 // 2), Conv(c2, c2)
        self.m = nn.Sequential(*(Bottleneck(c2 // 2, add) for _ in range(n)))

    def forward(self, x):
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))


class SPP(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, c1 // 2), Conv(2 * c1, c2)
        self.m = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))

    def forward(self, x):
        x = self.cv1(x)
        return self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))


class SPPF(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.cv1, self.cv2, self.m = Conv(c1, c1 // 2), Conv(2 * c1, c2), nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        x = self.cv1(x)
        y1 = self.m(x)
        y2 = self.m(y1)
        return self.cv2(torch.cat([x, y1, y2, self.m(y2)], 1))


class Focus(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.conv = Conv(4 * c1, c2, 3)

    def forward(self, x):
        corners = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        return self.conv(torch.cat(corners, 1))


class Concat(nn.Module):
    def forward(self, *maps):
        return torch.cat(maps, 1)


class Detect(nn.Module):
    def __init__(self, nc, channels, old):
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, len(channels), 3
        self.stride = torch.tensor([8.0, 16.0, 32.0])
        pixels = torch.tensor(ANCHORS, dtype=torch.float)
        self.register_buffer('anchors', pixels / self.stride[:, None, None])
        if old:
            self.register_buffer('anchor_grid', pixels.view(3, 1, 3, 1, 1, 2))
        self.grid = [torch.zeros(1)] * 3
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * self.no, 1) for c in channels)

    def forward(self, *maps):
        return [conv(x) for conv, x in zip(self.m, maps, strict=True)]


class Model(nn.Module):
    """YOLOv5 as a list of layers; ``inputs`` maps a layer to the earlier layers it reads (default: the last one)."""

    inputs = {12: (11, 6), 16: (15, 4), 19: (18, 14), 22: (21, 10), 24: (17, 20, 23)}

    def __init__(self, size='n', focus=False, nc=3):
        super().__init__()
        d, w = SIZES[size]
        c1, c2, c3, c4, c5 = (-(-int(c * w) // 8) * 8 for c in (64, 128, 256, 512, 1024))
        n = max(round(3 * d), 1)
        n6, n9 = max(round(6 * d), 1), max(round(9 * d), 1)
        tail = [SPP(c5, c5), C3(c5, c5, n, add=False)] if focus else [C3(c5, c5, n), SPPF(c5, c5)]
        self.model = nn.Sequential(
            Focus(3, c1) if focus else Conv(3, c1, 6, 2, 2),
            *(Conv(c1, c2, 3, 2), C3(c2, c2, n)),
            *(Conv(c2, c3, 3, 2), C3(c3, c3, n9 if focus else n6)),
            *(Conv(c3, c4, 3, 2), C3(c4, c4, n9)),
            *(Conv(c4, c5, 3, 2), *tail),
            *(Conv(c5, c4), nn.Upsample(scale_factor=2), Concat(), C3(2 * c4, c4, n, add=False)),
            *(Conv(c4, c3), nn.Upsample(scale_factor=2), Concat(), C3(2 * c3, c3, n, add=False)),
            *(Conv(c3, c3, 3, 2), Concat(), C3(2 * c3, c4, n, add=False)),
            *(Conv(c4, c4, 3, 2), Concat(), C3(2 * c4, c5, n, add=False)),
            Detect(nc, (c3, c4, c5), old=focus),
        )
        self.names = [f'thing {i}' for i in range(nc)] if focus else {i: f'thing {i}' for i in range(nc)}
        self.stride, self.yaml = self.model[-1].stride, {'nc': nc}

    def maps(self, x):
        """Return the output of every layer."""
        outputs = []
        for i, layer in enumerate(self.model):
            inputs = [outputs[j] for j in self.inputs[i]] if i in self.inputs else [outputs[-1] if outputs else x]
            outputs.append(layer(*inputs))
        return outputs

    def boxes(self, logits):
        """Decode raw maps to (N, all anchors, 5 + classes): xywh in pixels, objectness and class scores from 0 to 1."""
        found = []
        for level, raw in enumerate(logits):
            n, _, h, w = raw.shape
            stride, anchors = (8, 16, 32)[level], torch.tensor(ANCHORS[level], dtype=torch.float)
            y = raw.view(n, 3, -1, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
            xy = (2 * y[..., :2] - 0.5 + torch.stack([columns, rows], -1)) * stride
            wh = (2 * y[..., 2:4]) ** 2 * anchors[None, :, None, None]
            found.append(torch.cat([xy, wh, y[..., 4:]], -1).flatten(1, 3))
        return torch.cat(found, 1)


COMMON = (Conv, Bottleneck, C3, SPP, SPPF, Focus, Concat)


@contextlib.contextmanager
def under_their_names(renamed=()):
    """Give the classes and modules their names in ultralytics' code while something is pickled."""
    classes = {**dict.fromkeys(COMMON, 'models.common'), Detect: 'models.yolo', Model: 'models.yolo', **dict(renamed)}
    before = {cls: (cls.__module__, cls.__name__, cls.__qualname__) for cls in classes}
    modules = {}
    for cls, name in classes.items():
        module, _, new = name.partition(':')
        cls.__module__ = module
        cls.__name__ = cls.__qualname__ = new or cls.__name__
        for path in (module, *(module[:i] for i, c in enumerate(module) if c == '.')):
            modules.setdefault(path, types.ModuleType(path))
        setattr(modules[module], cls.__name__, cls)
    assert not modules.keys() & sys.modules.keys()
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        for cls, (module, name, qualname) in before.items():
            cls.__module__, cls.__name__, cls.__qualname__ = module, name, qualname


def random_model(*args, **kwargs):
    """Random weights and statistics, exact in half precision."""
    model = Model(*args, **kwargs)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            module.num_batches_tracked.fill_(7)
    return model.half().float().eval()


@pytest.fixture(scope='session')
def yolov5():
    """The independent YOLOv5: ``yolov5.model('n', focus=False, nc=3)``, ``yolov5.save(model, path)``, its classes."""

    def save(model, path, zipped=True, renamed=(), **entries):
        content = {'epoch': -1, 'best_fitness': None, 'model': model, 'ema': None, 'optimizer': None, **entries}
        with under_their_names(renamed=renamed):
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
        return path

    classes = {cls.__name__: cls for cls in (*COMMON, Detect, Model)}
    return SimpleNamespace(model=random_model, save=save, **classes)


@pytest.fixture(scope='session')
def write_keras_h5():
    """Write one of Keras's older ``.h5`` files by hand: layer -> full name of each array -> values."""
    h5py = pytest.importorskip('h5py')

    def write(path, layers, root=''):
        with h5py.File(path, 'w') as file:
            tree = file.create_group(root) if root else file
            tree.attrs['layer_names'] = [name.encode() for name in layers]
            for layer, arrays in layers.items():
                group = tree.create_group(layer)
                group.attrs['weight_names'] = [name.encode() for name in arrays]
                for name, array in arrays.items():
                    group[name] = array
        return path

    return write
