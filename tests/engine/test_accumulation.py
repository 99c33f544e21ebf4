"""Accumulation through MMEngine's own OptimWrapper: four micro-batches step as the whole batch does."""

import copy

import torch
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData

from mmcnn import cli
from mmcnn.registry import MODELS


def test_four_micro_batches_step_as_the_batch():
    cfg = cli.load_config('yolov4_cspdarknet53', {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33})
    cfg.model.bbox_head.num_classes = 3
    whole = MODELS.build(cfg.model).double().eval()  # BatchNorm's statistics depend on the batch, so they are fixed
    parts = copy.deepcopy(whole)
    images = torch.rand(16, 3, 64, 64, dtype=torch.float64)
    # Box and class terms are means over positives, so each micro-batch has the same number of them on each level.
    boxes = torch.tensor([[8.0, 8.0, 30.0, 34.0], [20.0, 4.0, 62.0, 60.0]])
    truth = [InstanceData(bboxes=boxes, labels=torch.tensor([0, 2])) for _ in images]

    def step(model, micro_batches):
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01), accumulative_counts=micro_batches)
        wrapper.initialize_count_status(model, 0, micro_batches)
        size = len(images) // micro_batches
        for i in range(micro_batches):
            with wrapper.optim_context(model):
                logits = model.bbox_head(model.extract_feat(images[i * size : (i + 1) * size]))
                losses = model.bbox_head.loss_by_feat(*logits, truth[i * size : (i + 1) * size], [{}] * size)
            wrapper.update_params(sum(losses.values()))

    before = copy.deepcopy(whole.state_dict())
    step(whole, 1)
    step(parts, 4)
    moved = 0
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, msg=lambda text, name=name: f'{name}: {text}')
        moved += not torch.equal(a, before[name])
    assert moved > 100
