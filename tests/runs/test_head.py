from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmcnn.runs.head import evaluation_rows, file_datasets, shown_path, training_rows, unwrapped


class Data(list):
    def __init__(self, length, classes, root='somewhere'):
        super().__init__(range(length))
        self.metainfo, self.data_root = dict(classes=classes), root


def test_data_sets_inside_of_wrappers():
    files = [Data(3, ('a',), root=name) for name in 'ab']
    several = SimpleNamespace(dataset=SimpleNamespace(datasets=[SimpleNamespace(dataset=files[0]), files[1]]))
    assert [each.data_root for each in file_datasets(several)] == ['a', 'b']
    assert file_datasets(files[0])[0] is files[0]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The parts of a runner that the rows need: a network of 8 parameters, two images per batch."""
    monkeypatch.chdir(tmp_path)
    cfg = Config(
        dict(
            model=dict(backbone=dict(type='mmcnn.vgg16', init_cfg=None)),
            optim_wrapper=dict(accumulative_counts=4),
            train_dataloader=dict(batch_size=2),
        )
    )
    model = nn.Linear(3, 2)
    model.bias.requires_grad = False
    inner = Data(1200, ('cat', 'dog'), root=str(tmp_path / 'data'))

    class Wrapped(list):
        dataset, metainfo = inner, inner.metainfo

    return SimpleNamespace(
        cfg=cfg,
        model=model,
        max_epochs=30,
        train_loop=None,
        epoch=0,
        iter=0,
        train_dataloader=type('Loader', (), dict(dataset=Wrapped(range(1200)), __len__=lambda self: 600))(),
        val_loop=object(),
        val_dataloader=SimpleNamespace(dataset=Data(60, ('cat', 'dog'))),
        test_dataloader=SimpleNamespace(dataset=Data(60, tuple('abcdefgh'))),
        optim_wrapper=object(),
        logger=SimpleNamespace(log_file=str(tmp_path / 'run' / 'a.log')),
    )


def test_rows_of_a_training(runner):
    assert training_rows(runner) == [
        ('model', 'Linear, backbone vgg16, 8 parameters, 6 of them trainable'),
        ('data', 'data: 1,200 training images, 60 validation images; 2 classes (cat, dog)'),
        ('device', 'cpu'),
        ('steps', '30 epochs x 600 iterations'),
        ('log', 'run/a.log'),
    ]


def test_weights_and_what_a_run_goes_on_from(runner, tmp_path):
    runner.cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='vgg.pth')
    runner.val_loop = None
    rows = dict(training_rows(runner, weights='a.pth: 8 entries loaded', summary='a line'))
    assert rows['model'].startswith('Linear, backbone vgg16 with weights of vgg.pth, ')
    assert rows['data'] == 'data: 1,200 training images, no validation; 2 classes (cat, dog)'
    assert rows['steps'] == '30 epochs x 600 iterations; a line'
    assert rows['weights'] == 'a.pth: 8 entries loaded'
    # The command prints a note about what is resumed and how many epochs it has.
    runner.cfg.update(resume=True, load_from=str(tmp_path / 'run' / 'epoch_2.pth'))
    runner.epoch, runner.iter = 2, 1250
    assert list(dict(training_rows(runner))) == ['model', 'data', 'device', 'steps', 'log']


def test_one_of_a_kind_is_no_plural(runner):
    runner.max_epochs = 1
    assert dict(training_rows(runner))['steps'] == '1 epoch x 600 iterations'


def test_a_training_that_counts_iterations(runner):
    runner.train_loop, runner.max_iters = IterBasedTrainLoop.__new__(IterBasedTrainLoop), 90_000
    assert dict(training_rows(runner))['steps'] == '90,000 iterations'


def test_rows_of_an_evaluation(runner):
    rows = evaluation_rows(runner, 'best.pth')
    assert [label for label, _ in rows] == ['model', 'weights', 'data', 'device', 'log']
    assert rows[1:3] == [
        ('weights', 'best.pth'),
        ('data', 'somewhere: 60 test images; 8 classes (a, b, c, d, e, f, ...)'),
    ]


def test_paths_are_shown_as_one_would_type_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / 'a' / 'b.pth') == 'a/b.pth'
    assert shown_path('a/../b.pth') == 'b.pth'
    assert shown_path(tmp_path) == '.'
    assert shown_path(tmp_path.parent / 'c.pth') == str(tmp_path.parent / 'c.pth')
    assert shown_path(Path('/x')) == '/x'


def test_a_wrapper_is_looked_through():
    model = nn.Linear(1, 1)
    assert unwrapped(model) is model
    assert unwrapped(torch.nn.DataParallel(model)) is model
