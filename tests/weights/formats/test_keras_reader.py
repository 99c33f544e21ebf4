import json
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from mmcnn.weights.formats import keras_reader
from mmcnn.weights.formats.keras_reader import RefusedError, as_written, found_in


def values(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1


def write_new(path, layers):
    """Write the newer layout by hand: path of a layer -> its name (or None) and its values in order."""
    with h5py.File(path, 'w') as file:
        for layer, (name, *arrays) in layers.items():
            group = file.create_group(f'layers/{layer}/vars')
            if name is not None:
                group.attrs['name'] = name
            for i, array in enumerate(arrays):
                group[str(i)] = array
    return path


def zipped(path, weights, config, **kwargs):
    with zipfile.ZipFile(path, 'w', **kwargs) as archive:
        archive.writestr('metadata.json', '{}')
        archive.writestr('config.json', config)
        archive.writestr('model.weights.h5', weights)
    return path


def read(path):
    with path.open('rb') as file:
        return {name: dataset[()].astype(as_written(dataset)) for name, dataset in found_in(file).items()}


def refused(path, match):
    with path.open('rb') as file, pytest.raises(RefusedError, match=match) as error:
        found_in(file)
    return str(error.value)


@pytest.mark.parametrize('root', ['', 'model_weights'])
@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (('block1_conv1_W_1:0', 'block1_conv1_b_1:0'), ('kernel', 'bias')),
        (('block1_conv1_W:0', 'block1_conv1_b:0'), ('kernel', 'bias')),
        (('block1_conv1/kernel:0', 'block1_conv1/bias:0'), ('kernel', 'bias')),
        (('vgg/block1_conv1_1/kernel:0', 'vgg/block1_conv1_1/bias:0'), ('kernel', 'bias')),
        (('block1_conv1/kernel', 'block1_conv1/bias'), ('kernel', 'bias')),
        (('kernel', 'bias'), ('kernel', 'bias')),
        (('a/depthwise_kernel:0', 'a_pointwise_kernel_1:0'), ('depthwise_kernel', 'pointwise_kernel')),
        (('bn_running_mean_1:0', 'bn_running_std_1:0'), ('moving_mean', 'moving_variance')),
        (('bn/moving_mean:0', 'bn/moving_variance:0'), ('moving_mean', 'moving_variance')),
    ],
)
def test_names_of_every_age(write_keras_h5, tmp_path, names, expected, root):
    first, second = values(3, 3, 2, 4), values(4)
    path = write_keras_h5(
        tmp_path / 'x.h5', {'input': {}, 'layer': dict(zip(names, (first, second), strict=True))}, root
    )
    state = read(path)
    assert list(state) == [f'layer.{array}' for array in expected]
    assert np.array_equal(state[f'layer.{expected[0]}'], first)
    assert np.array_equal(state[f'layer.{expected[1]}'], second)


def test_layers_within_layers_and_lists_in_pieces(write_keras_h5, tmp_path):
    # 'Conv' has an array, and 'Conv/BatchNorm' is another layer; Keras splits lists that are too long for HDF5.
    path = tmp_path / 'x.h5'
    layers = {'Conv': {'Conv/kernel:0': values(1, 1, 2, 3)}, 'Conv/BatchNorm': {'Conv/BatchNorm/gamma:0': values(3)}}
    write_keras_h5(path, layers)
    with h5py.File(path, 'a') as file:
        del file.attrs['layer_names']
        file.attrs['layer_names0'], file.attrs['layer_names1'] = [b'Conv'], [b'Conv/BatchNorm']
    assert list(read(path)) == ['Conv.kernel', 'Conv/BatchNorm.gamma']


def test_the_new_tree_has_names_as_attributes(tmp_path):
    path = write_new(
        tmp_path / 'x.weights.h5',
        {
            'conv2d_10': ('stem', values(3, 3, 2, 4)),
            'batch_normalization': ('stem_bn', *(values(4) + i for i in range(4))),
            'batch_normalization_1': ('without_scale', *(values(4) + i for i in range(3))),
            'depthwise_conv2d': ('dw', values(3, 3, 4, 1), values(4)),
            'separable_conv2d': ('sep', values(3, 3, 4, 1), values(1, 1, 4, 5)),
            'dense': ('predictions', values(5, 2), values(2)),
            'normalization': ('normalization', values(3), values(3), np.int64(0)),
            'dropout': ('dropout',),
        },
    )
    state = read(path)
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        'stem.kernel': (3, 3, 2, 4),
        **{f'stem_bn.{array}': (4,) for array in ('gamma', 'beta', 'moving_mean', 'moving_variance')},
        **{f'without_scale.{array}': (4,) for array in ('beta', 'moving_mean', 'moving_variance')},
        'dw.depthwise_kernel': (3, 3, 4, 1),
        'dw.bias': (4,),
        'sep.depthwise_kernel': (3, 3, 4, 1),
        'sep.pointwise_kernel': (1, 1, 4, 5),
        'predictions.kernel': (5, 2),
        'predictions.bias': (2,),
        'normalization.mean': (3,),
        'normalization.variance': (3,),
        'normalization.count': (),
    }
    assert state['stem_bn.moving_variance'][0] == 4 and state['without_scale.moving_variance'][0] == 3


def test_an_archive_tells_the_names_that_its_weights_lack(tmp_path):
    # The layers of a class are numbered in the order of the configuration, regardless of their names.
    config = [
        ('Conv2D', 'second'),
        ('BatchNormalization', 'bn'),
        ('Conv2D', 'first'),
        ('Add', 'x'),
        ('Conv2D', 'third'),
    ]
    config = dict(config=dict(layers=[dict(class_name=kind, config=dict(name=name)) for kind, name in config]))
    layers = {f'conv2d{i}': (None, values(1, 1, 1, n)) for i, n in (('', 1), ('_1', 2), ('_2', 3))}
    weights = write_new(tmp_path / 'x.weights.h5', layers)
    state = read(zipped(tmp_path / 'x.keras', weights.read_bytes(), json.dumps(config)))
    assert {key: value.size for key, value in state.items()} == {
        'second.kernel': 1, 'first.kernel': 2, 'third.kernel': 3
    }  # fmt: skip
    message = refused(weights, 'does not contain layer names')
    assert "save the model as '.keras' or '.h5'" in message


@pytest.mark.parametrize('dtype', ['>f4', 'float16', 'float64'])
def test_floating_point_becomes_float32(write_keras_h5, tmp_path, dtype):
    path = write_keras_h5(tmp_path / 'x.h5', {'a': {'kernel': values(2, 3).astype(dtype)}})
    kernel = read(path)['a.kernel']
    assert kernel.dtype == np.float32 and np.array_equal(kernel, values(2, 3))


def test_what_the_lists_name_has_to_be_there(write_keras_h5, tmp_path):
    path = tmp_path / 'x.h5'

    def changed(change):
        write_keras_h5(path, {'a': {'a/kernel:0': values(3, 3)}, 'b': {'b/bias:0': values(7)}})
        with h5py.File(path, 'a') as file:
            change(file)
        return path

    def listing(*names):
        return changed(lambda file: file.attrs.__setitem__('layer_names', names))

    refused(changed(lambda file: file.__delitem__('b')), "lists 'b' but does not contain it")
    refused(changed(lambda file: file['b/b'].__delitem__('bias:0')), "lists 'b/bias:0' but does not contain it")
    refused(changed(lambda file: file['a'].attrs.__delitem__('weight_names')), "no list of weight_names in '/a'")
    refused(listing(b'a', b'a'), r"has two arrays named 'a\.kernel'")
    refused(listing(b'../a'), r"lists '\.\./a' but does not contain it")
    refused(listing(b'a/a/kernel:0/x'), "lists 'a/a/kernel:0/x' but does not contain it")

    def long(file):
        del file.attrs['layer_names']
        for i in range(60):
            file.attrs[f'layer_names{i}'] = np.full(30_000, b'a')

    refused(changed(long), "has a list of layer_names in '/' that is too long")

    def renamed(file):
        file['a'].attrs['weight_names'] = [b'a/alpha:0']

    refused(changed(renamed), "has an array 'a/alpha:0' in layer 'a', which no known layer of Keras has")

    def text(file):
        del file['a/a/kernel:0']
        file['a/a/kernel:0'] = np.array([b'x'])

    refused(changed(text), r"has .* in 'a\.kernel' instead of numbers")

    def group(file):
        del file['a/a/kernel:0']
        file.create_group('a/a/kernel:0')

    refused(changed(group), r"has 'a\.kernel', which is not an array")


def test_the_new_tree_holds_known_layers_only(tmp_path):
    path = tmp_path / 'x.weights.h5'
    refused(write_new(path, {'lstm': ('x', values(3))}), "has 1 arrays in layer 'lstm', which no known layer of Keras")
    refused(write_new(path, {'conv2d': ('x', *[values(3)] * 3)}), "has 3 arrays in layer 'conv2d'")
    refused(
        write_new(path, {'dense': ('x', values(3)), 'dense_1': ('x', values(3))}),
        r'has two arrays named ' r"'x\.kernel'",
    )
    write_new(path, {'conv2d': ('x', values(3))})
    with h5py.File(path, 'a') as file:
        file.create_group('layers/functional/layers/conv2d')
    refused(path, "has a nested model as layer 'functional': save that model separately")


def test_links_out_of_the_file_are_not_followed(tmp_path):
    path, secret = tmp_path / 'x.h5', tmp_path / 'secret.h5'
    with h5py.File(secret, 'w') as file:
        file['kernel'] = values(3)
    raw = tmp_path / 'raw'
    raw.write_bytes(values(3).tobytes())

    def linked(link):
        with h5py.File(path, 'w') as file:
            file.attrs['layer_names'] = [b'a']
            file.create_group('a').attrs['weight_names'] = [b'kernel']
            link(file)
        return path

    def virtual(file):
        layout = h5py.VirtualLayout((3,), 'f4')
        layout[:] = h5py.VirtualSource(secret, 'kernel', (3,))
        file['a'].create_virtual_dataset('kernel', layout)

    def external(file):
        file['a'].create_dataset('kernel', (3,), 'f4', external=[(str(raw), 0, 12)])

    def group(file):
        del file['a']
        file['a'] = h5py.ExternalLink(str(secret), '/')

    def beyond(file):
        file['a']['kernel'] = h5py.ExternalLink(str(secret), '/kernel')

    def soft(file):
        file['a']['kernel'] = h5py.SoftLink('/a')

    refused(linked(beyond), "has a link at 'kernel', which is not followed")
    refused(linked(soft), "has a link at 'kernel'")
    refused(linked(group), "has a link at 'a'")
    refused(linked(virtual), r"stores 'a\.kernel' in another file, which is not read")
    refused(linked(external), r"stores 'a\.kernel' in another file")


def test_memory_is_bounded(tmp_path):
    path = tmp_path / 'x.h5'

    def with_dataset(shape, **kwargs):
        with h5py.File(path, 'w') as file:
            file.attrs['layer_names'] = [b'a']
            file.create_group('a').attrs['weight_names'] = [b'kernel']
            dataset = file['a'].create_dataset('kernel', shape, 'f4', **kwargs)
            if kwargs:
                dataset[:1] = 1
        return path

    archive = tmp_path / 'x.keras'
    zeros = zipped(archive, bytes(20_000_000), '{}', compression=zipfile.ZIP_DEFLATED).read_bytes()
    # An archive with a false size in its directories.
    lying = zeros.replace((20_000_000).to_bytes(4, 'little'), (1_000_000).to_bytes(4, 'little'))
    spaces = zipped(archive, b'', ' ' * 20_000_000, compression=zipfile.ZIP_DEFLATED).read_bytes()
    tracemalloc.start()
    for declared in ((2**40,), (2**29,), (2**20,)):
        refused(with_dataset(declared), r"declares [\d,]+ bytes for 'a\.kernel' but stores 0, which no network needs")
        refused(with_dataset(declared, chunks=(1024,), compression='gzip'), r"declares [\d,]+ bytes for 'a\.kernel'")
    refused(with_dataset((100,)), "stores only 0 of the 400 bytes of 'a.kernel': writing was interrupted")
    for data, name in ((zeros, 'model.weights.h5'), (spaces, 'config.json')):
        archive.write_bytes(data)
        refused(archive, f'declares 20,000,000 bytes for {name} but stores')
    archive.write_bytes(lying)
    with archive.open('rb') as file, pytest.raises((RefusedError, zipfile.BadZipFile)):
        found_in(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # the arrays and archives above are many times larger


def test_the_sum_of_arrays_is_bounded(write_keras_h5, tmp_path, monkeypatch):
    path = write_keras_h5(tmp_path / 'x.h5', {name: {'kernel': values(100)} for name in 'abc'})
    monkeypatch.setattr(keras_reader, 'LARGEST', 1200)
    assert len(read(path)) == 3
    monkeypatch.setattr(keras_reader, 'LARGEST', 1199)
    refused(path, 'has arrays of more than 1,199 bytes')
