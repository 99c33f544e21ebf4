"""A training on a fraction of its images, which a resumed run keeps."""

import pytest

from mmcnn.errors import UsageError
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state


def prepared(**options):
    with kept_process_state():
        return prepare(TrainOptions(**dict(config='yolov5_n', device='cpu') | options))


def test_batches_follow_from_the_share(shapes, tmp_path):
    run = prepared(data=shapes, fraction=0.5, batch_size=2, work_dir=tmp_path)
    assert run.data.num_train == 4 and run.cfg.train_fraction == 0.5
    assert run.cfg.train_dataloader.dataset.dataset.ann_file == run.data.files['train'][0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(fraction=0.0), r'fraction=0: the value must be above 0 and at most 1'),
        (dict(fraction=1.5), r'fraction=1.5: the value must be above 0 and at most 1'),
        (dict(fraction='half'), r"fraction='half': it must be a number"),
    ],
)
def test_what_is_no_share(options, message):
    with pytest.raises(UsageError, match=message):
        TrainOptions(config='yolov5_n', **options)


def test_a_classifier_has_none(shape_classes):
    with pytest.raises(UsageError, match=r"fraction=0.5 needs data=PATH of a detector's data"):
        prepared(config='classification/resnet50', data=shape_classes, fraction=0.5)


@pytest.mark.slow
def test_a_resumed_run_keeps_its_share(train_tiny, shapes, tmp_path):
    assert train_tiny(tmp_path / 'run', args=['--epochs', 2, '--until-epoch', 1, '--fraction', '0.5']).code == 0
    result = train_tiny(tmp_path / 'run', args=['--epochs', 2, '--resume'])
    assert result.code == 0 and '4 training images' in result.out
    result = train_tiny(tmp_path / 'run', args=['--epochs', 3, '--resume', '--fraction', '1'])
    assert result.code == 1
    assert 'fraction=1: the run to resume was trained on 0.5 of the images' in result.err
