import importlib.util
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmcnn.config.files import config_folder
from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import read_checkpoint
from mmcnn.weights.recorded_config import (
    other_normalisation,
    parse_literals,
    recorded_config,
    recorded_entries,
    refuse_code_in_meta,
)

LEAVES = sorted(
    str(path.relative_to(config_folder()).with_suffix(''))
    for path in config_folder().rglob('*.py')
    if '_base_' not in path.parts
)
MMDET = Path(importlib.util.find_spec('mmdet').origin).parent / '.mim' / 'configs'


def with_config(text):
    return {'meta': {'cfg': text}}


def test_every_kind_of_value_comes_back():
    values = dict(
        integers=[0, -1, 10**20],
        floats=(1e-5, -0.25, 1e300, math.inf, -math.inf),
        flags=[True, False, None],
        one=('circle',),
        none=(),
        nested=[(1, (2, [3, dict(a=(4,))])), {}, [], dict()],
        words='it\'s "quoted",\n多 lines and \\ a backslash',
        keys={'with space': 1, 'a-b': (2,), 3: 'three'},
        part=dict(type='mmcnn.YOLOGridCoder', scale_xy=(1.2, 1.1, 1.05), size='exp'),
    )
    read = recorded_config(with_config(Config(values).pretty_text), 'x.pth').to_dict()
    assert read == values
    for key in ('integers', 'floats', 'flags', 'one', 'none', 'nested'):
        assert repr(read[key]) == repr(values[key])  # repr tells 1 from True
    assert math.isnan(recorded_config(with_config('x = nan'), 'x.pth').x)


def test_config_of_a_saved_checkpoint(trained):
    recorded = recorded_config(read_checkpoint(trained.checkpoint), str(trained.checkpoint))
    dumped = Config.fromfile(trained.work_dir / 'yolov4_cspdarknet53.py')
    assert recorded.to_dict() == dumped.to_dict()
    assert recorded.model.backbone.widen_factor == 0.0625
    assert recorded.train_dataloader.dataset.dataset.metainfo.classes == ('circle', 'square', 'triangle')
    assert recorded.load_from is None


#: One config of each kind of detector; the others are slow tests.
QUICK = ('faster_rcnn_resnet50_fpn', 'yolov3_darknet53', 'yolov4_cspdarknet53_narrow', 'yolov5_n', 'yolov5_s_focus')


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in LEAVES]
)
def test_every_config_of_ours_can_be_recorded(name):
    cfg = load_config(name)
    assert recorded_config(with_config(cfg.pretty_text), 'x.pth').model == cfg.model  # before wiring
    wire_model(cfg)
    assert recorded_config(with_config(cfg.pretty_text), 'x.pth').to_dict() == cfg.to_dict()


@pytest.mark.skipif(not MMDET.is_dir(), reason='this MMDetection comes without its configs')
@pytest.mark.parametrize(
    'name',
    [
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py',
        'pascal_voc/retinanet_r50_fpn_1x_voc0712.py',
    ],
)
def test_plain_detectors_of_mmdetection_are_accepted(name):
    cfg = Config.fromfile(MMDET / name)
    assert recorded_config(with_config(cfg.pretty_text), 'x.pth').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('metric', ['CocoMetric', 'LVISMetric', 'OpenImagesMetric', 'VOCMetric'])
def test_metrics_that_only_count_are_accepted(metric):
    cfg = Config(dict(test_evaluator=dict(type=metric), val_evaluator=[dict(type=f'mmdet.{metric}')]))
    assert recorded_config(with_config(cfg.pretty_text), 'x.pth').to_dict() == cfg.to_dict()


CODE = [
    'import os',
    'from os import system',
    'import os\nos.system("touch {marker}")',
    'x = __import__("os").system("touch {marker}")',
    'x = open("{marker}", "w")',
    'x = [1, dict(a=open("{marker}", "w"))]',
    'x = lambda: 1',
    'x = (lambda: 1)()',
    'x = [open(f, "w") for f in ["{marker}"]]',
    "x = f\"{{open('{marker}', 'w')}}\"",
    'x = "a" + "b"',
    'x = 2 ** 3',
    'x = [1][0]',
    'x = y',
    'x = print',
    'x = (y := 1)',
    'x = dict([("a", 1)])',
    'x = dict({{1: 2}}, a=3)',
    'x = dict({{1: print}})',
    'x = dict(**dict(a=1))',
    'x = {{**dict(a=1)}}',
    'x = dict.fromkeys("a")',
    'x = -"a".real',
    'x, y = 1, 2',
    'x = y = 1',
    'x.y = 1',
    'x["y"] = 1',
    'x += 1',
    'x: int = 1',
    'def f(): pass',
    'class A: pass',
    'if True: x = 1',
    'open("{marker}", "w")',
    'del x',
]


@pytest.mark.parametrize('code', CODE)
def test_anything_but_literals_is_refused(code, tmp_path):
    marker = tmp_path / 'ran'
    text = 'model = dict(type="SSDHead")\n' + code.format(marker=marker)
    with pytest.raises(CheckpointError, match=r'the config inside x\.pth was rejected, line 2: .*nothing was run'):
        recorded_config(with_config(text), 'x.pth')
    assert not marker.exists()


@pytest.mark.parametrize(
    'part',
    [
        # A registry would import these, since they are not registered.
        dict(type='os.system', command='true'),
        dict(type='mmengine.put_text', text='x', filepath='x'),
        dict(type='mmdet.xyz'),
        dict(type='mmcnn.xyz'),
        dict(type='xyz'),
        dict(type='mmengine.os.system'),
        dict(type='os.ResNet'),
        # These reach a registry by other keys.
        dict(type='mmcnn.wired', detector='os.system', command='true'),
        dict(type='EMAHook', ema_type='os.system'),
        dict(type='RandomResize', resize_type='os.system', command='true'),
        dict(type='OptimWrapper', constructor='os.system'),
        # mmcv evaluates these as names of operators.
        dict(type='__import__("os").system("true")', iou_threshold=0.5),
        dict(nms=dict(type='exec')),
        # These are registered, but evaluate strings, or download and unpickle files.
        dict(type='CameraMotionCompensation', warp_mode='__import__("os").system("true")'),
        dict(type='StrongSORTTracker', cmc=None),
        dict(type='mmdet.KnowledgeDistillationSingleStageDetector', teacher_ckpt='http://127.0.0.1/x.pth'),
        dict(type='RFSearchHook', mode='search'),
        dict(type='OpenImagesDataset', meta_file='x.pkl'),
        dict(type='CocoDataset', proposal_file='x.pkl'),
        dict(type='CityScapesMetric', outfile_prefix='x'),
        dict(type='CocoOccludedSeparatedMetric', occluded_ann='x.pkl'),
        dict(type='DumpDetResults', out_file_path='x.pkl'),
        dict(type='BertModel', name='x'),
        dict(type='Detectron2Wrapper'),
    ],
)
def test_types_that_could_run_code_are_refused(part):
    for place in (part, [1, (part,)], {'a b': part}):
        text = Config(dict(model=place)).pretty_text
        with pytest.raises(CheckpointError, match='was rejected, line '):
            recorded_config(with_config(text), 'x.pth')


def test_refusal_names_the_value():
    with pytest.raises(CheckpointError, match=r"line 2: `type='os\.system'` is not plain data"):
        parse_literals('a = 1\nb = [dict(x=1, type="os.system")]', 'x.pth')


@pytest.mark.parametrize(
    'text', ['x = (', 'x = 1\n  y = 2', 'x = "\0"', 'x = ' + '[' * 5000, 'x = ' + '-' * 50_000 + '1', 'x = {[]: 1}']
)
def test_unreadable_text(text):
    with pytest.raises(CheckpointError, match=r'the config inside x\.pth (cannot be read|was rejected)'):
        parse_literals(text, 'x.pth')


def test_reserved_name():
    with pytest.raises(CheckpointError, match=r'x\.pth cannot be read: filename is reserved'):
        recorded_config(with_config('filename = 1'), 'x.pth')


def test_long_sums_do_not_exhaust_the_stack():
    with pytest.raises(CheckpointError, match=r'the config inside x\.pth (cannot be read|was rejected)'):
        parse_literals('x = ' + '1 + ' * 3000 + '1', 'x.pth')


@pytest.mark.parametrize('checkpoint', [{}, {'meta': {}}, {'meta': {'cfg': None}}, {'state_dict': {}}])
def test_no_config(checkpoint):
    with pytest.raises(CheckpointError, match=r'old\.pth holds no config .*give the config'):
        recorded_config(checkpoint, 'old.pth')


def test_what_resuming_would_run():
    refuse_code_in_meta({'meta': {}}, 'x.pth')
    refuse_code_in_meta({'meta': {'config': 'gpu_ids = [0, 1]'}}, 'x.pth')
    for code in ('import os', 'gpu_ids = range(2)', torch.Size([1])):
        with pytest.raises(CheckpointError, match=r'x\.pth was rejected, line 1'):
            refuse_code_in_meta({'meta': {'config': code}}, 'x.pth')


UNIT = dict(type='DetDataPreprocessor', mean=(0.0, 0.0, 0.0), std=[255, 255, 255], bgr_to_rgb=True)


def recorded(preprocessor, kind='SingleStageDetector', hook=''):
    """Return a checkpoint of a run with this data preprocessor; ``hook`` is further text of its config."""
    text = f'{hook}\nmodel = dict(type={kind!r}, data_preprocessor={preprocessor})'
    return dict(meta=dict(cfg=text))


@pytest.mark.parametrize(
    ('now', 'then', 'other'),
    [
        (UNIT, UNIT, None),
        (UNIT, "dict(mean=[0, 0, 0], std=[255.0, 255.0, 255.0], bgr_to_rgb=True, type=object())", None),
        (UNIT, {'mean': [0, 0, 0], 'std': [255] * 3, 'bgr_to_rgb': True, 'rgb_to_bgr': False}, None),
        (UNIT, dict(UNIT, mean=[1, 0, 0]), 'trained with mean=[1.0, 0.0, 0.0] in model.data_preprocessor, but '
         'this config has mean=[0.0, 0.0, 0.0]'),
        (UNIT, {}, 'trained with mean=None, std=None, bgr_to_rgb=None in'),  # a plain config without normalisation
        ({}, UNIT, 'this config has mean=None, std=None, bgr_to_rgb=None: the results will be wrong'),
        (None, UNIT, None),
    ],
)  # fmt: skip
def test_another_normalisation_is_told(now, then, other):
    # A custom hook, which would be refused in a config that is built, does not matter here.
    said = other_normalisation(now, recorded(then, hook="custom_hooks = [dict(type='my.Hook'), open('x')]"), 'x.pth')
    assert said is None if other is None else other in said


@pytest.mark.parametrize(
    'checkpoint',
    [
        {},
        dict(meta={}),
        dict(meta=dict(cfg=None)),
        dict(meta=dict(cfg='model = (')),
        dict(meta=dict(cfg='a = 1')),
        dict(meta=dict(cfg="model = dict(type='A')")),
        recorded({}, 'mmcnn.wired'),  # only the backbone's variant had it, in the release that trained it
        recorded('dict(mean=[f(), 1, 2])'),
        recorded('build()'),
    ],
)
def test_what_a_run_did_not_say_is_not_told(checkpoint):
    assert other_normalisation(UNIT, checkpoint, 'x.pth') is None


def test_entries_are_read_whatever_their_types_are():
    text = "model = dict(type='os.system')\nrecipe = 'warm-start'\n"
    assert recorded_entries({'meta': {'cfg': text}}).recipe == 'warm-start'
    with pytest.raises(CheckpointError):
        recorded_config({'meta': {'cfg': text}}, 'a.pth')


@pytest.mark.parametrize(
    'meta', [{}, {'cfg': None}, {'cfg': "recipe = open('x')"}, {'cfg': 'for'}, {'cfg': 'text = 1'}]
)
def test_what_is_no_data_has_no_entries(meta):
    assert recorded_entries({'meta': meta}).get('recipe') is None
