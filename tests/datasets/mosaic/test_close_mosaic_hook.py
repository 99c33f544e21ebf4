import subprocess
import sys
from types import SimpleNamespace

import pytest

from mmcnn.datasets import CloseMosaicHook, MosaicAffine, RandomHSV


def runner(max_epochs=10, pipeline=None):
    pipeline = [MosaicAffine((64, 64), mixup_prob=0.1), RandomHSV()] if pipeline is None else pipeline
    lines = []
    return SimpleNamespace(
        epoch=0,
        max_epochs=max_epochs,
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(pipeline=pipeline), _iterator='workers'),
        logger=SimpleNamespace(info=lines.append),
        lines=lines,
    )


def probabilities(runner):
    mosaic = runner.train_dataloader.dataset.pipeline[0]
    return mosaic.mosaic_prob, mosaic.mixup_prob


def test_the_last_epochs_have_no_mosaic_and_new_workers_once():
    run, hook = runner(), CloseMosaicHook(3)
    hook.before_train(run)
    for epoch in range(10):
        run.epoch = epoch
        hook.before_train_epoch(run)
        closed = epoch >= 7
        assert probabilities(run) == ((0.0, 0.0) if closed else (1.0, 0.1))
        assert (run.train_dataloader._iterator is None) == (epoch == 7)
        run.train_dataloader._iterator = 'workers'
    assert run.lines == ['mosaic is off from epoch 8']


def test_a_run_resumed_in_the_last_epochs_closes_at_once():
    run = runner()
    run.epoch = 9
    CloseMosaicHook(3).before_train_epoch(run)
    assert probabilities(run) == (0.0, 0.0)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match='epochs=-1: it must be at least 0'):
        CloseMosaicHook(-1)
    with pytest.raises(ValueError, match=r'the training pipeline has no mmcnn\.MosaicAffine'):
        CloseMosaicHook().before_train(runner(pipeline=[RandomHSV()]))


def test_a_config_finds_it_in_a_process_that_imported_nothing_of_it():
    code = "from mmcnn.registry import HOOKS; print(HOOKS.get('mmcnn.CloseMosaicHook').__module__)"
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout == 'mmcnn.datasets.mosaic.close_mosaic_hook\n'


@pytest.mark.slow
def test_in_a_run_with_a_persistent_worker(train_tiny, log_of, tmp_path):
    result = train_tiny(
        tmp_path,
        'train_dataloader.persistent_workers=True',
        config='yolov5_n_small',
        args=['--epochs', 2, '--workers', 1],
    )
    assert result.code == 0, result.err
    assert 'mosaic is off from epoch 1' in log_of(tmp_path)
