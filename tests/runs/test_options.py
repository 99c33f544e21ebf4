"""Options refuse invalid types and values out of range."""

from pathlib import Path

import numpy as np
import pytest

import mmcnn
from mmcnn.errors import UsageError
from mmcnn.runs.options import InferOptions, TestOptions, TrainOptions, described


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(epochs='2'), "epochs='2': it must be an integer, not of type str"),
        (dict(epochs=2.5), 'epochs=2.5: it must be an integer, not of type float'),
        (dict(epochs=True), 'epochs=True: it must be an integer, not of type bool'),
        (dict(img_size='64'), "img_size='64': it must be an integer, not of type str"),
        (dict(batch_size=2.5), 'batch_size=2.5: it must be an integer, not of type float'),
        (dict(cache_gb='1'), "cache_gb='1': it must be a number, not of type str"),
        (dict(cache_gb=float('nan')), 'cache_gb=nan: the value must be at least 0'),
        (dict(amp=1), 'amp=1: it must be True or False or a string, not of type int'),
        (dict(amp='fp8'), "amp='fp8': did you mean fp16?"),
        (dict(cfg_options=['a=1']), "cfg_options=['a=1']: it must be a dict such as "),
        (dict(cfg_options={1: 2}), 'cfg_options={1: 2}: it must be a dict such as '),
        (dict(backbone=3), 'backbone=3: it must be a string, not of type int'),
        (dict(data=3), 'data=3: it must be a path, not of type int'),
        (dict(resume=3), 'resume=3: it must be True or False or a path, not of type int'),
        (dict(device=0.5), 'device=0.5: it must be a string or an integer, not of type float'),
        (dict(seed=2**40), 'seed=1099511627776: the value must be at most 4294967295'),
        (dict(launcher='ssh'), "launcher='ssh': known: mpi, none, pytorch, slurm"),
    ],
)
def test_wrong_values_of_a_training(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        mmcnn.train('yolov5_n', **options)
    assert str(error.value).startswith(message)
    assert not list(tmp_path.iterdir())


def test_wrong_values_of_others():
    with pytest.raises(UsageError, match='checkpoint=3: it must be a path, not of type int'):
        TestOptions(checkpoint=3)
    with pytest.raises(UsageError, match="score_thr='high': it must be a number"):
        InferOptions(checkpoint='x.pth', sources='x', score_thr='high')
    with pytest.raises(UsageError, match='format=3: it must be a list'):
        InferOptions(checkpoint='x.pth', sources='x', format=3)


def test_what_fits_is_taken():
    path = Path('some') / 'where'
    options = TrainOptions(
        config='x', epochs=np.int64(3), cache_gb=1, data=path, resume='c.pth', seed=2**32 - 1, img_size=None
    )
    assert (options.epochs, type(options.epochs)) == (3, int)  # can be stored in a config
    assert (options.cache_gb, options.data, options.resume, options.seed) == (1, path, 'c.pth', 2**32 - 1)
    assert type(TrainOptions(config='x', cache_gb=np.float32(0.5)).cache_gb) is float
    assert InferOptions(checkpoint='x.pth', sources=0, format='coco', score_thr=1).format == ('coco',)


@pytest.mark.parametrize('options', [TrainOptions, TestOptions, InferOptions])
def test_every_described_field_has_a_type_that_is_checked(options):
    given = dict(config='x') if options is TrainOptions else dict(checkpoint='x.pth')
    given |= dict(sources='x') if options is InferOptions else {}
    for name in described(options):
        with pytest.raises(UsageError, match=rf'^{name}=.*: it must be '):
            options(**given, **{name: object()})
