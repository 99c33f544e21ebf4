"""A training that pauses after an epoch of its schedule."""

import pytest
import torch

from mmcnn.errors import UsageError
from mmcnn.plots.curves import read_scalars
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state


@pytest.mark.slow
def test_it_goes_on_as_if_it_had_not_paused(train_tiny, trained, tmp_path):
    """The weights after two epochs are equal bit for bit."""
    args = ['--epochs', 2]
    option = 'default_hooks.bn_statistics.windows=0'
    paused = train_tiny(tmp_path, option, args=[*args, '--until-epoch', 1, '--keep-detections'])
    assert paused.code == 0
    assert 'after 1 of 2 epochs: paused by until_epoch=1; to train the rest, resume without it' in paused.out
    assert not (tmp_path / 'epoch_2.pth').exists() and (tmp_path / 'detections.npz').is_file()
    assert train_tiny(tmp_path, option, args=[*args, '--resume']).code == 0
    states = [torch.load(folder / 'epoch_2.pth', weights_only=True) for folder in (tmp_path, trained.work_dir)]
    for part in ('state_dict', 'ema_state_dict'):
        one, other = (state.get(part, {}) for state in states)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_it_is_validated_where_it_pauses(train_tiny, tmp_path):
    """The next validation would be later, but a comparison with a budget needs it to drop the worst."""
    options = ('default_hooks.bn_statistics.windows=0', 'train_cfg.val_interval=3')
    assert train_tiny(tmp_path, *options, args=['--epochs', 3, '--until-epoch', 1]).code == 0
    assert [*read_scalars(tmp_path)[1]] == [1]
    assert train_tiny(tmp_path, *options, args=['--epochs', 3, '--resume']).code == 0
    assert max(read_scalars(tmp_path)[1]) == 3


def test_later_than_the_schedule_is_refused(shapes, tmp_path):
    with (
        kept_process_state(),
        pytest.raises(UsageError, match='until_epoch=4: it must be below the length of the run, 3 epochs'),
    ):
        prepare(TrainOptions(config='yolov5_n', data=shapes, epochs=3, until_epoch=4, work_dir=tmp_path))
