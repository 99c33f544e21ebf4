import importlib.util
import json
import zipfile

import h5py
import numpy as np
import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats import keras_file
from mmcnn.weights.formats.keras_file import read_keras

HTML = b'<!DOCTYPE html>\n<html><body>404</body></html>'


def values(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as error:
        read_keras(path)
    message = str(error.value)
    assert message.startswith(f'{path}') and '\n' not in message
    return message


def test_automatic_numbers_begin_with_0(write_keras_h5, tmp_path):
    layers = {
        'conv2d_94': {'kernel': values(1)},
        'batch_normalization': {'gamma': values(2)},
        'named_7': {'kernel': values(3)},
        'conv2d_96': {'kernel': values(4)},
        'batch_normalization_1': {'gamma': values(5)},
    }
    assert list(read_keras(write_keras_h5(tmp_path / 'x.h5', layers))) == [
        'conv2d_0.kernel', 'batch_normalization_0.gamma', 'named_7.kernel', 'conv2d_2.kernel',
        'batch_normalization_1.gamma',
    ]  # fmt: skip
    old = {'convolution2d_1': {'convolution2d_1_W:0': values(1)}, 'batchnormalization_3': {'gamma': values(2)}}
    assert list(read_keras(write_keras_h5(tmp_path / 'y.h5', old))) == [
        'conv2d_0.kernel',
        'batch_normalization_0.gamma',
    ]


@pytest.mark.parametrize('suffix', ['.weights.h5', '.keras', '.h5'])
def test_what_keras_saves(keras, tmp_path, suffix):
    keras.utils.clear_session()
    keras.layers.Conv2D(1, 1)  # so that numbering does not start at 0
    image = keras.Input((8, 8, 3))
    x = keras.layers.Normalization()(image)
    x = keras.layers.BatchNormalization(scale=False)(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.SeparableConv2D(5, 3, name='sep')(x)
    x = keras.layers.DepthwiseConv2D(3, name='dw')(keras.layers.Conv2D(2, 1, use_bias=False)(x))
    x = keras.layers.Dense(3, name='head')(keras.layers.Dropout(0.1)(keras.layers.Flatten()(x)))
    model = keras.Model(image, x)
    model.set_weights([values(*w.shape) + i for i, w in enumerate(model.get_weights())])
    path = tmp_path / f'x{suffix}'
    if suffix == '.weights.h5':
        model.save_weights(path)
    else:
        model.compile('adam', 'mse')
        model.save(path)
    assert model.get_layer('conv2d_1').weights[0].shape == (3, 3, 3, 4)
    state = read_keras(path)
    numbered = {
        'conv2d_1': 'conv2d_0',
        'conv2d_2': 'conv2d_1',
        'batch_normalization': 'batch_normalization_0',
        'normalization': 'normalization_0',
    }
    expected = {
        f'{numbered.get(layer.name, layer.name)}.{variable.name}': np.array(variable)
        for layer in model.layers
        for variable in layer.weights
    }
    if suffix != '.h5':  # these files have the class of a layer, but not the names of its arrays
        expected['dw.depthwise_kernel'] = expected.pop('dw.kernel')
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert np.array_equal(state[key], value), key


def test_files_that_are_no_keras_files(tmp_path):
    path = tmp_path / 'x.h5'
    refused(path, 'does not exist')
    path.touch()
    refused(path, 'is empty')
    path.write_bytes(HTML)
    assert refused(path, 'is no') == (
        f'{path} is not a Keras file: neither HDF5 nor an archive with a '
        'model.weights.h5; it is a text file that begins '
        "with '<!DOCTYPE html>'"
    )
    with pytest.raises(CheckpointError, match=r"is a text file, not a checkpoint; it begins with '<!DOCTYPE html>'"):
        mmcnn.load_weights(mmcnn.build_backbone('vgg11', widen_factor=0.125), path)
    torch.save(dict(a=torch.ones(1)), path)
    assert refused(path, 'is not a Keras file').endswith('model.weights.h5')
    with h5py.File(path, 'w') as file:
        file['a'] = values(3)
    refused(path, 'is an HDF5 file without Keras layers')


def test_every_cut_is_refused(write_keras_h5, tmp_path):
    path, layers = tmp_path / 'x.h5', {'a': {'kernel': values(20, 20)}, 'b': {'bias': values(7)}}
    whole = write_keras_h5(path, layers).read_bytes()
    with zipfile.ZipFile(tmp_path / 'x.keras', 'w') as archive:
        archive.writestr('config.json', json.dumps(dict(config=dict(layers=[]))))
        archive.writestr('model.weights.h5', whole)
    assert read_keras(tmp_path / 'x.keras').keys() == read_keras(path).keys() == {'a.kernel', 'b.bias'}
    for data in (whole, (tmp_path / 'x.keras').read_bytes()):
        for length in (1, 7, 8, 100, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:length])
            refused(path, 'truncated or damaged|is not a Keras file')


@pytest.mark.slow
def test_damaged_bytes_are_refused_or_harmless(write_keras_h5, tmp_path):
    path = tmp_path / 'x.h5'
    whole = write_keras_h5(path, {'a': {'kernel': values(3, 3)}, 'b': {'bias': values(7)}}).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(100):
        data = bytearray(whole)
        for position in rng.integers(8, len(data), 4):
            data[position] = rng.integers(256)
        path.write_bytes(data)
        try:
            state = read_keras(path)
        except CheckpointError as error:
            assert '\n' not in str(error)
        else:
            assert sum(value.numel() for value in state.values()) < 1000


def test_a_sentence_is_short_whatever_the_file_says(write_keras_h5, tmp_path):
    path = write_keras_h5(tmp_path / 'x.h5', {'a': {'alpha\n' * 1000: values(1)}})
    assert len(refused(path, "has an array 'alpha alpha")) < len(str(path)) + 310


@pytest.mark.slow
def test_what_the_library_does_not_survive(write_keras_h5, tmp_path, monkeypatch):
    path = tmp_path / 'x.h5'
    data = bytearray(write_keras_h5(path, {'a': {'kernel': values(3, 3)}}).read_bytes())
    heap = data.index(b'GCOL')
    data[heap + 24] = 171  # the length of a name in HDF5's heap; the library then never returns
    path.write_bytes(data)
    monkeypatch.setattr(keras_file, 'PATIENCE', 3)
    refused(path, 'cannot be read as a Keras file: it is damaged, and the HDF5 library fails to open it')
    crashing = tmp_path / 'reader.py'
    crashing.write_text('import os\nprint(\'[["a.kernel", "<f4", [3]]]\', flush=True)\nos.abort()')
    monkeypatch.setattr(keras_file, 'READER', crashing)
    refused(path, 'the HDF5 library fails to open it')


@pytest.mark.parametrize('config', ['{', '[' * 100_000, '{"config": 3}'])
def test_broken_configurations(tmp_path, config):
    weights, path = tmp_path / 'x.h5', tmp_path / 'x.keras'
    with h5py.File(weights, 'w') as file:
        file.create_group('layers')
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('config.json', config)
        archive.write(weights, 'model.weights.h5')
    refused(path, 'truncated or damaged')


def test_h5py_is_asked_for(write_keras_h5, tmp_path, monkeypatch):
    path = write_keras_h5(tmp_path / 'x.h5', {'a': {'kernel': values(2, 2)}})
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    refused(path, 'cannot be read without h5py, which is not installed: pip install h5py')


def test_wrong_weights_are_refused_whole(write_keras_h5, tmp_path):
    model = mmcnn.build_backbone('vgg11', widen_factor=0.125, out_indices=(1,))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kernels = {f'block{i}_conv1': {'W': values(3, 3, *io), 'b': values(io[1])} for i, io in ((1, (3, 8)), (2, (8, 16)))}
    path = tmp_path / 'x.h5'
    kernels['block1_conv1']['W'][0, 0, 0, 0] = np.nan
    write_keras_h5(path, kernels)
    with pytest.raises(CheckpointError, match=r'stage0\.conv1\.conv\.weight has NaN or infinite values'):
        mmcnn.load_weights(model, path)
    del kernels['block1_conv1']
    write_keras_h5(path, kernels)
    with pytest.raises(CheckpointError, match=r'2 missing: stage0\.conv1\.conv\.weight, stage0\.conv1\.conv\.bias'):
        mmcnn.load_weights(model, path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    kernels['conv1'] = kernels.pop('block2_conv1')
    write_keras_h5(path, kernels)
    with pytest.raises(CheckpointError) as error:
        mmcnn.load_weights(model, path)
    assert str(error.value) == f'{path}: 2 keys of the file are unknown: conv1.weight, conv1.bias'
