"""No run writes into another run's folder, and --resume finds its own."""

import json
import os

import pytest

from mmcnn.errors import UsageError
from mmcnn.runs import work_dirs
from mmcnn.runs.work_dirs import RunKind

KIND = RunKind('yolov5_n', None, '/data/bccd')
OTHER = RunKind('yolov5_n', 'vovnet39', '/data/bccd')


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_in(folder, kind=None, last='epoch_3.pth', epochs=5):
    """A folder as a run leaves it."""
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


def test_a_file_that_another_rank_makes_for_a_moment_takes_no_number(here):
    folder = work_dirs.for_training(KIND, None, False)
    folder.mkdir(parents=True)
    (folder / 'trial-123').touch()
    assert work_dirs.for_training(KIND, None, False) == folder


def test_resume_continues_the_latest_run_of_the_kind(here):
    for number, kind in enumerate((KIND, KIND, OTHER)):
        folder = run_in(here / 'work_dirs' / f'run-{number}', kind)
        # In order, whatever the clock's resolution.
        os.utime(folder / 'last_checkpoint', (number, number))
    assert work_dirs.for_training(KIND, None, True).name == 'run-1'
    assert work_dirs.for_training(OTHER, None, True).name == 'run-2'


def test_resume_without_a_run_starts_a_new_one(here):
    run_in(here / 'work_dirs' / 'yolov5_n-bccd', KIND, last=None)
    assert work_dirs.for_training(KIND, None, True).name == 'yolov5_n-bccd-2'


def test_resume_finds_a_run_of_release_0_1(here):
    run_in(here / 'work_dirs' / 'yolov5_n')
    assert work_dirs.for_training(KIND, None, True).name == 'yolov5_n'
    run_in(here / 'work_dirs' / 'yolov5_n-bccd', KIND)
    assert work_dirs.for_training(KIND, None, True).name == 'yolov5_n-bccd'


def test_a_folder_with_a_run_is_refused_by_name(here):
    run_in(here / 'mine', OTHER)
    with pytest.raises(UsageError) as error:
        work_dirs.for_training(KIND, 'mine', False)
    assert str(error.value) == (
        'mine holds a run of yolov5_n on vovnet39 with the data /data/bccd (3 of 5 epochs), which this run would '
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
    with pytest.raises(UsageError, match=rf'mine holds a run of yolov3_darknet53 \({progress}\)'):
        work_dirs.for_training(KIND, 'mine', False)
    assert str(work_dirs.for_training(KIND, 'mine', True)) == 'mine'


def test_a_folder_with_other_files_is_taken(here):
    (here / 'mine').mkdir()
    (here / 'mine' / 'notes.txt').touch()
    (here / 'mine' / work_dirs.RECORD).write_text('[torn')
    assert str(work_dirs.for_training(KIND, 'mine', False)) == 'mine'
    assert str(work_dirs.for_training(KIND, 'new', False)) == 'new'


def test_a_checkpoint_to_resume_from_brings_its_folder(here):
    folder = run_in(here / 'work_dirs' / 'a', KIND)
    assert work_dirs.for_training(KIND, None, folder / 'epoch_3.pth') == folder
    assert work_dirs.for_training(OTHER, None, folder / 'epoch_3.pth').name == 'yolov5_n-vovnet39-bccd'
    assert work_dirs.for_training(KIND, 'elsewhere', folder / 'epoch_3.pth').name == 'elsewhere'
    assert work_dirs.for_training(KIND, folder, str(folder / 'epoch_3.pth')) == folder
    other = run_in(here / 'work_dirs' / 'b', KIND)
    with pytest.raises(UsageError, match='would overwrite'):
        work_dirs.for_training(KIND, other, folder / 'epoch_3.pth')


def test_an_evaluation_never_goes_into_a_run_s_folder(here):
    run_in(here / 'mine', KIND)
    with pytest.raises(UsageError, match=r'mine holds a run of yolov5_n .*: choose another --work-dir'):
        work_dirs.for_test('x', 'mine')
    first = work_dirs.for_test('x', None)
    assert first == work_dirs.WORK_DIRS / 'x-test'
    first.mkdir(parents=True)
    (first / 'metrics.json').touch()
    assert work_dirs.for_test('x', None).name == 'x-test-2'
    assert work_dirs.for_test('x', str(first)) == first  # whoever names it may write there again


def test_a_start_that_fails_leaves_nothing(here):
    folder = work_dirs.for_training(KIND, None, False)

    def start(begun):
        with work_dirs.kept_unless(folder, lambda: begun):
            (folder / '20260101_000000' / 'vis_data').mkdir(parents=True)
            (folder / 'yolov5_n.py').touch()
            raise RuntimeError('no memory')

    with pytest.raises(RuntimeError, match='no memory'):
        start(begun=False)
    assert not (here / 'work_dirs').exists()
    with pytest.raises(RuntimeError):
        start(begun=True)
    assert (folder / '20260101_000000').is_dir()


def test_what_was_there_before_a_failed_start_stays(here):
    folder = here / 'mine'
    (folder / '20250101_000000').mkdir(parents=True)
    (folder / 'own.py').touch()
    with pytest.raises(KeyboardInterrupt), work_dirs.kept_unless(folder, lambda: False):
        (folder / '20260101_000000').mkdir()
        (folder / 'mine.txt').touch()  # of somebody else, in the meantime
        raise KeyboardInterrupt
    assert sorted(path.name for path in folder.iterdir()) == ['20250101_000000', 'mine.txt', 'own.py']


def test_the_record_says_what_the_run_is(here):
    folder = run_in(here / 'mine', OTHER, epochs=7)
    record = json.loads((folder / work_dirs.RECORD).read_text())
    assert record == dict(config='yolov5_n', backbone='vovnet39', data='/data/bccd', epochs=7)
