"""A comparison from its options to its files: the order of the steps, with stand-ins for the trainings."""

import pytest

from mmcnn.compare import api, budgets, trainings
from mmcnn.compare.network import multiply_adds
from mmcnn.compare.options import CompareOptions
from mmcnn.compare.results import Comparison
from mmcnn.compare.widths import TOLERANCE
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError


@pytest.fixture
def options(monkeypatch, tmp_path):
    """``options(equal='macs', ...)``: options of a comparison that skips the check of its trainings."""
    monkeypatch.setattr(trainings, 'check', lambda *args: trainings.Checked((), {80}, (64, 64)))

    def make(**given):
        return CompareOptions(
            **dict(config='yolov5_n', backbones=['cspdarknet-n', 'mobilenetv2'], data='demo', img_size=64, epochs=4,
                   work_dir=tmp_path / 'run') | given
        )  # fmt: skip

    return make


NARROW = {'model.neck.widen_factor': 0.125}


def test_equal_multiply_adds_are_those_of_the_network_that_is_trained(shapes, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(budgets, 'multiply_adds', lambda cfg, size: seen.append((cfg, size)) or 1)
    options = CompareOptions(
        config='yolov5_n', backbones=['vgg11', 'mobilenetv2'], data=shapes, img_size=64, epochs=1, equal='macs',
        cfg_options=NARROW, work_dir=tmp_path / 'run',
    )  # fmt: skip
    api.plan(options, list)
    assert [(cfg.model.neck.widen_factor, cfg.model.bbox_head.num_classes) for cfg, _ in seen] == [(0.125, 3)] * 2
    assert [size for _, size in seen] == [(64, 64)] * 2


def test_widths_are_those_of_the_network_that_is_trained(shapes, tmp_path):
    """The head is counted for the data's three classes; for the config's 80 it would need half of the multiply-adds."""
    options = CompareOptions(
        config='yolov5_n', backbones=['vgg11'], data=shapes, img_size=64, epochs=1, macs=5e6, cfg_options=NARROW,
        work_dir=tmp_path / 'run',
    )  # fmt: skip
    said = []
    (candidate,) = api.plan(options, said.append).candidates
    cfg = candidate.config(load_config('yolov5_n'))
    cfg.model.neck.widen_factor = 0.125
    cfg.model.bbox_head.num_classes = 3
    number = multiply_adds(cfg, (64, 64))
    assert number == pytest.approx(5e6, rel=TOLERANCE)
    assert said == [f'vgg11: widen_factor={candidate.widen_factor:.4g}, {number / 1e9:.3g} G multiply-adds']


@pytest.mark.slow
def test_timings_of_other_settings_are_refused_or_made_anew(options, monkeypatch):
    timed = []

    def time_them(runs, options, work_dir, until_epoch):
        timed.extend(run.record() for run in runs)
        for run in runs:
            run.note_failure(None)

    monkeypatch.setattr(api, 'run_trainings', time_them)
    monkeypatch.setattr(budgets, 'with_equal_seconds', lambda several, *args: several)
    api.plan(options(equal='seconds'), list)
    api.plan(options(equal='seconds'), list)
    assert timed[:2] == [None, None] and None not in timed[2:]
    with pytest.raises(UsageError, match='img_size 64, now 128'):
        api.plan(options(equal='seconds', img_size=128), list)
    assert len(timed) == 4
    api.plan(options(equal='seconds', img_size=128, fresh=True), list)
    assert timed[4:] == [None, None]


def test_seeds_that_a_budget_has_no_time_for_have_not_failed(options, monkeypatch):
    def collect(runs, work_dir, size, rounds, title, command, dropped):
        return Comparison(f'{title}: {[run.seed for run in runs]}', command, '', {}, {}, [])

    monkeypatch.setattr(api, 'collect', collect)
    monkeypatch.setattr(api, 'analysed', lambda comparison, folder, annotations: comparison)
    made = api.plan(options(backbones=['cspdarknet-n'], seeds=3), list)
    found = api._collected(made, budgets.Outcome({}, 2))
    assert found.title.endswith('seeds 0, 1: [0, 1]')
    assert found.not_measured == ['Not trained, since the budget does not allow more seeds: 2.']


def test_the_command_names_the_file_of_a_config_that_was_loaded(options, monkeypatch):
    monkeypatch.setattr(api, 'collect', lambda *args: Comparison('', args[5], '', {}, {}, []))
    monkeypatch.setattr(api, 'analysed', lambda comparison, *args: comparison)
    cfg = load_config('yolov5_n')
    made = api.plan(options(config=cfg), list)
    command = api._collected(made, budgets.Outcome({}, 1)).command
    assert command.startswith(f'mmcnn compare {cfg.filename} --backbone cspdarknet-n')
