"""Model repositories for Triton: the config is parsed by a schema written from Triton's user guide."""

import onnx
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from onnx import TensorProto, helper

from mmcnn.deployment.export import run_export
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.triton import write_config
from mmcnn.errors import UsageError
from mmcnn.runtime.metadata import Input, Metadata

FIELD = descriptor_pb2.FieldDescriptorProto
INT, TEXT, MESSAGE, ENUM = FIELD.TYPE_INT64, FIELD.TYPE_STRING, FIELD.TYPE_MESSAGE, FIELD.TYPE_ENUM
#: The used part of "Model Configuration" in Triton's user guide: message -> field -> (type, repeated, message).
SCHEMA = {
    'Reshape': dict(shape=(INT, True, None)),
    'Batching': {},
    'Input': dict(
        name=(TEXT, False, None), data_type=(ENUM, False, 'DataType'), dims=(INT, True, None),
        reshape=(MESSAGE, False, 'Reshape'),
    ),
    'Output': dict(
        name=(TEXT, False, None), data_type=(ENUM, False, 'DataType'), dims=(INT, True, None),
        reshape=(MESSAGE, False, 'Reshape'), label_filename=(TEXT, False, None),
    ),
    'Config': dict(
        name=(TEXT, False, None), platform=(TEXT, False, None), max_batch_size=(INT, False, None),
        input=(MESSAGE, True, 'Input'), output=(MESSAGE, True, 'Output'),
        dynamic_batching=(MESSAGE, False, 'Batching'),
    ),
}  # fmt: skip
DATA_TYPES = [
    'INVALID',
    'BOOL',
    'UINT8',
    'UINT16',
    'UINT32',
    'UINT64',
    'INT8',
    'INT16',
    'INT32',
    'INT64',
    'FP16',
    'FP32',
    'FP64',
    'STRING',
    'BF16',
]
#: Outputs of a file with NMS: name, type and shape.
NMS = [
    ('num_dets', TensorProto.INT64, ['N']),
    ('boxes', TensorProto.FLOAT, ['N', 300, 4]),
    ('scores', TensorProto.FLOAT, ['N', 300]),
    ('labels', TensorProto.INT64, ['N', 300]),
]


@pytest.fixture(scope='module')
def config_class():
    file = descriptor_pb2.FileDescriptorProto(name='triton.proto', package='triton')
    enum = file.enum_type.add(name='DataType')
    for number, name in enumerate(DATA_TYPES):
        enum.value.add(name=f'TYPE_{name}', number=number)
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (field, (kind, repeated, of)) in enumerate(fields.items(), 1):
            label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label, type_name=of and f'.triton.{of}')
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('triton.Config'))


@pytest.fixture
def parsed(config_class, tmp_path):
    """``parsed(metadata, inputs, outputs)``: config and folder of a file with these (name, type, shape)."""

    def make(metadata, inputs, outputs, name='model'):
        values = [[helper.make_tensor_value_info(*each) for each in some] for some in (inputs, outputs)]
        path = tmp_path / name / '1' / 'model.onnx'
        path.parent.mkdir(parents=True)
        onnx.save(helper.make_model(helper.make_graph([], 'shapes', *values)), path)
        write_config(path, name, metadata)
        text = (tmp_path / name / 'config.pbtxt').read_text(encoding='utf-8')
        return text_format.Parse(text, config_class()), tmp_path / name

    return make


def shapes(tensors):
    return {
        each.name: (DATA_TYPES[each.data_type], list(each.dims), each.HasField('reshape') and list(each.reshape.shape))
        for each in tensors
    }


def detector(form='nms', **of):
    return Metadata(task='detection', form=form, network='yolov5_n', classes=('a cat', 'hündin'), input=Input(**of))


def test_of_any_number_of_images(parsed):
    config, folder = parsed(detector(), [('images', TensorProto.FLOAT, ['N', 3, 96, 128])], NMS, 'kätzchen "1"')
    assert (config.name, config.platform, config.max_batch_size) == ('kätzchen "1"', 'onnxruntime_onnx', 8)
    assert config.HasField('dynamic_batching')
    assert shapes(config.input) == {'images': ('FP32', [3, 96, 128], False)}
    assert shapes(config.output) == {
        'num_dets': ('INT64', [1], []),  # Triton needs at least one axis
        'boxes': ('FP32', [300, 4], False),
        'scores': ('FP32', [300], False),
        'labels': ('INT64', [300], False),
    }
    # Our labels are values, but Triton's label_filename names indices of the largest values.
    assert not any(each.label_filename for each in config.output)
    assert (folder / 'labels.txt').read_text(encoding='utf-8') == 'a cat\nhündin\n'


def test_of_one_image_of_any_size(parsed):
    inputs = [('images', TensorProto.UINT8, [1, '32*height', '32*width', 3]), ('im_size', TensorProto.INT64, [2])]
    outputs = [('num_dets', TensorProto.INT64, [1]), ('boxes', TensorProto.FLOAT, [1, 100, 4])]
    config, _ = parsed(detector(batch=1, image_size=True), inputs, outputs)
    assert config.max_batch_size == 0 and not config.HasField('dynamic_batching')
    assert shapes(config.input) == {'images': ('UINT8', [1, -1, -1, 3], False), 'im_size': ('INT64', [2], False)}
    assert shapes(config.output) == {'num_dets': ('INT64', [1], False), 'boxes': ('FP32', [1, 100, 4], False)}


def test_logits_name_their_classes(parsed):
    metadata = Metadata(task='classification', form='logits', network='vgg11', classes=('a', 'b'))
    sides = [('images', TensorProto.FLOAT, ['N', 3, 224, 224])], [('logits', TensorProto.FLOAT, ['N', 2])]
    config, _ = parsed(metadata, *sides)
    assert [each.label_filename for each in config.output] == ['labels.txt']


def test_a_backbone_has_no_labels(parsed):
    metadata = Metadata(task='features', form='maps', network='vgg11')
    sides = [('images', TensorProto.FLOAT, ['N', 3, 'h', 'w'])], [('map0', TensorProto.FLOAT, ['N', 64, 'h2', 'w2'])]
    config, folder = parsed(metadata, *sides)
    assert shapes(config.output) == {'map0': ('FP32', [64, -1, -1], False)}
    assert {path.name for path in folder.iterdir()} == {'1', 'config.pbtxt'}


def test_a_class_of_two_lines_is_refused_before_anything_is_written(tmp_path):
    options = ExportOptions(
        source='yolov4_cspdarknet53_narrow', triton=tmp_path / 'models', classes=('a', 'b\nc'), form='nms'
    )
    with pytest.raises(UsageError, match=r"one class per line, but 'b\\nc' is not a single line"):
        run_export(options, say=lambda line: None)
    assert not list(tmp_path.iterdir())


def test_the_config_is_that_of_the_file(config_class, tmp_path, request):
    """Compare with ONNX Runtime's view of a real file: an axis is fixed in both or in neither."""
    files = request.config.pluginmanager.get_plugin('exported_files')
    metadata = files.metadata_of(form='nms')
    path = tmp_path / 'cells' / '1' / 'model.onnx'
    path.parent.mkdir(parents=True)
    onnx.save(files.model_of(metadata), path)
    write_config(path, 'cells', metadata)
    config = text_format.Parse((tmp_path / 'cells' / 'config.pbtxt').read_text(), config_class())
    assert config.max_batch_size == 8
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for ours, theirs in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [each.name for each in ours] == [each.name for each in theirs]
        for tensor, value in zip(ours, theirs, strict=True):
            fixed = [side if isinstance(side, int) else -1 for side in value.shape[1:]]
            shape = list(tensor.reshape.shape) if tensor.HasField('reshape') else list(tensor.dims)
            assert shape == fixed
