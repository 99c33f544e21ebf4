"""--data and --img-size: what they change in a config, and what they say of a folder that does not fit."""

import functools
import json
import re
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

import mmcnn
from mmcnn import cli, cli_data
from mmcnn.datasets.coco_folder import DataError

CLASSIFIER = 'classification/darknet53'
CONFIG = 'yolov4_cspdarknet53'
DARKNET = 'yolov4_cspdarknet53_darknet'


# ------------------------------------------------------------------------------------------------------------ detectors


def test_missing_coco_says_where_it_was_looked_for(run_tool, tmp_path):
    result = run_tool('train', CONFIG, cwd=tmp_path)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert f'{CONFIG}.py is not there: looked for data/coco/annotations/instances_train2017.json' in line
    assert f'(from {tmp_path})' in line
    assert '--data PATH' in line
    assert '--data demo' in line
    (tmp_path / 'data' / 'coco' / 'annotations').mkdir(parents=True)
    (tmp_path / 'data' / 'coco' / 'annotations' / 'instances_train2017.json').touch()
    result = run_tool('train', CONFIG, cwd=tmp_path)
    assert 'looked for data/coco/train2017 ' in result.err


def test_demo_folder_of_someone_else(run_tool, tmp_path):
    mine = tmp_path / cli_data.DEMO_DATA / 'mine.txt'
    mine.parent.mkdir(parents=True)
    mine.touch()
    result = run_tool('train', CONFIG, '--data', 'demo', cwd=tmp_path)
    assert result.code == 1
    assert re.fullmatch(r'error: --data demo: \S+ holds files that make_shapes did not write.*\n', result.err)
    assert list(mine.parent.iterdir()) == [mine]


def test_img_size_reaches_every_transform():
    cfg = cli.load_config(DARKNET)
    cli_data.set_img_size(cfg, 416)
    sizes = re.findall(r"'img_scale': (\(\d+, \d+\))", repr(cfg.to_dict()))
    assert len(sizes) >= 4
    assert set(sizes[-4:]) == {'(416, 416)'}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        scaled = [step for step in cfg[loader].dataset.pipeline if 'img_scale' in step]
        assert [step.img_scale for step in scaled] == [(416, 416)]
    # 480 and 896 of 608, at 416: 328.4 and 613.05, to multiples of 32.
    assert cfg.model.data_preprocessor.batch_augments[0].random_size_range == (320, 608)


def test_img_size_needs_a_transform_to_set():
    with pytest.raises(cli.UsageError, match='no transform with an img_scale'):
        cli_data.set_img_size(Config(dict(model=dict())), 64)


def test_data_sets_classes_files_and_evaluators(shapes):
    cfg = cli.load_config(CONFIG)
    folder = cli_data.set_data(cfg, str(shapes))
    assert (folder.num_train, folder.num_val) == (8, 4)
    datasets = [cfg.train_dataloader.dataset.dataset, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    assert [dataset.ann_file for dataset in datasets] == ['train.json', 'val.json', 'val.json']
    for dataset in datasets:
        assert dataset.data_root == str(shapes)
        assert dataset.data_prefix == dict(img='images/')
        assert dataset.metainfo.classes == ('circle', 'square', 'triangle')
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == str(shapes / 'val.json')


def test_classes_of_the_own_data():
    cfg = cli.load_config(CONFIG)
    cli_data.check_classes(cfg)  # COCO's 80
    dataset = cfg.train_dataloader.dataset.dataset
    dataset.metainfo = dict(classes=('cat', 'dog'))
    with pytest.raises(cli.UsageError, match=r"num_classes=80 of mmcnn\.YOLOHead.* 2 classes, \('cat', 'dog'\): set"):
        cli_data.check_classes(cfg)
    cfg.model.bbox_head.num_classes = 2
    cli_data.check_classes(cfg)
    dataset.metainfo = dict(classes='cat')
    with pytest.raises(cli.UsageError, match=r"num_classes=2 of .* 1 classes, \('cat',\)"):
        cli_data.check_classes(cfg)
    dataset.type, dataset.metainfo = 'BaseDataset', None  # which says nothing of its classes
    cli_data.check_classes(cfg)
    cfg.model.roi_head = dict(bbox_head=[dict(type='A', num_classes=2), dict(type='B', num_classes=3)])  # a cascade
    cfg.model.rpn_head = dict(type='RPNHead', num_classes=1)
    dataset.metainfo = dict(classes=('cat', 'dog'))
    with pytest.raises(cli.UsageError, match=r'num_classes=3 of B, but the training images have 2 classes'):
        cli_data.check_classes(cfg)


def test_data_of_a_checkpoint_has_to_have_its_classes(shapes):
    checkpoint = {'meta': {'dataset_meta': {'classes': ('square', 'circle', 'triangle')}}}
    with pytest.raises(cli.UsageError, match=r"trained on the classes \('square', 'circle', 'triangle'\)"):
        cli_data.set_data(cli.load_config(CONFIG), str(shapes), checkpoint)
    cli_data.set_data(cli.load_config(CONFIG), str(shapes), {'meta': {}})  # a checkpoint that does not say


def test_demo_data_is_drawn_by_the_first_process(tmp_path, monkeypatch):
    def make(root):
        root.mkdir()
        return root

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_data, 'DEMO_PATIENCE', 0)
    draw = functools.partial(cli_data._demo_data, make, Path('drawn'), 'last')
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(cli.UsageError, match='drawn was not drawn by the first process'):
        draw()
    monkeypatch.setenv('LOCAL_RANK', '0')
    assert draw() == 'drawn'
    (tmp_path / 'drawn' / 'last').touch()
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert draw() == 'drawn'


@pytest.mark.parametrize(
    ('config', 'size'), [(CONFIG, (640, 640)), (DARKNET, (608, 608)), ('faster_rcnn_fpn', (1333, 800))]
)
def test_image_size_is_that_of_the_test_pipeline(config, size):
    cfg = cli.load_config(config)
    assert cli_data.image_size(cfg) == size
    pipeline = cli_data.inner_dataset(cfg.test_dataloader).pipeline
    pipeline[:] = [step for step in pipeline if not {'img_scale', 'scale'} & step.keys()]
    assert cli_data.image_size(cfg) is None


def with_boxes(root, sizes):
    """A config whose training boxes, on one image of 1280 x 640 pixels, have these widths and heights."""
    boxes = [dict(image_id=1, bbox=[0, 0, w, h]) for w, h in sizes]
    (root / 'boxes.json').write_text(json.dumps(dict(images=[dict(id=1, width=1280, height=640)], annotations=boxes)))
    cfg = cli.load_config(CONFIG)
    cfg.train_dataloader.dataset.dataset.update(data_root=str(root), ann_file='boxes.json')
    return cfg


def test_unfit_anchors_are_warned_of(tmp_path, capsys):
    # At 640 px 80 x 80, which many anchors match, and 200 x 5, which none can.
    for unfit, warned in ((1, False), (2, False), (3, True)):
        cfg = with_boxes(tmp_path, [(160, 160)] * (100 - unfit) + [(400, 10)] * unfit)
        cli_data.warn_of_anchors(cfg, None)
        line = capsys.readouterr().out
        assert bool(line) is warned
    assert line == (
        'warning: the best possible recall of the anchors on the training boxes is 0.9700; ones that fit better: '
        f'python tools/anchors.py --config {cfg.filename} --img-size 640\n'
    )
    cli_data.warn_of_anchors(cfg, 'my data')
    assert "anchors.py --data 'my data' --config" in capsys.readouterr().out
    cli_data.set_img_size(cfg, 1280)  # 160 x 160, and 400 x 10 still
    cli_data.warn_of_anchors(cfg, None)
    assert 'is 0.9700' in capsys.readouterr().out


def test_anchors_are_not_warned_of_where_there_is_nothing_to_say(tmp_path, capsys, monkeypatch):
    cfg = with_boxes(tmp_path, [(400, 10)])
    cfg.model.bbox_head.pop('anchors')
    cli_data.warn_of_anchors(cfg, None)  # a head without anchors
    cfg = with_boxes(tmp_path, [(400, 10)])
    cfg.train_dataloader.dataset.dataset.ann_file = 'train.txt'
    cli_data.warn_of_anchors(cfg, None)  # another format
    cli_data.warn_of_anchors(with_boxes(tmp_path, []), None)  # no boxes
    cli_data.warn_of_anchors(cli.load_config(CLASSIFIER), None)
    cfg = with_boxes(tmp_path, [(400, 10)])
    for variable in ('RANK', 'SLURM_PROCID'):
        with monkeypatch.context() as patch:
            patch.setenv(variable, '1')
            cli_data.warn_of_anchors(cfg, None)  # one of several processes
    assert capsys.readouterr().out == ''
    cli_data.warn_of_anchors(cfg, None)
    assert 'is 0.0000' in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------- classifiers


def pipelines(cfg):
    return [cli_data.inner_dataset(cfg[f'{part}_dataloader']).pipeline for part in ('train', 'val', 'test')]


def sizes(cfg):
    return [step.img_scale for pipeline in pipelines(cfg) for step in pipeline if 'img_scale' in step]


def test_folder_of_classes_sets_classes_and_files(shape_classes):
    cfg = cli.load_config(CLASSIFIER)
    folder = cli_data.set_data(cfg, str(shape_classes))
    assert (folder.num_train, folder.num_val) == (24, 12)
    datasets = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    assert [dataset.data_prefix.img for dataset in datasets] == ['train/', 'val/', 'val/']
    for dataset in datasets:
        assert dataset.data_root == str(shape_classes)
        assert dataset.metainfo.classes == ('circle', 'square', 'triangle')
    assert cfg.model.num_classes == 3


def test_what_another_folder_leaves_out_is_not_left_out_here(shape_classes):
    cfg = cli.load_config(CLASSIFIER)
    cfg.train_dataloader.dataset.left_out = ['train/circle/a.jpg']  # as a recorded config has it
    cli_data.set_data(cfg, str(shape_classes))
    assert cfg.train_dataloader.dataset.left_out == []


def test_own_imagenet_is_looked_at_too(shape_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = cli.load_config(CLASSIFIER)
    with pytest.raises(
        cli.UsageError, match=r'darknet53\.py is not there: looked for data/imagenet/train .*train/CLASS'
    ):
        cli_data.set_data(cfg, None)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'imagenet').symlink_to(shape_classes)
    assert cli_data.set_data(cfg, None).num_train == 24
    assert cfg.model.num_classes == 3  # a part of ImageNet is fine
    assert cfg.train_dataloader.dataset.data_root == 'data/imagenet/'


def test_only_the_test_images_of_a_checkpoint_are_needed(shape_classes, tmp_path):
    shutil.copytree(shape_classes / 'val', tmp_path / 'val')
    checkpoint = {'meta': {'dataset_meta': {'classes': ('circle', 'square', 'triangle')}}}
    assert cli_data.set_data(cli.load_config(CLASSIFIER), str(tmp_path), checkpoint).num_val == 12
    # Weights of another kind than checkpoints say nothing of their classes.
    assert cli_data.set_data(cli.load_config(CLASSIFIER), str(tmp_path), {}).num_val == 12
    with pytest.raises(DataError, match=rf'{tmp_path}/train does not exist'):
        cli_data.set_data(cli.load_config(CLASSIFIER), str(tmp_path))
    checkpoint['meta']['dataset_meta']['classes'] = tuple(f'n{i:08}' for i in range(1000))
    with pytest.raises(cli.UsageError, match=r"classes \('n00000000', .* and 980 more\), but .* has \('circle', 'squ"):
        cli_data.set_data(cli.load_config(CLASSIFIER), str(tmp_path), checkpoint)


@pytest.mark.parametrize(('config', 'other'), [(CLASSIFIER, 'shapes'), (CONFIG, 'shape_classes')])
def test_folder_for_the_other_kind_of_network_is_refused(run_tool, request, tmp_path, config, other):
    result = run_tool('train', config, '--data', request.getfixturevalue(other), cwd=tmp_path)
    assert result.code == 1
    trained, meant = ('classifier', 'detector') if config == CLASSIFIER else ('detector', 'classifier')
    assert re.fullmatch(rf'error: .* data folder of a {meant}, this config trains a {trained}; .*\n', result.err)
    assert not list(tmp_path.iterdir())


def test_image_size_is_that_of_the_row(shape_classes):
    cfg = cli.load_config(CLASSIFIER)
    assert sizes(cfg) == [None] * 3
    cli_data.set_img_size(cfg, None)
    assert sizes(cfg) == [(256, 256)] * 3  # Darknet's ImageNet classifiers
    cfg = cli.load_config(CLASSIFIER, {'model.backbone.type': 'mmcnn.cspdarknet53-focus'})
    own = mmcnn.build_classifier('cspdarknet53-focus').image.size
    cli_data.set_img_size(cfg, None)
    assert sizes(cfg) == [(own, own)] * 3


def test_image_size_that_is_typed():
    cfg = cli.load_config(CLASSIFIER)
    cli_data.set_img_size(cfg, 100)
    assert sizes(cfg) == [(100, 100)] * 3
    cli_data.set_img_size(cfg, None)  # as a recorded config has it
    assert sizes(cfg) == [(100, 100)] * 3
    with pytest.raises(cli.UsageError, match='--img-size 31: it has to be at least 32'):
        cli_data.set_img_size(cfg, 31)


def test_image_too_small_for_the_network(monkeypatch):
    def narrow_way(self, inputs):
        raise RuntimeError('Kernel size can not be greater than actual input size\nand more')

    monkeypatch.setattr('mmcnn.models.classifiers.Classifier.forward', narrow_way)
    with pytest.raises(cli.UsageError, match=r'--img-size 64: too small for mmcnn\.darknet53 \(Kernel size .* size\)$'):
        cli_data.set_img_size(cli.load_config(CLASSIFIER), 64)


def scales(cfg, loader):
    return [t.scale for t in cli_data.inner_dataset(cfg[loader]).pipeline if 'scale' in t]


def test_img_size_of_mmdetections_transforms_is_the_longer_side():
    cfg = cli.load_config('yolov3_darknet53')
    cli_data.set_img_size(cfg, 320)
    # 320 to 608 px become 0.53 times as much, in multiples of 32: 5.3 and 10 of them.
    assert scales(cfg, 'train_dataloader') == [[(160, 160), (320, 320)]]
    assert scales(cfg, 'val_dataloader') == [(320, 320)]
    cfg = cli.load_config('faster_rcnn_resnet-fpn')
    cli_data.set_img_size(cfg, 320)
    assert scales(cfg, 'train_dataloader') == scales(cfg, 'test_dataloader') == [(320, 320)]
    with pytest.raises(cli.UsageError, match=r'--img-size 100: it has to be a multiple of 32'):
        cli_data.set_img_size(cfg, 100)


def test_memory_for_images_where_the_data_set_keeps_them():
    cfg = cli.load_config('yolov5_s')
    cli_data.set_cache(cfg, None)
    assert cfg.train_dataloader.dataset.cache_gb == 0
    cli_data.set_cache(cfg, 2.5)
    assert cfg.train_dataloader.dataset.cache_gb == 2.5
    with pytest.raises(cli.UsageError, match=r'--cache-gb: only mmcnn\.MosaicDataset keeps decoded images'):
        cli_data.set_cache(cli.load_config('yolov3_darknet53'), 2.5)


def test_a_half_switch_to_the_device_is_refused():
    cfg = cli.load_config('yolov5_s', {'train_dataloader.dataset.device_augmentation': True})
    cli_data.set_cache(cfg, None)
    cfg.model.data_preprocessor.type = 'DetDataPreprocessor'
    with pytest.raises(cli.UsageError, match=r'type=mmcnn\.PlanPreprocessor, not with DetDataPreprocessor'):
        cli_data.set_cache(cfg, None)
