"""With random weights, a file must be as close to float64 as PyTorch's float32 is."""

import numpy as np
import pytest
import torch

from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.deployment.random_weights import spread
from mmcnn.deployment.reference import reference
from mmcnn.deployment.rounding import in_double, no_worse
from tests.deployment.small_detectors import TINY


@pytest.mark.parametrize(
    ('file', 'torch32', 'right'),
    [
        ((4, 0), (0, 0), True),  # 1 % of 400
        ((5, 0), (0, 0), False),
        ((0, 5), (0, 0), False),  # detections only in the file count, too
        ((24, 20), (10, 8), True),  # twice PyTorch's number, and 1 %
        ((25, 20), (10, 8), False),
        ((400, 400), (10, 8), False),
        ((40, 40), (40, 40), True),
        ((41, 0), (41, 0), False),  # PyTorch itself differs too much
        ((400, 400), (200, 200), False),
    ],
)
def test_as_near_to_float64(file, torch32, right):
    assert no_worse(file, torch32, 400) is right


def test_float64_finds_what_float32_finds_and_leaves_the_network_alone():
    options = ExportOptions(source='yolov5_n', img_size=64, cfg_options=TINY)
    plan = plan_export(exportable(options, lambda line: None), options)
    images = [np.random.default_rng(i).integers(0, 256, (64, 48, 3), np.uint8) for i in range(2)]
    spread(plan.found.network, plan.canvases(images))
    for image, precise in zip(images, in_double(plan, images), strict=True):
        found = reference(plan, image)
        assert len(found) and not np.array_equal(precise.scores[:100], found.scores[:100])
        assert len(precise) == pytest.approx(len(found), abs=3)
        assert precise.scores[:20] == pytest.approx(found.scores[:20], abs=1e-4)
    assert {each.dtype for each in plan.found.network.parameters()} == {torch.float32}


def test_padding_of_a_static_canvas_is_said():
    options = ExportOptions(source='yolov5_n', img_size=64, cfg_options=TINY)
    found = exportable(options, lambda line: None)
    (sentence,) = plan_export(found, options).padding
    assert sentence.startswith('every image is padded to 64 x 64 px, but by PyTorch only to the next multiple')
    dynamic = ExportOptions(source='yolov5_n', img_size=64, cfg_options=TINY, dynamic='all')
    assert plan_export(found, dynamic).padding == []
