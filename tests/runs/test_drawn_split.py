"""--val-fraction and --split-seed are recorded in the config and used again in tests and resumed runs."""

import copy
import json
import re
import shutil

import pytest
import torch
from PIL import Image

from mmcnn.config.load import load_config
from mmcnn.datasets.check.drawn_split import Draw
from mmcnn.errors import DataError, UsageError
from mmcnn.runs.api import check_data
from mmcnn.runs.data import set_data
from mmcnn.runs.drawn_split import draw_for, draw_of, draw_to_continue, drawn_flags, refuse_other_images
from mmcnn.runs.options import SplitOptions, TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runs.work_dirs import RunKind, write_record

CONFIG = 'yolov4_cspdarknet53'
CHECKPOINT = {'meta': {'dataset_meta': {'classes': ('cat',)}}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """annotations.json with ten images of one box each."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    (root / 'images').mkdir(parents=True)
    for i in range(10):
        Image.new('RGB', (40, 30), (20 * i, 0, 0)).save(root / 'images' / f'{i}.png')
    coco = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=40, height=30) for i in range(10)],
        annotations=[dict(id=i, image_id=i, category_id=1, bbox=[1, 2, 10, 9]) for i in range(10)],
        categories=[dict(id=1, name='cat')],
    )
    (root / 'annotations.json').write_text(json.dumps(coco))
    return root


def train(root, draw):
    cfg = load_config(CONFIG)
    return cfg, set_data(cfg, root, say=lambda line: None, draw=draw)


def images_of(dataset):
    return {image['file_name'] for image in json.loads(open(dataset.ann_file, 'rb').read())['images']}


def test_a_training_uses_both_sides_and_records_the_draw(root):
    cfg, folder = train(root, Draw(0.3, 5))
    train_images, val_images = images_of(cfg.train_dataloader.dataset.dataset), images_of(cfg.val_dataloader.dataset)
    assert (len(train_images), len(val_images), len(train_images | val_images)) == (7, 3, 10)
    assert (cfg.drawn_split.val_fraction, cfg.drawn_split.split_seed) == (0.3, 5)
    assert cfg.val_evaluator.ann_file == cfg.val_dataloader.dataset.ann_file
    assert (folder.num_train, folder.num_val) == (7, 3)
    assert drawn_flags(cfg) == ['--val-fraction', '0.3', '--split-seed', '5']
    cfg, _ = train(root, Draw(0.3, 5))
    assert images_of(cfg.val_dataloader.dataset) == val_images


@pytest.mark.parametrize('draw', [None, Draw(0.3, 5)])
def test_a_test_uses_the_images_of_the_training(root, draw):
    cfg, _ = train(root, Draw(0.3, 5))
    held_out, said = images_of(cfg.val_dataloader.dataset), []
    set_data(cfg, root, CHECKPOINT, say=said.append, draw=draw)
    assert images_of(cfg.test_dataloader.dataset) == held_out
    assert not [line for line in said if line.startswith('warning')]


def test_a_test_on_other_images_says_so(root):
    cfg, _ = train(root, Draw(0.3, 5))
    said = []
    set_data(cfg, root, CHECKPOINT, say=said.append, draw=Draw(0.5))
    (line,) = [line for line in said if line.startswith('warning')]
    assert line == (
        'warning: the validation images differ from those of the training, which drew them with val_fraction=0.3 and '
        'split_seed=5; now they are drawn with val_fraction=0.5 and split_seed=0, and some of them may have been '
        'trained on'
    )


def test_with_a_config_by_its_name_the_checkpoint_says_what_was_drawn(root):
    recorded, _ = train(root, Draw(0.3, 5))
    cfg, said = load_config(CONFIG), []
    set_data(cfg, root, CHECKPOINT, say=said.append, recorded=recorded)
    assert images_of(cfg.test_dataloader.dataset) == images_of(recorded.val_dataloader.dataset)
    set_data(cfg, root, CHECKPOINT, say=said.append, draw=Draw(0.5), recorded=recorded)
    assert [line for line in said if line.startswith('warning: the validation images differ from those')]


def other_images_than(root, place):
    shutil.copytree(root, place)
    for i in range(10):
        Image.new('RGB', (40, 30), (0, 20 * i, 9)).save(place / 'images' / f'{i}.png')
    return place


def test_another_folder_is_tested_on_whole(root, tmp_path):
    cfg, _ = train(root, Draw(0.3, 5))
    held_out = images_of(cfg.val_dataloader.dataset)
    said = []
    for start in (cfg, load_config(CONFIG)):  # a run of mmcnn; published weights
        tested = copy.deepcopy(start)
        place = tmp_path / f'others{len(said)}'
        set_data(tested, other_images_than(root, place), CHECKPOINT, say=said.append)
        assert len(images_of(tested.test_dataloader.dataset)) == 10
        assert said[-1].strip() == ('annotations.json: all 10 images are evaluated: the folder has no splits')
        assert 'drawn_split' not in tested
    shutil.copytree(root, tmp_path / 'moved')
    set_data(cfg, tmp_path / 'moved', CHECKPOINT, say=said.append)
    assert images_of(cfg.test_dataloader.dataset) == held_out


def test_another_folder_is_not_trained_on_with_a_recorded_draw(root, tmp_path):
    cfg, _ = train(root, Draw(0.3, 5))
    with pytest.raises(DataError, match='no validation images: --val-fraction'):
        set_data(cfg, other_images_than(root, tmp_path / 'others'))


def test_a_run_is_not_continued_on_other_images(root):
    recorded, folder = train(root, Draw(0.3, 5))
    refuse_other_images(recorded, folder.drawn)
    _, other = train(root, Draw(0.3, 6))
    with pytest.raises(UsageError, match=r'trained on\. Continue the run with val_fraction=0\.3 and split_seed=5, or'):
        refuse_other_images(recorded, other.drawn)


def test_a_run_is_not_continued_on_drawn_images_if_it_had_others_nor_the_other_way(root):
    recorded, folder = train(root, Draw(0.3, 5))
    with pytest.raises(
        UsageError, match=r'were not drawn in .*, but now they are drawn; .* with the unchanged data, or'
    ):
        refuse_other_images(load_config(CONFIG), folder.drawn)
    with pytest.raises(
        UsageError, match=r'were drawn in .*, but now they are not; .* with val_fraction=0\.3 and split_s'
    ):
        refuse_other_images(recorded, None)
    refuse_other_images(load_config(CONFIG), None)


def test_what_is_recorded_counts_only_where_it_is_needed(root, shapes):
    cfg, _ = train(root, Draw(0.3, 5))
    assert draw_for(cfg, root, None) == Draw(0.3, 5)
    assert draw_for(cfg, shapes, None) is None  # it has val.json
    set_data(cfg, shapes, say=lambda line: None)
    assert 'drawn_split' not in cfg
    cfg.drawn_split = dict(anything=1)  # a user's entry
    assert draw_for(cfg, root, None) is None
    assert drawn_flags(cfg) == []


def test_options(root, shapes, shape_classes):
    assert draw_of(SplitOptions()) is None
    assert draw_of(SplitOptions(val_fraction=0.2)) == Draw(0.2, 0)
    for fraction in (0, 1, -0.1, 1.5, float('nan')):
        with pytest.raises(UsageError, match=rf'val_fraction={fraction:g}: it must be above 0 and below 1'):
            SplitOptions(val_fraction=fraction)
    with pytest.raises(UsageError, match='split_seed=3 needs val_fraction'):
        SplitOptions(split_seed=3)
    with pytest.raises(UsageError, match=r'val_fraction=0\.2: it needs data=PATH'):
        set_data(load_config(CONFIG), 'demo', draw=Draw(0.2))
    with pytest.raises(UsageError, match=r'val_fraction=0\.2: a classifier is always validated on val/'):
        set_data(load_config('classification/darknet53'), shape_classes, draw=Draw(0.2))
    with pytest.raises(DataError, match='already has validation images'):
        set_data(load_config(CONFIG), shapes, draw=Draw(0.2))


def test_check_data_draws_too(root, run_tool):
    report = check_data(root, val_fraction=0.3, split_seed=5)
    assert [len(split.coco['images']) for split in report.splits] == [7, 3]
    result = run_tool('check_data', root, '--val-fraction', 0.3, '--split-seed', 5)
    assert result.code == 0
    assert re.search(r'\(train\): 7 images, 7 boxes; annotations\.json \(val\): 3 images, 3 boxes', result.out)
    result = run_tool('check_data', root)
    assert result.code == 1
    assert '--val-fraction 0.2' in result.err


@pytest.mark.parametrize(
    ('typed', 'draw'),
    [
        ({}, Draw(0.3, 5)),
        (dict(val_fraction=0.3), Draw(0.3, 5)),
        (dict(val_fraction=0.3, split_seed=6), Draw(0.3, 6)),
        (dict(val_fraction=0.4), Draw(0.4, 5)),
    ],
)
def test_what_is_not_typed_is_that_of_the_run_that_is_continued(root, shapes, typed, draw):
    recorded, _ = train(root, Draw(0.3, 5))
    assert draw_to_continue(recorded, root, SplitOptions(**typed)) == draw
    assert draw_to_continue(recorded, shapes, SplitOptions()) is None  # it has val.json
    none = load_config(CONFIG)
    assert draw_to_continue(none, root, SplitOptions(**typed)) == draw_of(SplitOptions(**typed))


def test_a_run_is_continued_without_its_fraction(root, tmp_path, monkeypatch):
    recorded, _ = train(root, Draw(0.3, 5))
    run = tmp_path / 'run'
    run.mkdir()
    meta = dict(cfg=f'drawn_split = {dict(recorded.drawn_split)!r}\n', epoch=2, iter=4)
    torch.save(dict(state_dict={'x': torch.ones(1)}, optimizer={}, meta=meta), run / 'epoch_2.pth')
    (run / 'last_checkpoint').write_text(str(run / 'epoch_2.pth'))
    write_record(run, RunKind(CONFIG, None, str(root.resolve())))
    draws = []

    def reached(cfg, *args):
        draws.extend(each for each in args if isinstance(each, Draw))
        raise EOFError

    monkeypatch.setattr('mmcnn.runs.prepare.set_data', reached)

    def drawn(**typed):
        draws.clear()
        with kept_process_state(), pytest.raises(EOFError):
            prepare(TrainOptions(config=CONFIG, data=root, device='cpu', **typed))
        return draws[0] if draws else None

    for typed in (
        dict(resume=True, work_dir=run),
        dict(resume=run / 'epoch_2.pth', work_dir=run),
        dict(resume=True, work_dir=run, val_fraction=0.3),
        dict(cfg_options=dict(resume=True), load_from=run / 'epoch_2.pth', work_dir=tmp_path / 'other'),
    ):
        assert drawn(**typed) == Draw(0.3, 5), typed
    assert drawn(resume=True, work_dir=run, val_fraction=0.3, split_seed=6) == Draw(0.3, 6)
    assert drawn(work_dir=tmp_path / 'new') is None
    assert drawn(resume=True, work_dir=tmp_path / 'new') is None  # there is no checkpoint
