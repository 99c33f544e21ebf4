"""A run never writes to the folder of another run, and --resume finds the right folder."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcnn.errors import CheckpointError, UsageError
from mmcnn.runs import work_dirs
from mmcnn.runs.run_lock import RunLock
from mmcnn.runs.work_dirs import RunKind

OLD_RUN = Path(__file__).parents[1] / 'data' / 'run_of_0.1.0'
KIND = RunKind('yolov5_n', None, '/data/bccd')
OTHER = RunKind('yolov5_n', 'vovnet39', '/data/bccd')


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_in(folder, kind=None, last='epoch_3.pth', epochs=5):
    """Create a folder as a run leaves it."""
    folder.mkdir(parents=True)
    if kind is not None:
        work_dirs.write_record(folder, kind, epochs=epochs)
    if last:
        (folder / last).touch()
        (folder / 'last_checkpoint').write_text(f'/somewhere/else/{last}')
    return folder


@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        (KIND, 'yolov5_n-bccd'),
        (OTHER, 'yolov5_n-vovnet39-bccd'),
        (RunKind('yolov4_cspdarknet53-focus', None, 'demo'), 'yolov4_cspdarknet53-focus-demo'),
        (RunKind('x', None, '/my data/blood cells #2'), 'x-blood_cells_2'),
        (RunKind('x', None, '/'), 'x'),
    ],
)
def test_the_default_folder_carries_config_backbone_and_data(kind, name):
    assert work_dirs.for_training(kind, None, False) == work_dirs.WORK_DIRS / name


def test_each_run_has_a_number_of_its_own(here):
    first = work_dirs.for_training(KIND, None, False)
    run_in(first, KIND)
    second = work_dirs.for_training(KIND, None, False)
    assert second.name == 'yolov5_n-bccd-2'
    (second / 'anything').mkdir(parents=True)
    assert work_dirs.for_training(KIND, None, False).name == 'yolov5_n-bccd-3'
    assert work_dirs.for_training(OTHER, None, False).name == 'yolov5_n-vovnet39-bccd'


def test_resume_continues_the_latest_run_of_the_kind(here):
    for number, kind in enumerate((KIND, KIND, OTHER)):
        folder = run_in(here / 'work_dirs' / f'run-{number}', kind)
        # Sets the order, whatever the resolution of the clock.
        os.utime(folder / 'last_checkpoint', (number, number))
    assert work_dirs.for_training(KIND, None, True).name == 'run-1'
    assert work_dirs.for_training(OTHER, None, True).name == 'run-2'


def test_resume_without_a_run_starts_a_new_one(here):
    run_in(here / 'work_dirs' / 'yolov5_n-bccd', KIND, last=None)
    assert work_dirs.for_training(KIND, None, True).name == 'yolov5_n-bccd-2'


def test_resume_finds_a_run_of_release_0_1(here):
    """It has no record, but its checkpoint contains the config."""
    folder = run_in(here / 'work_dirs' / 'yolov4_cspdarknet53', last='stopped_at_iter_4.pth')
    shutil.copy(OLD_RUN / 'stopped_at_iter_4.pth', folder)
    kind = RunKind('yolov4_cspdarknet53', None, str(here / 'data'))  # recorded as data_root='data'
    own = 'mmcnn.cspdarknet53'

    def found(kind, backbone):
        return work_dirs.for_training(kind, None, True, backbone=backbone).name

    assert found(kind, own) == 'yolov4_cspdarknet53'
    assert found(replace(kind, backbone='vgg11'), 'mmcnn.vgg11') == 'yolov4_cspdarknet53-vgg11-data'
    assert found(replace(kind, data='/other/data'), own) == 'yolov4_cspdarknet53-data'
    assert found(replace(kind, data='demo'), own) == 'yolov4_cspdarknet53-demo'
    with pytest.raises(UsageError, match='cannot be continued as yolov4_cspdarknet53 on vgg11 with the data'):
        work_dirs.for_training(replace(kind, backbone='vgg11'), folder, True, backbone='mmcnn.vgg11')
    run_in(here / 'work_dirs' / 'new', kind)
    assert found(kind, own) == 'new'


def test_a_folder_with_a_run_is_refused_by_name(here):
    run_in(here / 'mine', OTHER)
    with pytest.raises(UsageError) as error:
        work_dirs.for_training(KIND, 'mine', False)
    assert str(error.value) == (
        'mine contains a run of yolov5_n on vovnet39 with the data /data/bccd (3 of 5 epochs), which this run would '
        'overwrite; choose another --work-dir, or continue that run with --resume'
    )
    with pytest.raises(UsageError, match=r'vovnet39 .*cannot be continued as yolov5_n with the data /data/bccd'):
        work_dirs.for_training(KIND, 'mine', True)
    assert work_dirs.for_training(OTHER, 'mine', True) == here.joinpath('mine').relative_to(here)


@pytest.mark.parametrize(
    ('last', 'progress'),
    [
        ('epoch_3.pth', '3 epochs'),
        ('stopped_at_iter_70.pth', 'up to iteration 70'),
        ('iter_8.pth', 'up to iteration 8'),
    ],
)
def test_runs_without_a_record_are_refused_too(here, last, progress):
    folder = run_in(here / 'mine', last=last)
    (folder / 'yolov3_darknet53.py').touch()
    with pytest.raises(UsageError, match=rf'mine contains a run of yolov3_darknet53 \({progress}\)'):
        work_dirs.for_training(KIND, 'mine', False)
    with pytest.raises(CheckpointError, match='is empty'):  # opened to identify the run
        work_dirs.for_training(KIND, 'mine', True)


def test_a_folder_with_other_files_is_taken(here):
    (here / 'mine').mkdir()
    (here / 'mine' / 'notes.txt').touch()
    (here / 'mine' / work_dirs.RECORD).write_text('[torn')
    assert str(work_dirs.for_training(KIND, 'mine', False)) == 'mine'
    assert str(work_dirs.for_training(KIND, 'new', False)) == 'new'


def test_a_checkpoint_to_resume_from_brings_its_folder(here):
    folder = run_in(here / 'work_dirs' / 'a', KIND)
    assert work_dirs.for_training(KIND, None, folder / 'epoch_3.pth') == folder
    said = []
    other = work_dirs.for_training(OTHER, None, folder / 'epoch_3.pth', say=said.append)
    assert other.name == 'yolov5_n-vovnet39-bccd'
    assert said == [
        f'{folder} contains a run of {KIND} (3 of 5 epochs); as {OTHER}, the run continues in a separate folder'
    ]
    assert work_dirs.for_training(KIND, 'elsewhere', folder / 'epoch_3.pth').name == 'elsewhere'
    assert work_dirs.for_training(KIND, folder, str(folder / 'epoch_3.pth')) == folder
    other = run_in(here / 'work_dirs' / 'b', KIND)
    with pytest.raises(UsageError, match='would overwrite'):
        work_dirs.for_training(KIND, other, folder / 'epoch_3.pth')


def test_an_evaluation_never_goes_into_a_run_s_folder(here):
    run_in(here / 'mine', KIND)
    with pytest.raises(UsageError, match=r'mine contains a run of yolov5_n .*: choose another --work-dir'):
        work_dirs.for_test('x', 'mine')
    first = work_dirs.for_test('x', None)
    assert first == work_dirs.WORK_DIRS / 'x-test'
    first.mkdir(parents=True)
    (first / 'metrics.json').touch()
    assert work_dirs.for_test('x', None).name == 'x-test-2'
    with pytest.raises(UsageError, match=r'x-test contains metrics\.json of another evaluation: choose another'):
        work_dirs.for_test('x', first)
    assert work_dirs.for_test('x', 'new').name == 'new'


@pytest.fixture
def cfg(here):
    """The config of a run of the file ``yolov5_n.py``."""
    (here / 'yolov5_n.py').write_text("work_dir = 'mine'\n")
    return Config.fromfile(here / 'yolov5_n.py')


def test_a_config_in_its_own_work_dir_is_refused(here, cfg):
    with pytest.raises(UsageError, match=r'yolov5_n\.py is in the work dir \., where .* it'):
        work_dirs.for_training(KIND, '.', False, cfg.filename)
    run_in(here / 'run', KIND)  # a resumed run finds its dump there
    assert str(work_dirs.for_training(KIND, 'run', True, here / 'run' / 'yolov5_n.py')) == 'run'


def test_the_record_says_what_the_run_is(here):
    folder = run_in(here / 'mine', OTHER, epochs=7)
    record = json.loads((folder / work_dirs.RECORD).read_text())
    assert record == dict(config='yolov5_n', backbone='vovnet39', data='/data/bccd', epochs=7)
    for started, epochs in (('today', 8), ('tomorrow', 9)):  # resumed
        work_dirs.write_record(folder, OTHER, epochs=epochs, started=started)
    record = json.loads((folder / work_dirs.RECORD).read_text())
    assert (record['epochs'], record['started']) == (9, 'today')


def test_the_folder_of_a_live_run_is_refused_whatever_is_asked_of_it(here):
    """It is refused before its checkpoints are read, because an active run cannot be resumed."""
    folder = run_in(here / 'work_dirs' / 'live', KIND)
    lock = RunLock(folder)
    lock.acquire()
    for ask in (
        lambda: work_dirs.for_training(KIND, folder, False),
        lambda: work_dirs.for_training(KIND, folder, True),
        lambda: work_dirs.for_training(KIND, None, True),  # the latest run of this name
        lambda: work_dirs.for_training(KIND, None, folder / 'epoch_3.pth'),
        lambda: work_dirs.for_test('x', folder),
    ):
        with pytest.raises(UsageError, match=rf'a run is active in ({folder.relative_to(here)}|{folder}) '):
            ask()
    assert work_dirs.for_training(KIND, None, False).name == 'yolov5_n-bccd'  # a new folder
    lock.release()
    assert work_dirs.for_training(KIND, None, True).name == 'live'


def test_a_file_is_no_work_dir(here):
    Path('notes.txt').write_text('kept')
    message = 'notes.txt is a file, but the work dir must be a folder; choose another --work-dir'
    with pytest.raises(UsageError, match=message):
        work_dirs.for_training(KIND, 'notes.txt', False)
    with pytest.raises(UsageError, match=message):
        work_dirs.for_test('best', 'notes.txt')
    assert Path('notes.txt').read_text() == 'kept'
