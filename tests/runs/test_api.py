"""mmcnn.train, evaluate and check_data in a script or a notebook."""

import inspect
import json
import math
import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mmengine.device.utils as device_utils
import pytest
import torch
from mmengine.logging import MMLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import mmcnn
from mmcnn.errors import CheckpointError, DataError, MmcnnError, StoppedError, UsageError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'yolov4_cspdarknet53'
TINY = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33, 'model.test_cfg.score_thr': 0.0}
SMALL = dict(img_size=64, batch_size=4, workers=0, device='cpu', cfg_options=TINY)
NUMBERS = ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl']


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.slow
def test_two_runs_of_one_process_with_a_failing_one_between(shapes, here):
    """Each run has a folder, log and state, and the failing one does not affect the next."""
    scope = device_utils.DEVICE, dict(MMLogger._instance_dict), torch.get_rng_state()
    first = mmcnn.train(CONFIG, data=shapes, epochs=2, **SMALL)
    with pytest.raises(UsageError, match=r"unknown backbone 'vovnet93'; did you mean vovnet39"):
        mmcnn.train(CONFIG, data=shapes, epochs=2, backbone='vovnet93', **SMALL)
    diverging = TINY | {'custom_hooks.0.warmup_max_fraction': 0, 'optim_wrapper.optimizer.lr': 1e30}
    with pytest.raises(MmcnnError, match='is not finite in iteration 2'):
        mmcnn.train(CONFIG, data=shapes, epochs=2, **SMALL | dict(cfg_options=diverging))
    second = mmcnn.train(CONFIG, data=shapes, epochs=2, **SMALL)

    assert (device_utils.DEVICE, dict(MMLogger._instance_dict)) == scope[:2]
    assert torch.equal(torch.get_rng_state(), scope[2])
    names = [f'{CONFIG}-data', f'{CONFIG}-data-2', f'{CONFIG}-data-3']  # the diverging run had started
    assert sorted(path.name for path in (here / 'work_dirs').iterdir()) == names
    assert [first.work_dir.name, second.work_dir.name] == [names[0], names[2]]
    assert len(list(first.work_dir.glob('*/*.log'))) == len(list(second.work_dir.glob('*/*.log'))) == 1
    again = weights(second.last)
    for key, value in weights(first.last).items():
        assert torch.equal(value, again[key]), key
    assert first.metrics == pytest.approx(second.metrics, nan_ok=True)


def test_what_a_training_gives_back(shapes, here, capsys):
    result = mmcnn.train(CONFIG, data=str(shapes), epochs=2, **SMALL)
    assert list(result.metrics) == NUMBERS
    assert all(-1 <= value <= 1 for value in result.metrics.values())
    assert set(result.class_ap) == {'circle', 'square', 'triangle'}
    assert [entry['epoch'] for entry in result.history] == [1, 2]
    assert all(math.isfinite(entry['loss']) and entry['loss_bbox'] > 0 for entry in result.history)
    assert result.history[-1]['AP'] == result.metrics['AP']
    assert (result.best.name, result.last.name) == ('best.pth', 'last.pth')
    assert weights(result.last).keys() == weights(result.best).keys()
    record = json.loads((result.work_dir / 'run_options.json').read_text())
    assert (record['config'], record['backbone'], record['epochs'], record['seed']) == (CONFIG, None, 2, 0)

    accumulator = EventAccumulator(str(next(result.work_dir.glob('*/vis_data/events.*'))))
    accumulator.Reload()
    tags = accumulator.Tags()['scalars']
    assert {'loss', 'lr', 'coco/bbox_mAP', 'coco/bbox_AR@100', 'coco/bbox_AP/circle'} <= set(tags)
    assert accumulator.Scalars('coco/bbox_mAP')[-1].value == pytest.approx(result.metrics['AP'], abs=1e-3)

    # There is nothing left to train, and no file is changed.
    before = {path: path.stat().st_mtime_ns for path in here.rglob('*')}
    capsys.readouterr()
    again = mmcnn.train(CONFIG, data=str(shapes), epochs=1, resume=True, **SMALL)
    said = 'nothing left to train: 2 epochs are done, and 1 were requested (work_dirs/'
    assert capsys.readouterr().out.splitlines()[-1].startswith(said)
    assert {path: path.stat().st_mtime_ns for path in here.rglob('*')} == before
    assert (again.work_dir, again.best, again.last) == (result.work_dir, result.best, result.last)
    assert (again.metrics, again.history) == (result.metrics, result.history)

    tested = mmcnn.evaluate(result.last, workers=0, device='cpu')
    assert tested.metrics == pytest.approx(result.metrics, abs=1e-4)  # BatchNorm is fused
    assert tested.work_dir.name == f'{CONFIG}-data-last-test'
    assert json.loads((tested.work_dir / 'metrics.json').read_text())['coco/bbox_mAP'] == tested.metrics['AP']
    assert not (result.work_dir / 'metrics.json').exists()


@pytest.mark.slow
def test_a_training_that_gets_no_better_ends_early(shapes, here, capsys):
    nothing_found = SMALL | dict(cfg_options=TINY | {'model.test_cfg.score_thr': 1.0})
    result = mmcnn.train(CONFIG, data=shapes, epochs=4, patience=1, logger='none', **nothing_found)
    assert [entry['epoch'] for entry in result.history] == [1, 2]
    assert result.last.resolve().name == 'epoch_2.pth' and result.best.is_file()
    assert not list(result.work_dir.rglob('events.*'))
    out = ' '.join(capsys.readouterr().out.split())
    assert (
        'ended early, after 2 of 4 epochs: coco/bbox_mAP has not improved for a validation; the best was 0 after '
        'epoch 1' in out
    )


@pytest.mark.slow
def test_a_backbone_and_a_resume(shapes, here, capsys):
    options = dict(data=shapes, backbone='mobilenetv2', **SMALL)
    first = mmcnn.train(CONFIG, epochs=1, **options)
    assert first.work_dir.name == f'{CONFIG}-mobilenetv2-data'
    with pytest.raises(UsageError, match=rf'contains a run of {CONFIG} on mobilenetv2 .* \(1 of 1 epochs\)'):
        mmcnn.train(CONFIG, epochs=1, work_dir=first.work_dir, **options | dict(backbone='vgg11'))
    capsys.readouterr()
    second = mmcnn.train(CONFIG, epochs=2, resume=True, **options)
    assert second.work_dir == first.work_dir
    assert '1 of 2 epochs in total are done' in capsys.readouterr().out.replace('\n', ' ')
    assert [entry['epoch'] for entry in second.history] == [1, 2]


@pytest.mark.slow
def test_a_failed_start_leaves_nothing(shapes, here):
    with pytest.raises(MmcnnError):
        mmcnn.train(CONFIG, data=shapes, load_from=here / 'nowhere.pth', **SMALL)
    torch.save({'state_dict': {'backbone.stem.conv.weight': torch.zeros(1)}}, here / 'other.pth')
    with pytest.raises(MmcnnError, match=r'other\.pth'):  # only detected after the model is built
        mmcnn.train(CONFIG, data=shapes, load_from=here / 'other.pth', **SMALL)
    with pytest.raises(MmcnnError):
        mmcnn.evaluate(here / 'other.pth', config=CONFIG, data=shapes, **SMALL)
    assert [path.name for path in here.iterdir()] == ['other.pth']


@pytest.mark.slow
def test_a_signal_is_an_error_and_the_run_can_be_continued(shapes, here):
    def stop(log):
        while not log() or 'epoch 1/' not in log():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    def log():
        files = list((here / 'work_dirs').glob('*/*/vis_data/scalars.json'))
        return 'epoch 1/' if files and files[0].stat().st_size else ''

    threading.Thread(target=stop, args=(log,), daemon=True).start()
    options = dict(data=shapes, epochs=4, **SMALL | dict(cfg_options=TINY | {'default_hooks.logger.interval': 1}))
    with pytest.raises(
        StoppedError, match=r'stopped by SIGINT; the last checkpoint, .* is complete; to continue, resume the run'
    ) as error:
        mmcnn.train(CONFIG, **options)
    assert error.value.signum == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = mmcnn.train(CONFIG, resume=True, **options)
    assert result.work_dir.name == f'{CONFIG}-data'
    assert [entry['epoch'] for entry in result.history] == [1, 2, 3, 4]


def test_options_are_checked_by_name():
    with pytest.raises(UsageError, match=r"train\(\) has no option 'epoch'; did you mean epochs"):
        mmcnn.train(CONFIG, epoch=3)
    with pytest.raises(UsageError, match=r"evaluate\(\) has no option 'epochs'"):
        mmcnn.evaluate('best.pth', epochs=3)
    with pytest.raises(TypeError, match='config'):
        mmcnn.train()
    parameters = inspect.signature(mmcnn.train).parameters
    assert next(iter(parameters)) == 'config' and parameters['img_size'].default is None
    assert 'img_size: side of the network input' in mmcnn.train.__doc__


def test_check_data(shapes, shape_classes, tmp_path):
    report = mmcnn.check_data(shapes)
    assert report.ok and not report.findings
    assert str(report).endswith('; 3 classes\nno faults')
    assert str(report).startswith(f'{shapes}: train.json: 8 images, ')
    report = mmcnn.check_data(shape_classes)
    assert report.ok and str(report) == f'{shape_classes}: train: 24 images; val: 12 images; 3 classes\nno faults'
    broken = tmp_path / 'broken'
    (broken / 'images').mkdir(parents=True)
    coco = json.loads((shapes / 'train.json').read_text())
    for part in ('train', 'val'):
        (broken / f'{part}.json').write_text(json.dumps(coco))
    report = mmcnn.check_data(broken)
    assert not report.ok
    assert {finding.kind for finding in report.findings} >= {'missing image', 'no images'}
    with pytest.raises(DataError, match='does not exist'):
        mmcnn.check_data(tmp_path / 'nowhere')


@pytest.mark.slow
def test_a_resume_that_fails_leaves_the_run_as_it_was(shapes, here):
    options = dict(data=shapes, **SMALL)
    first = mmcnn.train(CONFIG, epochs=1, **options)
    before = {path: path.is_file() and path.read_bytes() for path in here.rglob('*')}
    wider = options | dict(cfg_options=TINY | {'model.widen_factor': 0.125})
    with pytest.raises(CheckpointError, match='of another shape'):
        mmcnn.train(CONFIG, epochs=2, resume=True, **wider)
    assert {path: path.is_file() and path.read_bytes() for path in here.rglob('*')} == before
    assert mmcnn.train(CONFIG, epochs=2, resume=True, **options).work_dir == first.work_dir


@pytest.mark.slow
def test_a_run_that_is_continued_keeps_its_seed(shapes, here, capsys):
    options = dict(data=shapes, **SMALL)
    first = mmcnn.train(CONFIG, epochs=1, seed=3, **options)
    mmcnn.train(CONFIG, epochs=2, resume=True, **options)
    assert json.loads((first.work_dir / 'run_options.json').read_text())['seed'] == 3
    assert torch.load(first.work_dir / 'epoch_2.pth', weights_only=True)['meta']['seed'] == 3
    assert 'warning' not in capsys.readouterr().out


def test_sigterm_during_the_start_leaves_nothing(shapes, here, monkeypatch):
    def stop(cfg):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr('mmcnn.runs.execution.join_ranks', stop)
    with pytest.raises(StoppedError, match=r'^stopped by SIGTERM$') as error:
        mmcnn.train(CONFIG, data=shapes, epochs=1, **SMALL)
    assert error.value.signum == signal.SIGTERM
    assert not list(here.iterdir())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_processes_that_do_not_know_of_each_other_are_refused(shapes, here, monkeypatch):
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(UsageError, match='2 processes were started together: use launcher=pytorch'):
        mmcnn.train(CONFIG, data=shapes, epochs=1, **SMALL)
    monkeypatch.delenv('RANK')
    with pytest.raises(UsageError, match='launcher=pytorch: this launcher sets RANK, which is not set'):
        mmcnn.train(CONFIG, data=shapes, epochs=1, launcher='pytorch', **SMALL)
    assert not list(here.iterdir())


#: torchrun's processes share one stdout without buffers, where ``print`` writes word by word, so each writes a file.
RANK = """
import os, sys, pathlib, mmcnn
result = mmcnn.train(sys.argv[1], data=sys.argv[2], epochs=1, launcher='pytorch', img_size=64, batch_size=2, workers=0,
                     device='cpu', cfg_options={'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33})
pathlib.Path(f'rank{os.environ["RANK"]}.txt').write_text(f'{result.work_dir} {result.best} {result.last}')
"""


@pytest.mark.slow
def test_ranks_agree_on_a_new_folder(shapes, here):
    """Rank 0 chooses it, even if its first choice already exists."""
    (here / 'rank.py').write_text(RANK)
    taken = here / 'work_dirs' / f'{CONFIG}-data'
    taken.mkdir(parents=True)
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    result = subprocess.run(
        [*launcher, 'rank.py', CONFIG, shapes],
        capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'), check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    paths = [(here / f'rank{rank}.txt').read_text().split() for rank in range(2)]
    folder = f'{taken}-2'
    assert paths == [[folder, f'{folder}/best.pth', f'{folder}/last.pth']] * 2
    assert sorted(path.name for path in (here / 'work_dirs').iterdir()) == [f'{CONFIG}-data', f'{CONFIG}-data-2']


@pytest.mark.slow
def test_notebook(shapes, here):
    nbclient, nbformat = pytest.importorskip('nbclient'), pytest.importorskip('nbformat')
    arguments = f'data={str(shapes)!r}, img_size=64, batch_size=4, workers=0, device="cpu", cfg_options={TINY!r}'
    cells = [
        'import mmcnn',
        f'result = mmcnn.train({CONFIG!r}, epochs=1, {arguments})\nresult',
        f'try:\n    mmcnn.train({CONFIG!r}, epochs=0)\nexcept mmcnn.errors.MmcnnError as error:\n    print(error)',
        f'mmcnn.train({CONFIG!r}, epochs=1, {arguments}).work_dir.name',
        f'mmcnn.Detector(result.best, score_thr=1.0)({str(next((shapes / "images").iterdir()))!r}).boxes.shape',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=300, resources=dict(metadata=dict(path=str(here)))).execute()
    printed = ''.join(output.get('text', '') for cell in notebook.cells for output in cell.outputs)
    assert 'epochs=0: the value must be at least 1' in printed
    assert '\x1b' not in printed and '\r' not in printed
    values = [output['data']['text/plain'] for cell in notebook.cells for output in cell.outputs if 'data' in output]
    assert values[0].startswith('TrainResult(AP=') and values[1:] == [repr(f'{CONFIG}-data-2'), '(0, 4)']


# --------------------------------------------------------------------------------------------- weights without a config

#: A stand-in for ultralytics' network, shared with the tests of its file format.
yolov5 = runpy.run_path(str(ROOT / 'tests' / 'weights' / 'conftest.py'))['yolov5']


def published(yolov5, path, names):
    model = yolov5.model('n', nc=len(names))
    model.names = dict(enumerate(names))
    return yolov5.save(model, path)


def test_published_weights_are_evaluated_without_a_config(yolov5, shapes, here, capsys):
    path = published(yolov5, here / 'a.pt', ('circle', 'square', 'triangle'))
    result = mmcnn.evaluate(path, data=shapes, img_size=64, batch_size=2, workers=0, device='cpu')
    assert list(result.metrics) == NUMBERS and set(result.class_ap) == {'circle', 'square', 'triangle'}
    said = capsys.readouterr().out
    assert 'YOLOv5n (v6.0 to v7.0), which fits yolov5_n; its 3 classes have the names in the file' in said


def test_published_weights_of_other_classes_are_not_evaluated(yolov5, shapes, here):
    path = published(yolov5, here / 'a.pt', ('cat', 'dog', 'bird'))
    with pytest.raises(UsageError, match=r"trained on the classes \('cat', 'dog', 'bird'\)"):
        mmcnn.evaluate(path, data=shapes, img_size=64, workers=0, device='cpu')


def test_classes_that_a_file_does_not_name_are_those_of_the_data(yolov5, shapes, here):
    torch.save(yolov5.model('n', nc=3).state_dict(), here / 'a.pt')
    result = mmcnn.evaluate(here / 'a.pt', data=shapes, img_size=64, batch_size=2, workers=0, device='cpu')
    assert set(result.class_ap) == {'circle', 'square', 'triangle'}
    with pytest.raises(CheckpointError, match='has 3 classes without names'):
        mmcnn.evaluate(here / 'a.pt', img_size=64, workers=0, device='cpu')
