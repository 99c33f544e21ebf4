"""Make a report from the work dir of a real, tiny training."""

import contextlib
import io
import json
import shutil

import pytest

from mmcnn.errors import DataError, UsageError
from mmcnn.evaluation.kept_detections import write_detections
from mmcnn.report.options import ReportOptions
from mmcnn.report.report import make_report
from mmcnn.report.run_data import History, read_run


@pytest.fixture(scope='module')
def reported(trained, tmp_path_factory):
    """Analysis of a run, and the folder of its report."""
    out = tmp_path_factory.mktemp('report')
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        analysis, page = make_report(ReportOptions(work_dir=trained.work_dir, out=out, device='cpu', images=2))
    assert page == out / 'report.html'
    # The folder of the evaluation is gone.
    assert 'AP50 = ' in printed.getvalue() and 'metrics.json' not in printed.getvalue()
    return analysis, out


def test_the_numbers_are_those_of_the_validation(reported, trained):
    """The last validation used the averaged weights, which are in the last checkpoint."""
    analysis, _ = reported
    logged = {}
    for line in next(trained.work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines():
        entry = json.loads(line)
        if 'coco/bbox_mAP' in entry:
            logged[entry['step']] = entry
    best = max(logged.values(), key=lambda entry: entry['coco/bbox_mAP'])
    assert analysis.scores.metrics['AP'] == pytest.approx(best['coco/bbox_mAP'], abs=1e-3)
    assert analysis.data.train_boxes.keys() == set(analysis.scores.classes)
    assert analysis.data.anchor_recall is not None and analysis.data.img_size == 64


def test_both_files_are_there_and_the_run_is_as_it_was(reported, trained):
    _, out = reported
    content = json.loads((out / 'report.json').read_text())
    assert content['checkpoint'].endswith('best.pth') and len(content['images']) == 4
    assert '<h1>Report of run</h1>' in (out / 'report.html').read_text()
    assert not (trained.work_dir / 'report.html').exists()


def test_detections_that_were_kept_are_taken(reported, trained, tmp_path):
    rows = reported[0].data.detections
    copy = tmp_path / 'run'
    shutil.copytree(trained.work_dir, copy)
    write_detections(copy / 'detections.npz', rows, limit=len(rows))
    data = read_run(ReportOptions(work_dir=copy))
    assert data.checkpoint is None and 'kept from the last validation' in data.made
    assert data.detections == pytest.approx(rows, abs=1e-4)
    (copy / 'detections.npz').write_bytes(b'nothing')
    with pytest.raises(DataError, match=r'detections\.npz is not a file of a run'):
        read_run(ReportOptions(work_dir=copy))


def test_history_has_a_mean_loss_for_each_epoch(trained):
    history = History.of(trained.work_dir)
    assert len(history.epoch_losses) == 2 and all(loss > 0 for loss in history.epoch_losses)
    assert history.rates and [*history.scores] == [1, 2]


def test_a_folder_without_a_log_has_an_empty_history(tmp_path):
    assert History.of(tmp_path) == History({}, {}, {}, [])


def test_what_is_no_run_is_refused(tmp_path, trained_classifier):
    with pytest.raises(UsageError, match=r'nowhere does not exist: give the work dir of a training'):
        read_run(ReportOptions(work_dir=tmp_path / 'nowhere'))
    with pytest.raises(UsageError, match=r'has no config \(\*\.py\)'):
        read_run(ReportOptions(work_dir=tmp_path))
    with pytest.raises(UsageError, match=r'contains a run of a classifier'):
        read_run(ReportOptions(work_dir=trained_classifier.work_dir))


def test_an_exported_network_is_refused(trained):
    with pytest.raises(UsageError, match=r'best\.onnx is an exported network: mmcnn report needs a checkpoint'):
        read_run(ReportOptions(work_dir=trained.work_dir, checkpoint='best.onnx'))


def test_a_run_without_a_checkpoint_is_refused(trained, tmp_path):
    shutil.copy(next(trained.work_dir.glob('*.py')), tmp_path)
    with pytest.raises(UsageError, match=r'has no checkpoint yet'):
        read_run(ReportOptions(work_dir=tmp_path))
