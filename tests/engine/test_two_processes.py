"""Two processes on the CPU step like a single one with both batches, set up from the configs.

Run as a program, this file is one of the two processes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.registry import MODELS
from mmcnn.runs.batches import set_batches
from mmcnn.runs.options import RunOptions

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ('yolov4_cspdarknet53', 'yolov4_cspdarknet53_darknet', 'yolov5_s')
IMAGES = 4
OPTIONS = {
    'nominal_batch_size': IMAGES,
    'model.backbone.widen_factor': 0.0625,
    'model.backbone.deepen_factor': 0.33,
    'model.neck.widen_factor': 0.0625,
    'model.neck.deepen_factor': 0.33,
    'model.bbox_head.num_classes': 3,
    'optim_wrapper.clip_grad': None,  # it would hide gradients that are too large
}
#: Objects in the images of each process. The box and class terms of YOLOMeanLoss are means over positives, so processes
#: with equally many on each level step like one process; one without objects must still take part.
OBJECTS = {'alike': (2, 2), 'none in the second': (2, 0)}


def sample(count):
    found = DetDataSample(metainfo=dict(img_shape=(64, 64)))
    boxes = torch.tensor([[8.0, 8.0, 30.0, 34.0], [20.0, 4.0, 62.0, 60.0]], dtype=torch.float64)[:count]
    found.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2])[:count])
    return found


def fix_statistics(model, images):
    """Give BatchNorm the statistics of all images, whichever process has them."""
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None  # use the statistics of a single batch
    with torch.no_grad():
        model.train()(images)
    model.eval()


def step(name, objects, rank, world):
    """Return loss, gradients and new weights of a step, as seen by process ``rank`` of ``world``."""
    cfg = load_config(name, OPTIONS)
    launcher = 'pytorch' if world > 1 else 'none'
    args = RunOptions(batch_size=IMAGES // world, workers=0, launcher=launcher)
    set_batches(cfg, args, None)
    assert cfg.optim_wrapper.accumulative_counts == 1
    wire_model(cfg)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    images = torch.rand(IMAGES, 3, 64, 64, dtype=torch.float64)
    fix_statistics(model.double(), images)
    own = slice(rank * IMAGES // world, (rank + 1) * IMAGES // world)
    images, samples = images[own], [sample(count) for count in objects for _ in range(IMAGES // 2)][own]
    gradients = {}
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: gradients.update({key: p.grad.clone() for key, p in model.named_parameters()})
    )
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False) if world > 1 else model
    loss, parts = model.parse_losses(wrapped(images, samples, mode='loss'))
    wrapper.update_params(loss)
    return dict(loss=loss.detach(), parts=dict(parts), gradients=gradients, weights=model.state_dict())


def as_one_of_two(folder, rank):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    steps = {(name, case): step(name, OBJECTS[case], rank, 2) for name in CONFIGS for case in OBJECTS}
    torch.save(steps, Path(folder) / f'{rank}.pt')
    torch.distributed.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    environment = dict(os.environ, PYTHONPATH=str(ROOT), WORLD_SIZE='2', OMP_NUM_THREADS='1')
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), str(rank)],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for process in processes:
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, err[-3000:]
    finally:
        for process in processes:  # if one fails, the other waits forever
            process.kill()
    return [torch.load(folder / f'{rank}.pt') for rank in range(2)]


def assert_close(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, **tolerance, msg=lambda text, at=key: f'{at}: {text}')


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_two_processes_step_as_one(ranks, name):
    alone = step(name, OBJECTS['alike'], 0, 1)
    first, second = (rank[name, 'alike'] for rank in ranks)
    assert set(alone['parts']) == {'loss', 'loss_bbox', 'loss_obj', 'loss_cls'}
    for key, value in alone['parts'].items():
        torch.testing.assert_close((first['parts'][key] + second['parts'][key]) / 2, value, rtol=1e-5, atol=0)
        assert first['parts'][key] != second['parts'][key]  # each has different images
    for rank in (first, second):
        assert_close(rank['gradients'], alone['gradients'], rtol=1e-5, atol=1e-8)
        assert_close(rank['weights'], alone['weights'], rtol=1e-5, atol=1e-8)
    assert sum(gradient.abs().max() > 1e-3 for gradient in alone['gradients'].values()) > 100


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_a_process_without_objects_comes_along(ranks, name):
    first, second = (rank[name, 'none in the second'] for rank in ranks)
    assert first['parts']['loss_bbox'] > 0 == second['parts']['loss_bbox']
    assert second['loss'].isfinite() and second['loss'] > 0
    assert_close(second['gradients'], first['gradients'], rtol=0, atol=0)
    assert_close(second['weights'], first['weights'], rtol=0, atol=0)
    if name == 'yolov4_cspdarknet53_darknet':  # its loss is a mean over images, with or without objects
        alone = step(name, OBJECTS['none in the second'], 0, 1)
        assert_close(first['gradients'], alone['gradients'], rtol=1e-5, atol=1e-8)


if __name__ == '__main__':
    as_one_of_two(sys.argv[1], int(sys.argv[2]))
