"""Predictions in mixed precision on the simulated device: no fault, no more waits, and no weight converted again."""

import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope

from mmcnn.config.load import load_config
from mmcnn.models.fuse import fuse
from mmcnn.models.mixed_precision import use_mixed_precision
from mmcnn.models.wiring import wire
from mmcnn.registry import MODELS
from tests.cuda_simulation.recipes import RECIPES, SIZE


def built(recipe):
    cfg = load_config(recipe.config)
    cfg.merge_from_dict({key: value for key, value in recipe.options.items() if key.startswith('model.')})
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(wire(cfg.model)).eval()


def predicted(gpu, model):
    """Predict for two images, twice, and return the results and the record of the second time."""
    meta = dict(dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (SIZE, SIZE)), scale_factor=(1.0, 1.0))
    images = torch.rand(2, 3, SIZE, SIZE).to('cuda')
    for _ in range(2):
        with torch.no_grad(), gpu.recorded() as record:
            results = model(images, [DetDataSample(metainfo=meta) for _ in images], mode='predict')
    return results, record


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=['fp16', 'bf16'])
@pytest.mark.parametrize('name', ['yolov3', 'yolov4', 'yolov5', 'faster_rcnn'])
def test_a_prediction_in_mixed_precision(name, dtype, simulate):
    model = built(RECIPES[name])
    with simulate() as gpu:
        exact = fuse(model.to('cuda'))
        mixed = copy.deepcopy(exact)
        use_mixed_precision(mixed, dtype)
        _, of_exact = predicted(gpu, exact)
        with torch.autocast('cuda', dtype):
            _, of_autocast = predicted(gpu, exact)
        results, of_mixed = predicted(gpu, mixed)
        for each in results:
            assert each.pred_instances.bboxes.dtype == each.pred_instances.scores.dtype == torch.float32
            assert len(each.pred_instances) > 0
    assert not of_mixed.faults
    assert of_mixed.waits.total() - of_mixed.waits_in_nms <= of_exact.waits.total() - of_exact.waits_in_nms
    # A convolution's weight and bias are two conversions of autocast.
    convolutions = sum(
        isinstance(module, torch.nn.Conv2d) for part in (mixed.backbone, mixed.neck) for module in part.modules()
    )
    assert of_mixed.kernels.total() <= of_autocast.kernels.total() - convolutions
