"""Runs of a comparison: their commands, their records and when they train again, with stand-ins for the trainings."""

import argparse
import dataclasses
import json
import os
import threading
import types

import pytest
import torch
from mmengine.config import Config

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.compare import run as run_of_comparison
from mmcnn.compare import trainings as compare_trainings
from mmcnn.compare.candidates import Candidate
from mmcnn.compare.options import CompareOptions
from mmcnn.config.load import load_config
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs.options import TrainOptions

TWO = [Candidate('darknet53'), Candidate('mobilenetv2')]
BUDGET = dict(data='demo', epochs=3, img_size=64, batch_size=None, amp=False, cfg_options={'model.x': (1, 2)})


@pytest.fixture(scope='module')
def cfg():
    return load_config('yolov4_cspdarknet53')


@pytest.fixture
def runs(cfg, tmp_path):
    return compare_trainings.plan(cfg, TWO, [(4, None), (5, None)], tmp_path, BUDGET, workers=0, device=None)


class Trainings:
    """A stand-in for the processes: records commands, and writes a training's files or fails as planned."""

    def __init__(self):
        self.commands, self.plans, self.clock = [], {}, 0.0

    def run(self, command, stdout, stderr):
        self.commands.append(command)
        folder = command[command.index('--work-dir') + 1]
        plan = self.plans.pop(os.path.relpath(folder, os.path.join(folder, '..', '..')), {})
        self.clock += plan.get('seconds', 10.0)
        print(plan.get('says', 'done'), file=stdout)
        if 'raises' in plan:
            raise plan['raises']
        if 'code' not in plan:
            logs = os.path.join(folder, f'2026{len(self.commands)}', 'vis_data')
            os.makedirs(logs)
            entry = plan.get('entry', {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5, 'step': 3})
            lines = [{'coco/bbox_mAP': 0.9, 'coco/bbox_mAP_50': 0.9, 'step': 1}] if 'coco/bbox_mAP' in entry else []
            with open(os.path.join(logs, 'scalars.json'), 'w') as file:
                file.writelines(json.dumps(line) + '\n' for line in [*lines, entry])
            open(os.path.join(folder, 'epoch_3.pth'), 'w').close()
            with open(os.path.join(folder, 'last_checkpoint'), 'w') as file:
                file.write('/where/it/was/epoch_3.pth')
        return types.SimpleNamespace(returncode=plan.get('code', 0))


@pytest.fixture
def trainings(monkeypatch):
    trainings = Trainings()
    monkeypatch.setattr(run_of_comparison.subprocess, 'run', trainings.run)
    monkeypatch.setattr(run_of_comparison.time, 'perf_counter', lambda: trainings.clock)
    return trainings


def of(command):
    """Return the backbone and seed that a command trains."""
    backbone, seed = command[command.index('--work-dir') + 1].split('/')[-2:]
    assert command[command.index('--seed') + 1] == seed.removeprefix('seed_')
    return backbone, seed


ALL = [('darknet53', 'seed_4'), ('mobilenetv2', 'seed_4'), ('darknet53', 'seed_5'), ('mobilenetv2', 'seed_5')]


def test_every_backbone_trains_in_its_folder_by_the_ordinary_tool(runs, trainings, tmp_path):
    compare_trainings.train_all(runs)
    assert [of(command) for command in trainings.commands] == ALL
    command = trainings.commands[1]
    assert command[1:4] == ['-m', 'mmcnn', 'train']
    assert command[5:] == [
        '--work-dir', str(tmp_path / 'mobilenetv2' / 'seed_4'), '--seed', '4', '--resume', '--workers', '0',
        '--keep-detections', '--data', 'demo', '--epochs', '3', '--img-size', '64', '--cfg-options', 'model.x=(1, 2)',
    ]  # fmt: skip
    config = Config.fromfile(command[4])
    assert config.model.backbone == dict(type='mmcnn.mobilenetv2', out_indices=(3, 4, 5))
    assert config.model.data_preprocessor.mean == [127.5, 127.5, 127.5]
    assert config.train_cfg.max_epochs == 300  # the budget is an option, not part of the config


def test_last_validation_is_the_result(runs, trainings):
    compare_trainings.train_all(runs[:1])
    assert runs[0].result() == dict(AP=0.25, AP50=0.5, seconds=10.0)


def test_a_record_that_cannot_be_written_whole_stays_as_it_was(runs, trainings, monkeypatch):
    compare_trainings.train_all(runs[:1])
    before = runs[0].record()

    def full(*args):
        raise OSError('no space')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='no space'):
        runs[0].train()
    assert runs[0].record() == before


def test_what_is_finished_is_not_trained_again(cfg, runs, trainings, tmp_path, capsys):
    compare_trainings.train_all(runs[:3])
    compare_trainings.train_all(runs)
    assert [of(command) for command in trainings.commands] == ALL
    assert '[1/4] darknet53, seed 4: already trained' in capsys.readouterr().out
    # A later call, even after the folder was moved, reads the records and does not train.
    tmp_path.rename(tmp_path.with_name('moved'))
    again = compare_trainings.plan(cfg, TWO[:1], [(4, None)], tmp_path.with_name('moved'), BUDGET)
    for run in again:
        run.refuse_others()
    compare_trainings.train_all(again)
    assert len(trainings.commands) == 4
    again[0].checkpoint().unlink()
    compare_trainings.train_all(again)
    assert len(trainings.commands) == 5


@pytest.mark.parametrize(
    ('plan', 'reason'),
    [
        (dict(code=1, says='Epoch 1\nerror: out of memory\n\n'), 'out of memory'),
        (dict(code=1, says='error: not finite\n  the images:\n    a.jpg\n'), 'not finite'),
        (dict(code=-9, says='Epoch 2'), 'killed by signal 9, after: Epoch 2'),
        (dict(entry={'loss': 1.0, 'step': 3}), 'it ended without a validation'),
    ],
)
def test_one_that_fails_leaves_the_others_alone(runs, trainings, plan, reason, capsys):
    trainings.plans['mobilenetv2/seed_4'] = plan
    compare_trainings.train_all(runs)
    assert f'[2/4] mobilenetv2, seed 4: failed: {reason}' in capsys.readouterr().out
    assert [run.result() is not None for run in runs] == [True, False, True, True]
    assert runs[1].record()['failure'] == reason
    if 'code' in plan:
        compare_trainings.train_all(runs)  # a failed run is trained again
        assert [of(command) for command in trainings.commands[4:]] == [ALL[1]]
        assert runs[1].result() is not None
        assert runs[1].record()['failure'] is None


def test_interrupted_run_goes_on_and_its_time_counts(runs, trainings):
    trainings.plans['darknet53/seed_4'] = dict(raises=KeyboardInterrupt(), seconds=7.0)
    with pytest.raises(KeyboardInterrupt):
        compare_trainings.train_all(runs)
    assert runs[0].result() is None
    assert runs[0].record()['failure'] == 'interrupted'
    runs[0].refuse_others()
    compare_trainings.train_all(runs[:1])
    assert '--resume' in trainings.commands[1]
    assert runs[0].result()['seconds'] == 17.0


def test_budgets_are_not_mixed(cfg, runs, trainings, tmp_path):
    compare_trainings.train_all(runs[:1])
    (other,) = compare_trainings.plan(cfg, TWO[:1], [(4, None)], tmp_path, BUDGET | dict(epochs=5))
    with pytest.raises(
        UsageError, match=r'seed_4 contains a run with other settings \(epochs 3, now 5\); .*fresh=True'
    ):
        other.refuse_others()
    changed = cfg.copy()
    changed.nominal_batch_size = 32
    (other,) = compare_trainings.plan(changed, TWO[:1], [(4, None)], tmp_path, BUDGET)
    with pytest.raises(UsageError, match=r'\(recipe \w{12}, now \w{12}\)'):
        other.refuse_others()
    # Settings that do not affect results may differ.
    (other,) = compare_trainings.plan(cfg, TWO[:1], [(4, None)], tmp_path, BUDGET, workers=3, device='cpu')
    other.refuse_others()


def test_only_runs_of_comparisons_are_deleted(runs, trainings, tmp_path):
    compare_trainings.train_all(runs[:1])
    mine = runs[1].folder / 'mine.txt'
    mine.parent.mkdir(parents=True)
    mine.touch()
    with pytest.raises(UsageError, match='seed_4 contains files that do not belong to a comparison'):
        runs[1].refuse_others()
    for run in runs:
        run.discard()
    assert [path.is_dir() for path in (runs[0].folder, runs[1].folder)] == [False, True]
    assert mine.is_file()


def test_options_are_read_again_as_they_were():
    parser = argparse.ArgumentParser()
    add_options(parser, TrainOptions)
    words = [
        '--data', 'a folder', '--img-size', '64', '--cfg-options', 'a.b=1', 'c=(64,64)', "d=[(1,2.5),'x']", 'e=None',
        'f=True', 'g=text', 'h=1e-3',
    ]  # fmt: skip
    first = options_from(parser.parse_args(words), TrainOptions, config='x')
    assert first.cfg_options['d'] == [(1, 2.5), 'x']
    again = run_of_comparison.typed({name: getattr(first, name) for name in ('data', 'img_size', 'cfg_options')})
    assert options_from(parser.parse_args(again), TrainOptions, config='x') == first
    assert run_of_comparison.typed(dict(classes=['a', 'b c'])) == ['--classes', 'a', 'b c']
    assert run_of_comparison.typed(dict(amp=True, fresh=False, epochs=None, cfg_options={}, workers=0)) == [
        '--amp', '--workers', '0',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('names', 'options', 'message'),
    [
        (['darknet53', 'darknet35'], {}, r"backbone=darknet35: unknown backbone 'darknet35'; did you mean"),
        (['resnet-fpn-tv'], {'model.backbone.out_indices': (1,)}, r'backbone=resnet-fpn-tv: .*has no level 1'),
        (['vgg16', 'darknet53'], {'model.backbone.depth': 3}, "backbone=vgg16: VGG has no argument 'depth'"),
    ],
)
def test_what_cannot_be_built_is_named(cfg, shapes, names, options, message):
    with pytest.raises(UsageError, match=message):
        compare_trainings.check(TrainOptions(config=cfg, data=shapes, cfg_options=options), [*map(Candidate, names)])


def test_check_tells_size_and_changes(cfg, shapes, capsys):
    before = cfg.pretty_text
    assert compare_trainings.check(
        TrainOptions(config=cfg, data=shapes), [*map(Candidate, ('vgg16', 'darknet53'))]
    ) == (('circle', 'square', 'triangle'), {3}, (640, 640))
    out = capsys.readouterr().out
    assert 'vgg16: images are normalised as vgg16 expects' in out
    assert 'darknet53: ' not in out
    assert cfg.pretty_text == before


@pytest.mark.parametrize('by', ['', 'file://'], ids=['path', 'address'])
def test_weights_that_do_not_fit_are_refused_before_any_training(trained, by):
    (config,) = trained.work_dir.glob('*/vis_data/config.py')
    own = load_config(config)
    weights = f'{by}{trained.checkpoint}'
    same, other = (Candidate(name, weights) for name in ('cspdarknet', 'mobilenetv2'))
    state = torch.get_rng_state()
    for classes in (('circle', 'square', 'triangle'), ('one', 'two', 'three')):
        compare_trainings.refuse_unfit_weights([Candidate('vgg16'), same], lambda each: own, classes)
        with pytest.raises(CheckpointError, match=r'backbone=mobilenetv2: .*epoch_2\.pth'):
            compare_trainings.refuse_unfit_weights([other], lambda each: each.config(own), classes)
    assert torch.equal(torch.get_rng_state(), state)


def test_check_minds_no_work_dir_of_the_config(cfg, shapes, trained, tmp_path):
    """Each run has its own folder, so the content of the config's work dir does not matter."""
    cfg.work_dir = str(trained.work_dir)
    assert compare_trainings.check(TrainOptions(config=cfg, data=shapes), TWO[:1]).size == (640, 640)
    assert cfg.work_dir == str(trained.work_dir)


@pytest.mark.parametrize('nothing', [float('nan'), -1.0])
def test_a_run_with_nothing_to_measure(runs, trainings, capsys, nothing):
    trainings.plans['darknet53/seed_4'] = dict(entry={'coco/bbox_mAP': nothing, 'coco/bbox_mAP_50': nothing, 'step': 3})
    compare_trainings.train_all(runs[:1])
    assert runs[0].result()['AP'] is None and runs[0].result()['AP50'] is None
    assert 'NaN' not in (runs[0].folder / run_of_comparison.RECORD).read_text()
    assert 'seed 4: nothing to measure: the validation images have no objects' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('given', 'seeds', 'folders'),
    [
        ({}, [(4, None), (5, None)], ['seed_4', 'seed_5']),
        (dict(init_seed=7), [(4, 7), (5, 8)], ['seed_4_init_7', 'seed_5_init_8']),
        (dict(vary='init'), [(4, 4), (4, 5)], ['seed_4_init_4', 'seed_4_init_5']),
        (dict(vary='order', init_seed=7), [(4, 7), (5, 7)], ['seed_4_init_7', 'seed_5_init_7']),
    ],
)
def test_what_changes_from_seed_to_seed(cfg, tmp_path, given, seeds, folders):
    options = CompareOptions(config='x', backbones=['darknet53'], seed=4, seeds=2, **given)
    assert compare_trainings.seeds_of(options) == seeds
    runs = compare_trainings.plan(cfg, TWO[:1], seeds, tmp_path, BUDGET)
    assert [run.folder.name for run in runs] == folders
    for run, (seed, init) in zip(runs, seeds, strict=True):
        words = run.command()
        assert words[words.index('--seed') + 1] == str(seed)
        assert ('--init-seed' in words) == (init is not None)
        assert init is None or words[words.index('--init-seed') + 1] == str(init)


def test_candidates_train_with_what_is_their_own(cfg, tmp_path):
    candidate = Candidate('darknet53', 'mmcnn://darknet53', 0.25, widen_factor=0.5, epochs=7)
    (run,) = compare_trainings.plan(cfg, [candidate], [(0, None)], tmp_path, BUDGET)
    words = ' '.join(run.command(until_epoch=2))
    for part in ('--weights mmcnn://darknet53', '--fraction 0.25', '--epochs 7', '--until-epoch 2'):
        assert part in words
    assert 'widen_factor=0.5' in run.config
    assert run.settings['weights'] == 'mmcnn://darknet53' and run.settings['fraction'] == 0.25
    parser = argparse.ArgumentParser()
    add_options(parser, TrainOptions)
    # mmcnn train accepts the command, both to start from the weights and to resume.
    typed = options_from(parser.parse_args(run.command()[5:]), TrainOptions, config='x')
    assert (typed.weights, typed.resume) == ('mmcnn://darknet53', True)


def test_a_paused_run_has_no_result_and_goes_on(runs, trainings, capsys):
    """The stand-in logs validations of epochs 1 and 3; it is paused after the first, then asked for the rest."""
    trainings.plans['darknet53/seed_4'] = dict(entry={'coco/bbox_mAP': 0.125, 'coco/bbox_mAP_50': 0.5, 'step': 1})
    assert runs[0].iterations() == 0
    compare_trainings.train_all(runs[:1], until_epoch=1)
    assert runs[0].result() is None and runs[0].record()['failure'] is None
    assert runs[0].has_reached(1) and not runs[0].has_reached(3)
    assert 'paused after epoch 1, AP = 0.125' in capsys.readouterr().out
    compare_trainings.train_all(runs[:1], until_epoch=1)
    assert len(trainings.commands) == 1
    compare_trainings.train_all(runs[:1])
    assert len(trainings.commands) == 2 and '--until-epoch' not in trainings.commands[1]
    assert runs[0].result()['AP'] == 0.25 and runs[0].has_reached(None)
    assert runs[0].curve() == {1: 0.9, 3: 0.25}


def test_iterations_are_those_of_the_last_checkpoint(runs, trained):
    assert dataclasses.replace(runs[0], folder=trained.work_dir).iterations() == 4  # 8 images, 4 at a time, 2 epochs


def test_several_at_once_are_all_trained(runs, trainings):
    compare_trainings.train_all(runs, jobs=3)
    assert sorted(of(command) for command in trainings.commands) == sorted(ALL)
    assert all(run.result() for run in runs)


def test_what_waits_for_its_turn_does_not_follow_an_interrupt(runs, monkeypatch):
    begun, gate = [], threading.Event()
    threading.Timer(0.3, gate.set).start()

    def train(run, until_epoch):
        begun.append(run)
        if run is runs[0]:
            raise KeyboardInterrupt
        gate.wait(5)

    monkeypatch.setattr(compare_trainings.Run, 'train', train)
    with pytest.raises(KeyboardInterrupt):
        compare_trainings.train_all(runs, jobs=2)
    assert runs[0] in begun and runs[3] not in begun


@pytest.mark.parametrize('code', [130, 143, -2, -15])
def test_a_training_that_was_told_to_end_is_interrupted_not_failed_of_its_last_line(runs, trainings, code):
    trainings.plans['darknet53/seed_4'] = dict(code=code, says='checking the data: demo')
    assert runs[0].train() == 'interrupted'


def test_dropped_checkpoints_leave_the_result(runs, trainings):
    compare_trainings.train_all(runs[:1])
    runs[1].drop_checkpoints()  # it has no checkpoints
    digest = runs[0].checkpoint_sha256()
    assert digest == 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'  # of an empty file
    runs[0].drop_checkpoints()
    assert not [*runs[0].folder.glob('*.pth')]
    assert runs[0].result()['AP'] == 0.25 and runs[0].checkpoint_sha256() == digest
    compare_trainings.train_all(runs[:1])
    assert len(trainings.commands) == 1
