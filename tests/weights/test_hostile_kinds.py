"""Files of the expected kind with an error in them: one sentence, and the model is left unchanged."""

import struct

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.darknet import write_darknet


def darknet53():
    return mmcnn.build_backbone('darknet53', widen_factor=0.1)


def one_float_less(path):
    write_darknet(darknet53(), path)
    path.write_bytes(path.read_bytes()[:-4])


def one_float_more(path):
    write_darknet(darknet53(), path)
    path.write_bytes(path.read_bytes() + bytes(4))


def big_endian(path):
    path.write_bytes(struct.pack('>3iQ', 0, 2, 5, 0) + bytes(400))


def not_finite(path):
    state = darknet53().state_dict()
    state['stem.conv.weight'][0] = float('nan')
    save_file(state, path)


def negative_variance(path):
    state = darknet53().state_dict()
    state['stem.bn.running_var'][0] = -1
    torch.save(state, path)


def whole_numbers(path):
    torch.save({key: value.int() for key, value in darknet53().state_dict().items()}, path)


def missing_layers(path):
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [b'block1_conv1']
        file.create_group('block1_conv1').attrs['weight_names'] = [b'block1_conv1/kernel:0']
        file['block1_conv1/block1_conv1/kernel:0'] = np.ones((3, 3, 3, 8), np.float32)


def of_another_network(path):
    torch.save(mmcnn.build_backbone('resnet18').state_dict(), path)


@pytest.mark.parametrize(
    ('name', 'write', 'network', 'sentence'),
    [
        ('Darknet, a float short', one_float_less, 'darknet53', r'has [\d,]+ floats; darknet53 needs'),
        ('Darknet, a float more', one_float_more, 'darknet53', r'has [\d,]+ floats; darknet53 needs'),
        ('Darknet, big-endian', big_endian, 'darknet53', 'a file in big-endian byte order'),
        ('safetensors with NaN', not_finite, 'darknet53', 'stem.conv.weight has NaN or infinite values'),
        ('a negative variance', negative_variance, 'darknet53', 'stem.bn.running_var has negative variances'),
        ('whole numbers', whole_numbers, 'darknet53', r'is not a plain tensor of floats: torch\.int32'),
        (
            '.h5 without most layers',
            missing_layers,
            'vgg16',
            r'does not fit vgg16: 25 missing: stage0\.conv1\.conv\.bias',
        ),
        ('which is not YOLOv5', of_another_network, 'darknet53', r'the file looks like resnet18$'),
    ],
)
def test_one_sentence_and_nothing_else(name, write, network, sentence, record_property, tmp_path):
    path, model = tmp_path / 'file', mmcnn.build_backbone(network, widen_factor=0.1)
    write(path)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf'^{path}.*{sentence}') as error:
        mmcnn.load_weights(model, path)
    assert '\n' not in str(error.value) and len(str(error.value)) < 800
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert list(tmp_path.iterdir()) == [path]
    record_property('hostile', (name, 'load_weights', str(error.value).replace(str(path), 'FILE')))
