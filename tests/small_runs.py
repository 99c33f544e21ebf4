"""Small trainings for the tests of engine/ and of the hooks in runs/: a plugin of tests/conftest.py."""

import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils.data import DataLoader

import mmcnn.engine  # noqa: F401  registers the loop and the hooks


class Net(BaseModel):
    """A network with dropout, BatchNorm, and an input size that changes as with MMDetection's BatchSyncRandomResize."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.dropout = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.3)
        self._input_size = None

    def forward(self, inputs, data_samples=None, mode='tensor'):
        inputs = torch.stack(list(inputs)) if isinstance(inputs, (list, tuple)) else inputs
        if mode == 'predict':
            value = self.conv.weight.abs().sum().item()
            return [BaseDataElement(metainfo=dict(value=value))] * len(inputs)
        side = self._input_size[0] if self._input_size else 4
        if MessageHub.get_current_instance().get_info('iter') % 4 == 1:
            self._input_size = (random.randint(2, 6), 4)
        found = self.dropout(self.norm(self.conv(inputs[..., :side, :]))) * np.random.uniform(0.9, 1.1)
        return dict(loss_a=(found - inputs[..., :side, :]).square().mean(), loss_b=found.abs().mean())


class Pictures(torch.utils.data.Dataset):
    """10 images with augmentation; ``bad`` maps an image to the value of its pixels."""

    metainfo = {'classes': ('a',)}

    def __init__(self, bad=None):
        self.data = torch.randn(10, 1, 4, 4, generator=torch.Generator().manual_seed(1))
        self.bad = bad or {}

    def __len__(self):
        return len(self.data)

    def get_data_info(self, index):
        return dict(img_path=f'{index}.jpg')

    def __getitem__(self, index):
        value = self.bad.get(index)
        if isinstance(value, Exception):
            raise value
        inputs = self.data[index] + random.random() + np.random.rand() + torch.rand(1)
        sample = BaseDataElement(metainfo=dict(img_path=f'{index}.jpg'))
        return dict(inputs=inputs.float() if value is None else torch.full((1, 4, 4), value), data_samples=sample)


class Value(BaseMetric):
    """A score that rises and falls."""

    def process(self, data_batch, data_samples):
        random.random()  # random draws in a validation must not shift the training
        torch.rand(1)
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(score=(results[0]['value'] * 1e3) % 1)


def collate(samples):
    return {key: [sample[key] for sample in samples] for key in samples[0]}


@pytest.fixture
def make_runner():
    """``make_runner(work_dir, epochs, hooks, ...)``: a training with 5 batches per epoch, 2 per step, and EMA."""
    count = iter(range(1000))

    def make(
        work_dir, epochs=3, hooks=(), bad=None, workers=0, checkpoint=None, val_interval=1, seed=4, logs=True, **kwargs
    ):
        resume = kwargs.pop('resume', None)  # a path, or True to let MMEngine find it
        train = Pictures(bad)
        loop = dict(type='mmcnn.ResumableTrainLoop', max_epochs=epochs, val_interval=val_interval)
        loop |= kwargs.pop('loop', {})
        if 'max_iters' in loop:
            del loop['max_epochs']
        torch.manual_seed(seed)  # the Runner seeds too late for a model that is built before it
        model = Net()
        return Runner(
            model=model,
            work_dir=str(work_dir),
            train_dataloader=DataLoader(
                train,
                sampler=DefaultSampler(train, seed=seed),
                batch_size=2,
                collate_fn=collate,
                num_workers=workers,
                persistent_workers=workers > 0,
            ),
            val_dataloader=DataLoader(Pictures(), batch_size=5, collate_fn=collate),
            val_evaluator=Evaluator(Value(prefix='x')),
            val_cfg={},
            train_cfg=loop,
            optim_wrapper=dict(
                type='OptimWrapper',
                accumulative_counts=kwargs.pop('accumulate', 2),
                optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
            ),
            custom_hooks=[dict(type='mmcnn.StepEMAHook', momentum=0.01, gamma=3), *hooks],
            default_hooks=dict(
                logger=dict(type='LoggerHook') if logs else None,
                checkpoint=dict(
                    type='mmcnn.AtomicCheckpointHook', interval=1, max_keep_ckpts=2, save_best='x/score', rule='greater'
                )
                | (checkpoint or {}),
            ),
            randomness=dict(seed=seed),
            resume=resume is not None,
            load_from=None if resume in (None, True) else str(resume),
            experiment_name=f'{work_dir} {next(count)}',
            log_level='ERROR',
            **kwargs,
        )

    return make


@pytest.fixture
def scores(monkeypatch):
    """Replace the scores of the validations."""

    def use(*values):
        left = list(values)
        monkeypatch.setattr(Value, 'compute_metrics', lambda *args: dict(score=left.pop(0)))

    return use
