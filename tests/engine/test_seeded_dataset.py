import pickle
import random
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.dataset import DefaultSampler
from mmengine.logging import MMLogger
from torch.utils.data import BatchSampler, DataLoader

from mmcnn.datasets import KeyedBatchSampler, SeededDataset
from mmcnn.engine import seeded_dataset
from mmcnn.engine.seeded_dataset import SampleKey
from mmcnn.errors import DataError


@pytest.fixture(autouse=True)
def _logger():
    """Make a new logger that writes to the captured output."""
    MMLogger._instance_dict.clear()
    yield
    MMLogger._instance_dict.clear()


class Noise:
    """Samples with a draw from each generator; some cannot be read."""

    metainfo = {'classes': ('a',)}

    def __init__(self, length=12, broken=(), shapes=None):
        self.length = length
        self.broken = broken
        self.shapes = shapes

    def __len__(self):
        return self.length

    def get_data_info(self, index):
        width, height = self.shapes[index] if self.shapes else (2, 1)
        return dict(img_path=f'images/{index}.jpg', width=width, height=height)

    def __getitem__(self, index):
        if index in self.broken:
            raise ValueError(f'broken\nfile {index}')
        return [index, random.random(), float(np.random.rand()), float(torch.rand(()))]


class Files(Noise):
    """As in MMEngine, a pipeline converts a record to a sample. Image 3 is broken."""

    def __init__(self):
        super().__init__()
        self.pipeline = self.load

    def __getitem__(self, index):
        return self.pipeline(self.get_data_info(index))

    def load(self, results):
        if results.pop('img_path') == 'images/3.jpg':
            raise OSError('no image')
        return results


class Mosaic(Noise):
    """Like MMDetection's MultiImageMixDataset, each sample also reads image 3 of the inner data set."""

    def __init__(self):
        super().__init__()
        self.dataset = Files()

    def __getitem__(self, index):
        return [self.dataset[index], self.dataset[3]]


def loader(dataset, workers=0, persistent=False, batches=None, **kwargs):
    batches = KeyedBatchSampler(batches or BatchSampler(DefaultSampler(dataset, seed=5), 4, drop_last=False))
    return DataLoader(
        SeededDataset(dataset, seed=1, **kwargs),
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=list,
    )


def epochs(loader, count=2, first=0):
    found = []
    for epoch in range(count):
        loader.batch_sampler.start(epoch, first)
        found.append([sample for batch in loader for sample in batch])
    return found


def test_samples_are_the_same_for_any_worker_and_differ_between_epochs():
    alone = epochs(loader(Noise()))
    assert sorted(sample[0] for sample in alone[0]) == list(range(12))
    assert epochs(loader(Noise(), workers=2, persistent=True)) == alone
    one, two = ({sample[0]: sample[1:] for sample in epoch} for epoch in alone)
    values = [value for epoch in (one, two) for sample in epoch.values() for value in sample]
    assert len(set(values)) == len(values)
    # Samples do not depend on the order or the batch.
    dataset = SeededDataset(Noise(), seed=1)
    assert dataset[SampleKey(7, epoch=1)] == [7, *two[7]]
    assert dataset[7] == [7, *one[7]]
    assert SeededDataset(Noise(), seed=2)[7] != [7, *one[7]]


def test_the_generators_of_the_caller_are_left_alone():
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    SeededDataset(Noise(), seed=1)[0]
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == state


def test_a_batch_has_the_samples_of_its_keys_and_keeps_the_generators_once(monkeypatch):
    dataset, keys = SeededDataset(Noise(), seed=3), [SampleKey(i, 2) for i in (5, 1, 5)]
    alone = [dataset[key] for key in keys]
    kept = []
    original = seeded_dataset.kept_random_state
    monkeypatch.setattr(seeded_dataset, 'kept_random_state', lambda: kept.append(1) or original())
    torch.manual_seed(0)
    before = torch.get_rng_state(), random.getstate()
    assert dataset.__getitems__(keys) == alone
    assert kept == [1]
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]


def test_an_epoch_can_begin_inside():
    whole = epochs(loader(Noise()))
    rest = epochs(loader(Noise()), first=2)
    assert rest == [epoch[8:] for epoch in whole]
    assert len(loader(Noise())) == 3
    loaded = []

    class Counted(Noise):
        def __getitem__(self, index):
            loaded.append(index)
            return super().__getitem__(index)

    epochs(loader(Counted()), count=1, first=2)
    assert len(loaded) == 4  # skipped samples are not read


def test_batches_of_one_aspect_ratio_begin_inside_too():
    shapes = [(2, 1), (1, 2)] * 6
    dataset = Noise(shapes=shapes)

    def batches():
        return AspectRatioBatchSampler(DefaultSampler(dataset, seed=5), 4)

    whole, rest = epochs(loader(dataset, batches=batches())), epochs(loader(dataset, batches=batches()), first=1)
    assert rest == [epoch[4:] for epoch in whole]
    assert {shapes[sample[0]] for sample in whole[0][:4]} in ({(2, 1)}, {(1, 2)})


def test_keys_and_attributes_pass_through():
    key = pickle.loads(pickle.dumps(SampleKey(3, epoch=9)))
    assert (key, key.epoch, [10, 11, 12, 13][key]) == (3, 9, 13)
    dataset = pickle.loads(pickle.dumps(SeededDataset(Noise(), seed=1)))
    assert dataset.metainfo == {'classes': ('a',)} and len(dataset) == 12
    assert dataset.get_data_info(2)['img_path'] == 'images/2.jpg'
    with pytest.raises(AttributeError, match='pipeline'):
        dataset.pipeline  # noqa: B018


@pytest.mark.parametrize('workers', [0, 2])
def test_failed_samples_are_replaced_and_counted_once(workers, capfd):
    data = loader(Noise(broken=(3, 8)), workers)
    found = epochs(data)
    assert [len(epoch) for epoch in found] == [12, 12]
    assert not {sample[0] for epoch in found for sample in epoch} & {3, 8}
    assert found == epochs(loader(Noise(broken=(3, 8))))
    assert data.dataset.num_failed == 2
    out = capfd.readouterr().out
    if workers == 2:
        assert out.count('images/3.jpg: ValueError: broken file 3') == 2  # once per loader


@pytest.mark.skipif(not Path('/proc/self/maps').is_file(), reason='no /proc here')
def test_nothing_lies_in_dev_shm():
    def mapped():
        return [line for line in Path('/proc/self/maps').read_text().splitlines() if '/dev/shm/' in line]

    before = mapped()
    dataset = SeededDataset(Noise(broken=(3,)), seed=1)
    dataset[3]
    assert dataset.num_failed == 1 and mapped() == before


def test_what_is_sent_to_a_spawned_worker_counts_with_the_others():
    dataset = SeededDataset(Noise(broken=(3, 8)), seed=1)
    dataset[3]
    sent = [pickle.loads(ForkingPickler.dumps(dataset)) for _ in range(2)]
    sent[0][8]
    assert [each.num_failed for each in (dataset, *sent)] == [2, 2, 2]


def test_the_failing_tile_is_named_not_the_mosaic(capsys):
    dataset = SeededDataset(Mosaic(), seed=1)
    for index in range(2):
        with pytest.raises(DataError, match='10 samples in a row, the last because of OSError: no image'):
            dataset[index]
    assert dataset.num_failed == 1
    assert 'images/3.jpg: OSError: no image' in capsys.readouterr().out


def test_too_many_failed_files_end_the_run():
    with pytest.raises(
        DataError, match='3 files of the training data have failed, more than 2; the last: cannot use images/'
    ):
        epochs(loader(Noise(broken=(1, 2, 3, 4)), max_failed=2))
    assert SeededDataset(Noise(2000), seed=0).max_failed == 20
    assert SeededDataset(Noise(20), seed=0).max_failed == 10
