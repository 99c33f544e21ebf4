"""The catalog against its own rules, our networks and the publishers' installed packages."""

import inspect
import re
import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mmdet
import pytest
import yaml
from mmengine.config import Config

from mmcnn.config.files import config_folder
from mmcnn.errors import CheckpointError
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring import wire
from mmcnn.weights.addresses import resolve
from mmcnn.weights.sources import keras, timm, torchvision
from mmcnn.weights.sources import mmdet as mmdet_weights
from mmcnn.weights.sources.catalog import CATALOG, activation_name, as_text, find, of_file, of_model

ENTRIES = list(CATALOG.values())
CONFIGS = {path.stem: path for path in config_folder().glob('*.py')}
#: Our variants -> the networks that Keras builds for them, as in the comparison of the networks.
KERAS_PEERS = runpy.run_path(str(Path(__file__).parents[2] / 'parity' / 'test_keras.py'))['PEERS']
SHA256 = re.compile(r'[0-9a-f]{64}')


def entries_of(library):
    found = [entry for entry in ENTRIES if entry.library == library]
    assert found
    return found


def row_of(entry):
    return backbone_families()[entry.backbone or entry.model].variants[entry.backbone or entry.model]


@pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: entry.name)
def test_entry_is_well_formed(entry):
    assert re.fullmatch(r'[a-z0-9_-]+/[a-z0-9._-]+', entry.name)
    assert entry.name.startswith(f'{entry.model}/{entry.library.replace("ultralytics", "ultralytics-v")}')
    assert entry.address == f'mmcnn://{entry.name}'
    assert entry.urls and all(url.startswith('https://') for url in entry.urls)
    assert len({url.rpartition('/')[2] for url in entry.urls}) == 1  # mirrors of one file
    assert not entry.sha256 or SHA256.fullmatch(entry.sha256)
    assert re.fullmatch('[0-9a-f]{8}|', entry.hash_prefix)
    assert not entry.hash_prefix or f'-{entry.hash_prefix}.' in entry.urls[0]
    assert re.fullmatch('[0-9a-f]{32}|', entry.md5)
    assert bool(entry.metric) == bool(entry.source)
    assert re.fullmatch(r'top-1 \d\d\.\d+( at \d+ px)?|AP \d\d\.\d (test-dev|val2017) at \d+ px|', entry.metric)
    assert bool(entry.warning) == ('2014' in entry.trained_on)


def test_no_file_is_listed_or_kept_twice():
    assert max(Counter(url for entry in ENTRIES for url in entry.urls).values()) == 1
    assert max(Counter(entry.file for entry in ENTRIES).values()) == 1
    hashes = [entry.sha256 or entry.hash_prefix or entry.md5 for entry in ENTRIES]
    assert max(Counter(filter(None, hashes)).values()) == 1


@pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: entry.name)
def test_model_exists_and_is_what_was_trained(entry):
    row = row_of(entry)
    if entry.backbone:
        config = Config.fromfile(CONFIGS[entry.model])
        assert config.model.backbone.type == f'mmcnn.{entry.backbone}'
        preprocessor = wire(config.model).data_preprocessor
        assert tuple(preprocessor.mean) == pytest.approx(entry.image.mean)
        assert tuple(preprocessor.std) == pytest.approx(entry.image.std)
        assert preprocessor.bgr_to_rgb == (entry.image.order == 'rgb')
    elif entry.model not in ('vgg16', 'vgg19') or entry.library == 'keras':  # these two variants declare Keras's format
        assert replace(entry.image, size=row.image.size) == row.image
    assert entry.activation == activation_name(row.act)
    assert entry.norm_eps == (row.norm and row.norm['eps'])


def test_sizes_that_are_not_the_rows():
    other = {entry.name: entry.image.size for entry in ENTRIES if not entry.backbone}
    other = {name: size for name, size in other.items() if size != row_of(CATALOG[name]).image.size}
    focus = {f'cspdarknet-focus-{size}/ultralytics-v5.0': 640 for size in 'mlx'}
    assert other == {'darknet53/darknet-448': 448, 'darknet53/darknet-conv74': 448, **focus}


LIBRARIES = dict(keras=keras.SOURCE, mmdet=mmdet_weights.SOURCE, timm=timm.SOURCE, torchvision=torchvision.SOURCE)


@pytest.mark.parametrize('library', LIBRARIES)
def test_a_library_has_rules_for_the_rows_that_it_is_listed_for(library):
    for entry in entries_of(library):
        names = [cls.__name__ for cls in backbone_families()[entry.backbone or entry.model].__mro__]
        assert any(name in LIBRARIES[library].rules for name in names), entry.name


def test_what_saw_val2017_says_so():
    assert {entry.urls[0].rpartition('/')[2] for entry in ENTRIES if entry.warning} == {
        'yolov3.weights',
        'yolov4.weights',
        'yolov4.conv.137',
    }


def test_mish_and_leaky_relu_are_told_apart():
    """The files of one network would load into the other, with wrong results."""
    assert {entry.activation for entry in of_model('cspdarknet53')} == {'Mish'}
    assert {entry.activation for entry in of_model('cspdarknet53-timm')} == {'LeakyReLU(0.01)'}
    assert {entry.activation for entry in of_model('darknet53')} == {'LeakyReLU(0.1)'}


def test_find_and_its_nearest_names():
    assert find('vgg16/keras').urls[0].endswith('/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5')
    with pytest.raises(CheckpointError, match=r"named 'mmcnn://resnet50/torch'; did you mean mmcnn://resnet50"):
        find('resnet50/torch')
    with pytest.raises(CheckpointError, match='mmcnn://resnet50-tv/torchvision-v1'):
        find('resnet50-tv')


def test_an_old_name_is_found_with_a_warning():
    with pytest.warns(DeprecationWarning, match='mmcnn://faster_rcnn_resnet-fpn_2x is now called mmcnn://faster_rcnn'):
        assert find('faster_rcnn_resnet-fpn_2x/mmdet') is CATALOG['faster_rcnn_resnet50_fpn_2x/mmdet']


def test_what_fits_a_model():
    assert [entry.name for entry in of_model('resnet50')] == ['resnet50/keras', 'resnet50/keras-notop']
    assert [entry.name for entry in of_model('cspdarknet-s')] == [
        'yolov5_s/ultralytics-v6.1',
        'yolov5_s/ultralytics-v7.0',
    ]
    assert of_model('inceptionv1') == []


def test_text():
    lines = as_text().splitlines()
    files = [line for line in lines if line and not line.startswith(' ')]
    assert [line.split()[0] for line in files[1 : len(ENTRIES) + 1]] == list(CATALOG)
    assert max(map(len, files)) <= 160
    only = as_text('yolov4_cspdarknet53_darknet')
    assert only.count('WARNING') == 2 and 'resnet' not in only
    assert 'AP 43.5 test-dev at 608 px' in only and 'yolov4.weights' in only
    assert len(re.findall('^[a-z].*  keras  .*md5$', as_text('keras'), flags=re.MULTILINE)) > 20
    with pytest.raises(CheckpointError, match="no published weights for 'resnet51'; did you mean resnet50"):
        as_text('resnet51')


@pytest.mark.parametrize(
    ('act', 'name'),
    [
        (dict(type='ReLU', inplace=True), 'ReLU'),
        (dict(type='mmcnn.Mish'), 'Mish'),
        (dict(type='LeakyReLU', negative_slope=0.1), 'LeakyReLU(0.1)'),
    ],
)
def test_activation_name(act, name):
    assert activation_name(act) == name


# ------------------------------------------------------------------------------------------ against the publishers


def test_torchvision_says_the_same(torchvision):
    published = {
        weights.url: weights
        for name in torchvision.models.list_models(module=torchvision.models)
        for weights in torchvision.models.get_model_weights(name)
    }
    for entry in entries_of('torchvision'):
        weights = published[entry.urls[0]]
        assert weights.name == f'IMAGENET1K_V{entry.name[-1]}'
        assert entry.metric == f'top-1 {weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]}'
        preset = weights.transforms()
        assert preset.crop_size == [entry.image.size]
        if entry.model not in ('inceptionv1-tv', 'inceptionv3-tv'):  # they rescale to -1 to 1 inside the model
            assert entry.image.mean == pytest.approx([255 * m for m in preset.mean])
            assert entry.image.std == pytest.approx([255 * s for s in preset.std])


@pytest.fixture
def keras_downloads(keras, monkeypatch):
    """Return what keras.applications would download: ``files(name, arguments, size, top) -> (url, MD5)``."""
    from keras.src.utils import file_utils

    class Downloading(Exception):  # noqa: N818
        pass

    def get_file(*args, **kwargs):
        names = dict(inspect.signature(original).bind(*args, **kwargs).arguments)
        raise Downloading(names['origin'], names.get('file_hash') or '')

    original = file_utils.get_file
    monkeypatch.setattr(file_utils, 'get_file', get_file)

    def files(name, arguments, size, top):
        keras.utils.clear_session()
        with pytest.raises(Downloading) as caught:
            getattr(keras.applications, name)(include_top=top, input_shape=(size, size, 3), **arguments)
        return caught.value.args

    return files


#: The variants whose networks Keras builds quickly.
QUICK = ['mobilenet-050', 'mobilenetv2-035', 'mobilenetv3-small-075']
#: One variant for each further form of file name; the others are compared by hand.
SLOW = ['resnet50', 'resnet50v2', 'densenet121', 'efficientnet-b0', 'inceptionv3']
KERAS = [entry.name for entry in ENTRIES if entry.library == 'keras']


def tier(name):
    model = name.partition('/')[0]
    return () if model in QUICK else pytest.mark.slow if model in SLOW else pytest.mark.campaign


@pytest.mark.parametrize('name', [pytest.param(name, marks=tier(name)) for name in KERAS])
def test_keras_downloads_the_same(keras_downloads, name):
    entry = find(name)
    assert keras_downloads(*KERAS_PEERS[entry.model], entry.top) == (entry.urls[0], entry.md5)


def test_keras_states_these_hashes(keras):
    applications = Path(keras.__file__).parent / 'src' / 'applications'
    source = '\n'.join(path.read_text() for path in applications.glob('*.py'))
    stated = set(re.findall(r'"([0-9a-f]{32})"', source))
    hashes = {entry.md5 for entry in entries_of('keras')}
    assert hashes - {''} <= stated
    assert {entry.model for entry in entries_of('keras') if not entry.md5} == {
        model for model in KERAS_PEERS if re.match('mobilenet(v2)?(-|$)', model)
    }


def test_keras_rows_are_all_listed():
    """Each has files with and without the classifier."""
    assert {(entry.model, entry.top) for entry in entries_of('keras')} == {
        (model, top) for model in KERAS_PEERS for top in (True, False)
    }


def test_timm_says_the_same(timm):
    for entry in entries_of('timm'):
        name = re.search(r'timm/([^/]+)/', entry.urls[0])
        theirs = timm.get_pretrained_cfg(name[1] if name else 'legacy_xception.tf_in1k')
        assert entry.urls == (
            (f'https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors',)
            if theirs.hf_hub_id
            else (theirs.url,)
        )
        assert entry.licence.lower() == theirs.license
        assert theirs.input_size == (3, entry.image.size, entry.image.size)
        assert entry.image.mean == pytest.approx([255 * m for m in theirs.mean])
        assert entry.image.std == pytest.approx([255 * s for s in theirs.std])
        if entry.metric:
            tested_at = max(theirs.test_input_size or theirs.input_size)
            assert entry.metric.endswith(f' at {tested_at} px')


def test_mmdetection_says_the_same():
    folder = Path(mmdet.__file__).parent / '.mim' / 'configs'
    metafiles = [yaml.safe_load((folder / name / 'metafile.yml').read_text()) for name in ('yolo', 'faster_rcnn')]
    published = {model['Weights']: model['Results'] for meta in metafiles for model in meta['Models']}
    backbone, *detectors = sorted(entries_of('mmdet'), key=lambda entry: bool(entry.backbone))
    assert backbone.urls[0] == resolve('open-mmlab://darknet53').urls[0]
    for entry in detectors:
        assert entry.metric.startswith(f'AP {published[entry.urls[0]][0]["Metrics"]["box AP"]} val2017')


def test_a_file_is_known_by_its_name_and_hash_together():
    entry = find('resnet50-tv/torchvision-v1')
    name = entry.urls[0].rpartition('/')[2]
    assert name == 'resnet50-0676ba61.pth'
    assert of_file(name, '0676ba61' + 56 * '0') is entry
    assert of_file(name, 64 * '0') is None and of_file('other.pth', '0676ba61' + 56 * '0') is None
    # Without a published SHA-256, a name alone proves nothing.
    assert of_file('darknet53.conv.74', 64 * '0') is None
