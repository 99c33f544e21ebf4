import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import mmcnn

GOLDEN = Path(__file__).resolve().parents[2] / 'golden'


@pytest.fixture
def golden(request):
    """Compares a value with the one stored in tests/golden under (file, key), or stores it with --update-golden."""

    def check(file: str, key: str, value):
        path, value = GOLDEN / file, json.loads(json.dumps(value))
        stored = json.loads(path.read_text()) if path.is_file() else {}
        if request.config.getoption('--update-golden'):
            stored[key] = value
            path.write_text(json.dumps(dict(sorted(stored.items())), indent=1) + '\n')
        assert key in stored, f'{key} is not in {path}: run make golden and look at the difference'
        assert stored[key] == value

    return check


@pytest.fixture
def multiply_adds():
    """Counts a classifier's multiply-adds at its own image size, in millions; PyTorch's counter counts each as two."""

    def count(name):
        with torch.device('meta'), FlopCounterMode(display=False) as counter:
            classifier = mmcnn.build_classifier(name).eval()
            classifier(torch.empty(1, 3, classifier.image.size, classifier.image.size))
        return counter.get_total_flops() / 2 / 1e6

    return count


@pytest.fixture
def maps():
    """Gives the channels and the side of the map of each level for an image of ``size`` x ``size`` pixels."""

    def measure(name, size, levels=(1, 2, 3, 4, 5)):
        with torch.device('meta'):
            outputs = mmcnn.build_backbone(name, out_indices=levels)(torch.empty(1, 3, size, size))
        assert all(x.shape[2] == x.shape[3] for x in outputs)
        return [(x.shape[1], x.shape[2]) for x in outputs]

    return measure
