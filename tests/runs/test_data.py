"""--data and --cache-gb: their effect on a config, and messages about folders that do not fit."""

import json
import re
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcnn.config.load import load_config
from mmcnn.errors import DataError, UsageError
from mmcnn.runs import data
from mmcnn.runs.data import check_classes, continue_cache, set_cache, set_data

CLASSIFIER = 'classification/darknet53'
CONFIG = 'yolov4_cspdarknet53'


def test_missing_coco_says_where_it_was_looked_for(run_tool, tmp_path):
    result = run_tool('train', CONFIG, cwd=tmp_path)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert f'{CONFIG}.py is missing: data/coco/annotations/instances_train2017.json' in line
    assert f'(relative to {tmp_path})' in line
    assert 'data=PATH' in line
    assert 'data=demo' in line
    (tmp_path / 'data' / 'coco' / 'annotations').mkdir(parents=True)
    (tmp_path / 'data' / 'coco' / 'annotations' / 'instances_train2017.json').touch()
    result = run_tool('train', CONFIG, cwd=tmp_path)
    assert 'is missing: data/coco/train2017 ' in result.err


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder for the user."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'mmcnn'


def test_demo_folder_of_someone_else(run_tool, cache, tmp_path):
    mine = cache / data.DEMO_DATA / 'mine.txt'
    mine.parent.mkdir(parents=True)
    mine.touch()
    result = run_tool('train', CONFIG, '--data', 'demo', cwd=tmp_path)
    assert result.code == 1
    assert re.fullmatch(
        r'error: the demo data cannot be drawn in \S+: \S+ has files that make_shapes did not write.*\n', result.err
    )
    assert list(mine.parent.iterdir()) == [mine]
    assert [path.name for path in tmp_path.iterdir()] == ['cache']  # nothing is written to the current folder


def test_demo_data_is_drawn_by_the_first_process(cache, monkeypatch):
    def make(root):
        root.mkdir(parents=True)
        return root

    monkeypatch.setattr(data, 'DEMO_PATIENCE', 0)
    monkeypatch.setattr(data, 'make_shapes', make)
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(DataError, match='demo was not drawn by the first process'):
        data.demo_data()
    monkeypatch.setenv('LOCAL_RANK', '0')
    assert data.demo_data() == str(cache / 'demo')
    (cache / 'demo' / 'val.json').touch()
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert data.demo_data() == str(cache / 'demo')


def test_data_sets_classes_files_and_evaluators(shapes):
    cfg = load_config(CONFIG)
    folder = set_data(cfg, str(shapes))
    assert (folder.num_train, folder.num_val) == (8, 4)
    datasets = [cfg.train_dataloader.dataset.dataset, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    assert [dataset.ann_file for dataset in datasets] == ['train.json', 'val.json', 'val.json']
    for dataset in datasets:
        assert dataset.data_root == str(shapes)
        assert dataset.data_prefix == dict(img='images/')
        assert dataset.metainfo.classes == ('circle', 'square', 'triangle')
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == str(shapes / 'val.json')


def test_a_relative_folder_is_recorded_in_full(shapes, shape_classes, monkeypatch, tmp_path):
    detector, classifier = load_config(CONFIG), load_config(CLASSIFIER)
    for cfg, folder in ((detector, shapes), (classifier, shape_classes)):
        monkeypatch.chdir(folder.parent)
        set_data(cfg, folder.name)
        assert cfg.test_dataloader.dataset.data_root == str(folder)
    assert detector.test_evaluator.ann_file == str(shapes / 'val.json')


def trained_on(*classes):
    return {'meta': {'dataset_meta': {'classes': classes}}}


def val_of(cfg):
    """Return the categories and the number of boxes that a config is evaluated on; labels follow their order."""
    dataset = cfg.test_dataloader.dataset
    assert cfg.test_evaluator.ann_file == str(Path(dataset.data_root) / dataset.ann_file)
    coco = json.loads(Path(cfg.test_evaluator.ann_file).read_bytes())
    assert tuple(each['name'] for each in coco['categories']) == tuple(dataset.metainfo.classes)
    return tuple(dataset.metainfo.classes), len(coco['annotations'])


def test_data_of_a_checkpoint_has_to_have_its_classes(shapes):
    with pytest.raises(UsageError, match=r"on the classes \('square', 'ring'\), but .* has \('circle', 'square', "
                                         r"'t.*classes=... with some of square"):  # fmt: skip
        set_data(load_config(CONFIG), str(shapes), trained_on('square', 'ring'))
    set_data(load_config(CONFIG), str(shapes), {'meta': {}})  # a checkpoint without classes


def test_classes_of_a_checkpoint_fit_by_their_names(shapes):
    cfg, said = load_config(CONFIG), []
    set_data(cfg, str(shapes), trained_on('square', 'circle', 'triangle'), say=said.append)
    assert (val_of(cfg)[0], said) == (('square', 'circle', 'triangle'), [])
    every = val_of(cfg)[1]
    folder = set_data(cfg, str(shapes), trained_on('triangle', 'circle'), say=said.append)
    assert (folder.classes, cfg.model.bbox_head.num_classes) == (('triangle', 'circle'), 2)
    assert val_of(cfg)[0] == ('triangle', 'circle') and 0 < val_of(cfg)[1] < every
    assert said[0] == 'note: classes in use (1)' and said[1].startswith(
        '  val.json: 2 of 3 classes; dropped boxes of the others'
    )
    assert 'classes' not in cfg.test_evaluator


def test_chosen_classes_of_a_training(shapes):
    cfg, said = load_config(CONFIG), []
    folder = set_data(cfg, str(shapes), say=said.append, classes=['triangle,circle'])
    assert (folder.classes, folder.num_train, folder.num_val) == (('circle', 'triangle'), 8, 4)
    assert val_of(cfg)[0] == ('circle', 'triangle')
    assert cfg.train_dataloader.dataset.dataset.metainfo.classes == ('circle', 'triangle')
    assert (cfg.model.bbox_head.num_classes, said[0]) == (2, 'note: classes in use (2)')
    with pytest.raises(UsageError, match=r"classes='sqare': .*train\.json has no such class; did you mean square\?"):
        set_data(load_config(CONFIG), str(shapes), classes=['sqare'])


def test_chosen_classes_of_a_test(shapes):
    cfg, said = load_config(CONFIG), []
    folder = set_data(cfg, str(shapes), trained_on('ring', 'square', 'circle'), say=said.append, classes=['square'])
    assert folder.classes == ('ring', 'square', 'circle')  # as in the network
    assert cfg.test_evaluator.classes == ['square']
    assert said[-1] == "note: evaluating 1 of the 3 classes of the checkpoint: ('square',)"
    for classes, message in (
        (['ring'], r"classes='ring': .*val\.json has no such"),
        (['oval'], 'the checkpoint has no'),
    ):
        with pytest.raises(UsageError, match=message):
            set_data(load_config(CONFIG), str(shapes), trained_on('ring', 'square'), classes=classes)


def test_where_classes_cannot_be_chosen(shape_classes):
    with pytest.raises(UsageError, match=r"classes=\['a'\] needs data=PATH"):
        set_data(load_config(CONFIG), None, classes=['a'])
    with pytest.raises(UsageError, match=r"classes=\['circle'\] needs a detector"):
        set_data(load_config(CLASSIFIER), str(shape_classes), classes=['circle'])


def test_folder_of_classes_sets_classes_and_files(shape_classes):
    cfg = load_config(CLASSIFIER)
    folder = set_data(cfg, str(shape_classes))
    assert (folder.num_train, folder.num_val) == (24, 12)
    datasets = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    assert [dataset.data_prefix.img for dataset in datasets] == ['train/', 'val/', 'val/']
    for dataset in datasets:
        assert dataset.data_root == str(shape_classes)
        assert dataset.metainfo.classes == ('circle', 'square', 'triangle')
    assert cfg.model.num_classes == 3


def test_what_another_folder_leaves_out_is_not_left_out_here(shape_classes):
    cfg = load_config(CLASSIFIER)
    cfg.train_dataloader.dataset.left_out = ['train/circle/a.jpg']  # as in a recorded config
    set_data(cfg, str(shape_classes))
    assert cfg.train_dataloader.dataset.left_out == []


def test_own_imagenet_is_looked_at_too(shape_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load_config(CLASSIFIER)
    with pytest.raises(UsageError, match=r'darknet53\.py is missing: data/imagenet/train .*train/CLASS'):
        set_data(cfg, None)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'imagenet').symlink_to(shape_classes)
    assert set_data(cfg, None).num_train == 24
    assert cfg.model.num_classes == 3  # a subset of ImageNet is allowed
    assert cfg.train_dataloader.dataset.data_root == 'data/imagenet/'


def test_only_the_test_images_of_a_checkpoint_are_needed(shape_classes, tmp_path):
    shutil.copytree(shape_classes / 'val', tmp_path / 'val')
    checkpoint = {'meta': {'dataset_meta': {'classes': ('circle', 'square', 'triangle')}}}
    assert set_data(load_config(CLASSIFIER), str(tmp_path), checkpoint).num_val == 12
    # Weights other than checkpoints have no classes.
    assert set_data(load_config(CLASSIFIER), str(tmp_path), {}).num_val == 12
    with pytest.raises(DataError, match=rf'{tmp_path}/train does not exist'):
        set_data(load_config(CLASSIFIER), str(tmp_path))
    checkpoint['meta']['dataset_meta']['classes'] = tuple(f'n{i:08}' for i in range(1000))
    with pytest.raises(UsageError, match=r"classes \('n00000000', .* and 980 more\), but .* has \('circle', 'squ"):
        set_data(load_config(CLASSIFIER), str(tmp_path), checkpoint)


@pytest.mark.parametrize(('config', 'other'), [(CLASSIFIER, 'shapes'), (CONFIG, 'shape_classes')])
def test_folder_for_the_other_kind_of_network_is_refused(run_tool, request, tmp_path, config, other):
    result = run_tool('train', config, '--data', request.getfixturevalue(other), cwd=tmp_path)
    assert result.code == 1
    trained, meant = ('classifier', 'detector') if config == CLASSIFIER else ('detector', 'classifier')
    assert re.fullmatch(rf'error: .* data folder of a {meant}, but this config trains a {trained}; .*\n', result.err)
    assert not list(tmp_path.iterdir())


def test_memory_for_images_where_the_data_set_keeps_them():
    cfg = load_config('yolov5_s')
    set_cache(cfg, None)
    assert cfg.train_dataloader.dataset.cache_gb is None  # enough for a small data set
    set_cache(cfg, 0.0)
    assert cfg.train_dataloader.dataset.cache_gb == 0
    set_cache(cfg, 2.5)
    assert cfg.train_dataloader.dataset.cache_gb == 2.5
    with pytest.raises(UsageError, match=r'cache_gb=\S+: only mmcnn\.MosaicDataset keeps decoded images'):
        set_cache(load_config('yolov3_darknet53'), 2.5)


def test_a_half_switch_to_the_device_is_refused():
    cfg = load_config('yolov5_s', {'train_dataloader.dataset.device_augmentation': True})
    set_cache(cfg, None)
    cfg.model.data_preprocessor.type = 'DetDataPreprocessor'
    with pytest.raises(UsageError, match=r'type=mmcnn\.PlanPreprocessor, not DetDataPreprocessor'):
        set_cache(cfg, None)


def several(*roots, classes=('circle', 'square', 'triangle'), kind='CocoDataset'):
    """Return a ConcatDataset with one data set per folder."""
    files = dict(ann_file='train.json', data_prefix=dict(img='images/'), metainfo=dict(classes=classes))
    return dict(type='ConcatDataset', datasets=[dict(type=kind, data_root=str(root), **files) for root in roots])


def test_several_data_sets_of_a_config_are_all_looked_at(shapes, tmp_path):
    cfg = load_config(CONFIG)
    cfg.val_dataloader.dataset.update(data_root=str(shapes), ann_file='val.json', data_prefix=dict(img='images/'))
    cfg.train_dataloader.dataset.dataset = several(shapes, shapes)
    assert set_data(cfg, None) is None
    cfg.train_dataloader.dataset.dataset = several(shapes, tmp_path / 'gone')
    with pytest.raises(UsageError, match=rf'is missing: {tmp_path}/gone/train\.json'):
        set_data(cfg, None)


def test_a_mosaic_mixes_images_of_several_data_sets(shapes):
    from mmengine.registry import DefaultScope

    from mmcnn.registry import DATASETS

    cfg = load_config(CONFIG, {'mosaic_affine.img_scale': (64, 64)}, say=lambda note: None)
    cfg.train_dataloader.dataset.dataset = several(shapes, shapes)
    with DefaultScope.overwrite_default_scope('mmdet'):  # as in a Runner
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 16 and dataset.metainfo['classes'] == ('circle', 'square', 'triangle')
    assert dataset.get_data_info(11)['img_path'] == dataset.get_data_info(3)['img_path']
    assert dataset.annotations.path(11) == dataset.get_data_info(11)['img_path']
    assert tuple(dataset[11]['inputs'].shape) == (3, 64, 64)


def test_data_takes_the_place_of_several_data_sets_and_says_so(shapes, tmp_path):
    cfg, said = load_config(CONFIG), []
    cfg.train_dataloader.dataset.dataset = several(tmp_path / 'a', tmp_path / 'b')
    set_data(cfg, str(shapes), say=said.append)
    dataset = cfg.train_dataloader.dataset.dataset
    assert (dataset.type, dataset.data_root, dataset.ann_file) == ('CocoDataset', str(shapes), 'train.json')
    assert said == ['note: train_dataloader: data= replaces the 2 data sets in ConcatDataset']


def test_data_sets_of_another_format_are_read_as_coco(shapes):
    cfg, said = load_config(CONFIG), []
    cfg.train_dataloader.dataset.dataset = dict(
        type='RepeatDataset', times=3, dataset=several('x', kind='VOCDataset')['datasets'][0] | dict(img_subdir='J')
    )
    set_data(cfg, str(shapes), say=said.append)
    dataset = cfg.train_dataloader.dataset.dataset.dataset
    assert (dataset.type, dataset.ann_file, 'img_subdir' in dataset) == ('CocoDataset', 'train.json', False)
    assert said == ['note: train_dataloader: data= is read by CocoDataset instead of VOCDataset']


def test_every_metric_with_an_annotation_file_gets_that_of_the_data(shapes):
    cfg = load_config(CONFIG)
    cfg.val_evaluator = [dict(type='mmcnn.CocoMetric'), dict(type='VOCMetric'), dict(type='CocoMetric', prefix='x')]
    cfg.test_evaluator = dict(type='Evaluator', metrics=[dict(type='mmcnn.CocoMetric', ann_file='old')])
    set_data(cfg, str(shapes))
    file = str(shapes / 'val.json')
    assert [metric.get('ann_file') for metric in cfg.val_evaluator] == [file, None, file]
    assert cfg.test_evaluator.metrics[0].ann_file == file and 'ann_file' not in cfg.test_evaluator


def test_without_validation_only_the_training_images_are_needed(shapes, tmp_path):
    root = shutil.copytree(shapes, tmp_path / 'data')
    (root / 'val.json').unlink()
    cfg = load_config(CONFIG, dict(val_cfg=None, val_dataloader=None, val_evaluator=None))
    assert set_data(cfg, str(root)).num_train == 8
    assert cfg.train_dataloader.dataset.dataset.data_root == str(root)
    with pytest.raises(DataError):
        set_data(load_config(CONFIG), str(root))


def test_a_cache_is_shared_between_several_mosaics():
    cfg = load_config(CONFIG)
    mosaic = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[mosaic, dict(mosaic)])
    set_cache(cfg, 4)
    assert [each.cache_gb for each in cfg.train_dataloader.dataset.datasets] == [2, 2]


def of_cache(*gigabytes, **others):
    """Return a config with a mosaic data set for each cache."""
    sets = [dict(type='mmcnn.MosaicDataset', cache_gb=each) for each in gigabytes]
    return Config(dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=sets)), **others))


@pytest.mark.parametrize(
    ('now', 'before', 'then', 'said'),
    [
        ([None], [0.0], [0.0], 'cache_gb=0, which is kept'),
        ([None], [2.5], [2.5], 'cache_gb=2.5, which is kept'),
        ([None, None], [1.0, 2.0], [1.0, 2.0], 'cache_gb=3, which is kept'),
        ([None], [None], [None], None),
        ([4.0], [0.0], [4.0], None),  # the user's
        ([None], [1.0, 1.0], [None], None),  # other data sets
    ],
)
def test_a_resumed_run_keeps_its_memory_for_images(now, before, then, said):
    cfg, notes = of_cache(*now), []
    continue_cache(cfg, of_cache(*before), notes.append)
    assert [each.cache_gb for each in cfg.train_dataloader.dataset.datasets] == then
    assert [said in note for note in notes] == ([True] if said else [])


def test_a_resumed_run_of_a_config_without_the_entry_had_no_memory_for_images():
    cfg, before = of_cache(None), of_cache(None)
    del before.train_dataloader.dataset.datasets[0]['cache_gb']
    continue_cache(cfg, before, lambda note: None)
    assert cfg.train_dataloader.dataset.datasets[0].cache_gb == 0
    for recorded in ({}, load_config('yolov3_darknet53')):  # a file without a config; another kind of data set
        cfg = of_cache(None)
        continue_cache(cfg, recorded, pytest.fail)
        assert cfg.train_dataloader.dataset.datasets[0].cache_gb is None


def test_classes_of_the_own_data():
    cfg = load_config(CONFIG)
    check_classes(cfg)  # COCO's 80
    dataset = cfg.train_dataloader.dataset.dataset
    dataset.metainfo = dict(classes=('cat', 'dog'))
    with pytest.raises(UsageError, match=r"num_classes=80 of mmcnn\.YOLOHead.* 2 classes, \('cat', 'dog'\): set"):
        check_classes(cfg)
    cfg.model.bbox_head.num_classes = 2
    check_classes(cfg)
    dataset.metainfo = dict(classes='cat')
    with pytest.raises(UsageError, match=r"num_classes=2 of .* 1 classes, \('cat',\)"):
        check_classes(cfg)
    dataset.type, dataset.metainfo = 'BaseDataset', None  # it has no classes of its own
    check_classes(cfg)
    cfg.model.roi_head = dict(bbox_head=[dict(type='A', num_classes=2), dict(type='B', num_classes=3)])  # a cascade
    cfg.model.rpn_head = dict(type='RPNHead', num_classes=1)
    dataset.metainfo = dict(classes=('cat', 'dog'))
    with pytest.raises(UsageError, match=r'num_classes=3 of B, but the training images have 2 classes'):
        check_classes(cfg)


def test_several_data_sets_have_the_same_classes():
    cfg = load_config(CONFIG)
    both = [dict(type='CocoDataset', metainfo=dict(classes=('circle', 'square', 'triangle'))) for _ in range(2)]
    cfg.model.bbox_head.num_classes = 3
    cfg.train_dataloader.dataset.dataset = dict(type='ConcatDataset', datasets=both)
    check_classes(cfg)
    cfg.train_dataloader.dataset.dataset.datasets[1].metainfo = dict(classes=('cat', 'dog', 'cow'))
    advice = r'in CocoDataset; give both the same metainfo=dict\(classes=\(\.\.\.\)\)$'
    message = rf"the data sets have different classes: \('circle'.* \('cat', 'dog', 'cow'\) {advice}"
    with pytest.raises(UsageError, match=message):
        check_classes(cfg)
