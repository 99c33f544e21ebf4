import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.models.families import backbone_families
from mmcnn.registry import MODELS
from mmcnn.runs.convert import convert
from mmcnn.weights import read_checkpoint
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.record import digest
from mmcnn.weights.sources.darknet import write_darknet


def filled(model):
    """Fill a model with distinct values that are plausible for a trained network."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model


def equal(one, other):
    floats = [key for key in one if not key.endswith('num_batches_tracked')]
    return all(torch.equal(one[key], other[key]) for key in floats) and len(floats) > 10


@pytest.fixture(scope='module')
def torchvision_file(tmp_path_factory):
    """A random state dict with the names of torchvision's ResNet-18, written here independently of the converter."""
    path = tmp_path_factory.mktemp('source') / 'resnet18-f37072fd.pth'
    state = {}
    for key, value in filled(mmcnn.build_classifier('resnet18')).state_dict().items():
        key = key.replace('backbone.stem.conv', 'conv1').replace('backbone.stem.bn', 'bn1').replace('top.classes', 'fc')
        for stage in range(2, 6):
            key = key.replace(f'backbone.stage{stage - 1}.blocks.', f'layer{stage - 1}.')
        for layer in ('conv1', 'conv2'):
            key = key.replace(f'.{layer}.conv.', f'.{layer}.').replace(f'.{layer}.bn.', f'.bn{layer[-1]}.')
        key = key.replace('.shortcut.conv.', '.downsample.0.').replace('.shortcut.bn.', '.downsample.1.')
        state[key] = value
    assert 'layer4.1.bn2.running_var' in state and 'layer2.0.downsample.0.weight' in state
    torch.save(state, path)
    return path


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_what_is_written_says_where_it_came_from(torchvision_file, ending, tmp_path):
    target = tmp_path / f'x.{ending}'
    report, record = convert(torchvision_file, target, 'resnet18')
    assert report.source == 'torchvision'
    assert record.source == torchvision_file.name
    assert record.sha256 == digest(torchvision_file)
    assert (record.model, record.format, record.library) == ('resnet18', 'pytorch', 'torchvision')
    assert record.activation == 'ReLU' and record.date and record.version == mmcnn.__version__
    file = Checkpoint.open(target)
    assert (file.format, file.record) == ('pytorch' if ending == 'pth' else ending, record)
    given = filled(mmcnn.build_classifier('resnet18')).state_dict()
    assert equal(given, dict(file.state_dict))
    # It can initialise a backbone directly.
    init_cfg = dict(type='Pretrained', checkpoint=str(target))
    backbone = mmcnn.build_backbone('resnet18', init_cfg=init_cfg)
    assert equal(backbone.state_dict(), {k.removeprefix('backbone.'): v for k, v in given.items()})
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_file_without_a_top_becomes_a_backbone(torchvision_file, tmp_path):
    state = {key: value for key, value in torch.load(torchvision_file).items() if not key.startswith('fc.')}
    torch.save(state, tmp_path / 'x.pth')
    report, _ = convert(tmp_path / 'x.pth', tmp_path / 'y.pth', 'resnet18')
    assert not report.left_out
    written = read_checkpoint(tmp_path / 'y.pth')['state_dict']
    assert all(key.startswith('backbone.') for key in written)
    assert len(written) == len(state)


def test_darknet_there_and_back(tmp_path):
    """Hand-worked header and sizes: bias, scale, mean, variance, then the kernel of each convolution."""
    model = filled(mmcnn.build_backbone('darknet53', out_indices=(0, 1, 2, 3, 4, 5)))
    torch.save(model.state_dict(), tmp_path / 'ours.pth')
    convert(tmp_path / 'ours.pth', tmp_path / 'x.weights', 'darknet53')
    stream = (tmp_path / 'x.weights').read_bytes()
    assert len(stream) == 162_482_580
    assert struct.unpack('<3iQ', stream[:20]) == (0, 2, 5, 0)
    floats = np.frombuffer(stream, '<f4', offset=20)
    norm = model.stem.bn
    first = torch.cat([norm.bias, norm.weight, norm.running_mean, norm.running_var, model.stem.conv.weight.flatten()])
    assert np.array_equal(floats[: len(first)], first.detach().numpy())
    _, record = convert(tmp_path / 'x.weights', tmp_path / 'back.safetensors', 'darknet53')
    assert (record.library, record.format) == ('darknet', 'darknet')
    back = {key.removeprefix('backbone.'): value for key, value in load_file(tmp_path / 'back.safetensors').items()}
    assert equal(model.state_dict(), back)
    assert back.keys() == model.state_dict().keys()  # no untrained top
    convert(tmp_path / 'back.safetensors', tmp_path / 'again.weights', 'darknet53')
    assert (tmp_path / 'again.weights').read_bytes() == stream


@pytest.mark.slow
def test_a_detector_by_the_name_of_its_config(tmp_path):
    cfg = load_config('yolov4_cspdarknet53_narrow')
    wire_model(cfg)
    model = filled(MODELS.build({'_scope_': 'mmdet', **cfg.model}))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'x.pth')
    _, record = convert(tmp_path / 'x.pth', tmp_path / 'y.safetensors', 'yolov4_cspdarknet53_narrow')
    assert (record.model, record.activation) == ('yolov4_cspdarknet53_narrow', 'Mish')
    assert equal(model.state_dict(), load_file(tmp_path / 'y.safetensors'))


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_the_conversion_of_a_run_makes_the_boxes_of_the_run(trained, shapes, ending, tmp_path):
    """Its anchors and image size differ from those of the named config."""
    content = torch.load(trained.checkpoint, weights_only=False)
    cfg = Checkpoint.open(trained.checkpoint).config
    cfg.model.bbox_head.anchors = [[(2 * w, h) for w, h in level] for level in cfg.model.bbox_head.anchors]
    for step in cfg.test_dataloader.dataset.pipeline:
        if 'img_scale' in step:
            step['img_scale'] = (96, 96)
    content['meta']['cfg'] = cfg.pretty_text
    torch.save(content, tmp_path / 'x.pth')
    named, target, said = trained.work_dir / 'yolov4_cspdarknet53.py', tmp_path / f'y.{ending}', []
    convert(tmp_path / 'x.pth', target, str(named), say=said.append)
    assert said == [
        'note: the config of the source is recorded; the named one would produce different boxes from the same weights'
    ]
    image = min((shapes / 'images').glob('val_*.jpg'))
    source, converted, other = (
        mmcnn.Detector(file, config, device='cpu', score_thr=0)(image)
        for file, config in ((tmp_path / 'x.pth', None), (target, None), (tmp_path / 'x.pth', str(named)))
    )
    assert len(source.boxes) > 10 and not np.array_equal(source.boxes, other.boxes)
    for part in ('boxes', 'scores', 'labels'):
        assert np.array_equal(getattr(converted, part), getattr(source, part)), part


@pytest.mark.slow
def test_the_conversion_of_a_darknet_file_makes_the_boxes_of_the_file(shapes, tmp_path):
    cfg = load_config('yolov3_darknet53')
    cfg.model.bbox_head.type = 'mmcnn.DarknetYOLOV3Head'
    cfg.model.bbox_head.bbox_coder.type = 'mmcnn.DarknetBBoxCoder'
    wire_model(cfg)
    torch.manual_seed(0)
    model = MODELS.build({'_scope_': 'mmdet', **cfg.model})
    for layer in model.bbox_head.convs_pred:
        torch.nn.init.uniform_(layer.bias, -1, 2.5)
    write_darknet(model, tmp_path / 'x.weights')
    convert(tmp_path / 'x.weights', tmp_path / 'y.pth', 'yolov3_darknet53')
    image = min((shapes / 'images').glob('val_*.jpg'))
    source, converted = (
        mmcnn.Detector(tmp_path / name, device='cpu', score_thr=0.01)(image) for name in ('x.weights', 'y.pth')
    )
    assert len(source.boxes) > 10
    for part in ('boxes', 'scores', 'labels'):
        assert np.array_equal(getattr(converted, part), getattr(source, part)), part


def test_a_part_of_a_detector_is_not_converted(tmp_path):
    """The file has the size of yolov4.conv.137 and contains zeros."""
    source = tmp_path / 'yolov4.conv.137'
    with source.open('wb') as file:
        file.write(struct.pack('<3iQ', 0, 2, 5, 0))
        file.truncate(170_038_676)
    with pytest.raises(CheckpointError, match=r'holds only a part of yolov4_cspdarknet53; .* random values'):
        convert(source, tmp_path / 'x.pth', 'yolov4_cspdarknet53')
    assert not (tmp_path / 'x.pth').exists()


def test_advice_is_an_option_of_the_conversion(torchvision_file, tmp_path):
    state = torch.load(torchvision_file)
    torch.save({**state, 'fc.weight': torch.ones(7, 512), 'fc.bias': torch.ones(7)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError) as error:
        convert(tmp_path / 'x.pth', tmp_path / 'y.pth', 'resnet18', num_classes=5)
    assert str(error.value).endswith('; its head has 7 classes: set num_classes=7')
    assert 'allow_head_mismatch' not in str(error.value)
    torch.save({**state, 'conv1.weight': torch.ones(64, 6, 7, 7)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='1 of another shape') as error:
        convert(tmp_path / 'x.pth', tmp_path / 'y.pth', 'resnet18')
    assert 'adapt_input' not in str(error.value)


def test_clear_refusals(torchvision_file, tmp_path):
    for name, target, message in (
        ('resnet1', 'x.pth', "no network and no config is called 'resnet1'; did you mean resnet101"),
        ('resnet18', 'x.bin', r'x\.bin: unknown suffix; use one of \.pth, \.safetensors, \.weights'),
        ('resnet18', 'gone/x.pth', r'the folder .*gone'),
    ):
        with pytest.raises(UsageError, match=message):
            convert(torchvision_file, tmp_path / target, name)
    with pytest.raises(UsageError, match='open-mmlab://darknet53 is an address, but SRC must be a file'):
        convert('open-mmlab://darknet53', tmp_path / 'x.pth', 'darknet53')
    with pytest.raises(UsageError, match='is the source file'):
        convert(torchvision_file, torchvision_file, 'resnet18')
    with pytest.raises(CheckpointError, match=r'does not fit vgg11: .*the file looks like resnet18'):
        convert(torchvision_file, tmp_path / 'x.pth', 'vgg11')
    with pytest.raises(CheckpointError, match='resnet18'):
        convert(torchvision_file, tmp_path / 'x.weights', 'resnet18')  # Darknet does not have this network
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_every_network_has_a_way_in():
    """convert() accepts each as a classifier or as a backbone, which builds with all its levels."""
    for name, family in backbone_families().items():
        with torch.device('meta'):
            levels = family(variant=name).levels
            assert not family(variant=name, out_indices=levels).unbuilt
