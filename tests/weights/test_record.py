import json
from dataclasses import asdict

import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights import read_checkpoint
from mmcnn.weights.record import Record, describe, digest, from_dict, from_json, of_row, record_of, to_json


def test_what_the_tensors_do_not_show():
    assert of_row('darknet53').activation == 'LeakyReLU(0.1)'
    assert of_row('darknet53-timm').activation == 'LeakyReLU(0.01)'
    assert of_row('resnet50').norm_eps == '1.001e-05' and of_row('resnet50-tv').norm_eps == '1e-05'
    assert of_row('vgg16').norm_eps == ''
    record = describe(mmcnn.build_classifier('mobilenet', widen_factor=0.25))
    assert (record.model, record.activation, record.version) == ('mobilenet', 'ReLU6', mmcnn.__version__)


def test_there_and_back():
    record = Record('vgg16', source='\u732b "x".h5', licence='MIT', date='2026-01-02')
    assert from_json(to_json(record), 'x') == record
    # A record of release 0.1.
    assert from_dict(dict(model='vgg16', source='x.h5', world='keras'), 'x') == Record(
        'vgg16', source='x.h5', library='keras'
    )
    # Entries of later versions are ignored.
    assert from_dict({**asdict(record), 'later': [1]}, 'x') == record


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'its record is not valid JSON'),
        ('[' * 100_000, 'its record is not valid JSON'),
        ('[]', 'its record has no model'),
        ('{"source": "x"}', 'its record has no model'),
        ('9' * 5000, 'its record is not valid JSON'),
        (r'{"model": "a\nb"}', 'model of its record is not a single line of text'),
        (r'{"model": "\ud800"}', 'model of its record is not a single line of text'),
        ('{"model": 3}', 'model of its record is not text'),
        (json.dumps(dict(model='vgg16', licence='x' * 2000)), 'licence of its record is not text of at most 1000'),
    ],
)
def test_no_record(text, message):
    with pytest.raises(CheckpointError, match=f'file.pth: {message}'):
        from_json(text, 'file.pth')


def test_digest_is_that_of_the_file(tmp_path):
    (tmp_path / 'x').write_bytes(b'abc')
    assert digest(tmp_path / 'x') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'


def test_a_run_of_our_own_tells_by_its_config(trained):
    record = record_of(read_checkpoint(trained.checkpoint), trained.checkpoint)
    assert (record.model, record.activation) == ('cspdarknet53', 'Mish')
    assert record_of({'a': torch.ones(1)}, 'x') is None
    assert record_of(dict(state_dict={}, meta=dict(cfg='import os')), 'x') is None
