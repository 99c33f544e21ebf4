"""Command line options correspond to the fields of the dataclasses and have their defaults."""

import argparse
import importlib

import pytest

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.cli.main import _command_parser as command_parser
from mmcnn.errors import UsageError
from mmcnn.runs.options import TrainOptions


@pytest.fixture
def read():
    """Parse command line options to the dataclass."""
    parser = argparse.ArgumentParser()
    add_options(parser, TrainOptions)
    return lambda *words: options_from(parser.parse_args(list(map(str, words))), TrainOptions, config='x')


def test_defaults_are_those_of_the_dataclass(read):
    assert read() == TrainOptions(config='x')


def test_every_field_has_its_option_and_type(read):
    words = [
        '--backbone', 'vgg11', '--device', 'cpu', '--data', 'd', '--skip-bad', '--img-size', 64, '--batch-size', 2,
        '--workers', 0, '--work-dir', 'w', '--launcher', 'slurm', '--verbose', '--epochs', 3, '--seed', 4, '--amp',
        '--resume', 'c.pth', '--load-from', 'l.pth', '--allow-head-mismatch', '--on-nan', 'skip', '--cache-gb', 1.5,
        '--patience', 5, '--logger', 'wandb,mlflow', '--logger', 'trackio', '--cfg-options', 'a.b=1', 'c=(2,3)',
    ]  # fmt: skip
    assert read(*words) == TrainOptions(
        config='x', backbone='vgg11', device='cpu', data='d', skip_bad=True, img_size=64, batch_size=2, workers=0,
        work_dir='w', launcher='slurm', verbose=True, epochs=3, seed=4, amp=True, resume='c.pth', load_from='l.pth',
        allow_head_mismatch=True, on_nan='skip', cache_gb=1.5, patience=5,
        logger=('wandb', 'mlflow', 'trackio'), cfg_options={'a.b': 1, 'c': (2, 3)},
    )  # fmt: skip


def test_the_number_of_a_gpu(read):
    assert read('--device', 0).device == '0'


def test_weights_and_their_recipe(read):
    assert read('--weights', 'mmcnn://x/y', '--recipe', 'from-scratch') == TrainOptions(
        config='x', weights='mmcnn://x/y', recipe='from-scratch'
    )


def test_resume_takes_a_file_or_none(read):
    assert [read().resume, read('--resume').resume, read('--resume', 'f.pth').resume] == [False, True, 'f.pth']


@pytest.mark.parametrize(
    ('words', 'amp'),
    [
        ('x', None),
        ('x --amp', True),
        ('--amp off x', 'off'),
        ('--amp x', True),
        ('x --amp auto', True),
        ('--amp bf16 x', 'bf16'),
        ('x --amp=fp16', 'fp16'),
        ('--amp --seed 3 x', True),
    ],
)
def test_amp_stands_alone_or_takes_a_name(words, amp):
    parser = command_parser('train', importlib.import_module('mmcnn.cli.train'))
    args = parser.parse_args(words.split())
    assert (args.config, options_from(args, TrainOptions, config='x').amp) == ('x', amp)


@pytest.mark.parametrize(('word', 'meant'), [('fp61', 'fp16 or bf16'), ('fp32', 'fp16'), ('bfloat16', 'bf16 or fp16')])
def test_amp_with_a_mistyped_name_is_refused_with_the_nearest_ones(word, meant):
    parser = command_parser('train', importlib.import_module('mmcnn.cli.train'))
    args = parser.parse_args(['x', '--amp', word])
    with pytest.raises(UsageError, match=f"^amp='{word}': did you mean {meant}"):
        options_from(args, TrainOptions, config='x')


def test_a_file_that_is_called_like_a_name_is_a_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'bf16.py').touch()
    parser = command_parser('train', importlib.import_module('mmcnn.cli.train'))
    args = parser.parse_args(['--amp', 'bf16.py'])
    assert (args.config, args.amp) == ('bf16.py', True)


def test_cfg_options_may_be_given_more_than_once(read):
    options = read('--cfg-options', 'a=1', 'b.c=[1,(2,3)]', '--cfg-options', "d='x'", 'e=None', 'f=1e-3', 'g=-1')
    assert options.cfg_options == {'a': 1, 'b.c': [1, (2, 3)], 'd': 'x', 'e': None, 'f': 1e-3, 'g': -1}


def test_classes_are_words_of_one_option_or_several(read):
    assert read('--classes', 'a,b', 'c d', '--classes', 'e').classes == ['a,b', 'c d', 'e']
    assert read().classes is None


def test_option_without_value(run_tool):
    result = run_tool('train', 'yolov4_cspdarknet53', '--cfg-options', 'model')
    assert result.code == 2
    assert result.err.splitlines() == [
        "error: argument --cfg-options: 'model' is not KEY=VALUE",
        'mmcnn train --help describes the options',
    ]


def test_values_that_no_run_can_have_are_refused(read):
    with pytest.raises(UsageError, match='epochs=0: the value must be at least 1'):
        read('--epochs', 0)
    with pytest.raises(UsageError, match=r'cache_gb=-1\.0: the value must be at least 0'):
        read('--cache-gb', -1)
    with pytest.raises(UsageError, match='seed=4294967296: the value must be at most 4294967295'):
        read('--seed', 2**32)


def test_brackets_that_do_not_match(read):
    with pytest.raises(UsageError, match=r'^--cfg-options a=\[1,2: the brackets do not match$'):
        read('--cfg-options', 'b=1', 'a=[1,2')
