import itertools

import pytest
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from mmcnn.benchmarks.gpu.loader import Endless, LoaderSpeed
from mmcnn.engine.seeded_dataset import seeded_loader


class Workers:
    """A loader with its own clock: each worker takes ``seconds`` per batch and prefetches ``ahead`` batches."""

    def __init__(self, workers, seconds, ahead=2, images=64):
        self.now = 0.0
        self.workers, self.seconds, self.store, self.images = workers, seconds, workers * ahead, images
        self.taken, self.ready = [], []

    def clock(self):
        return self.now

    def __next__(self):
        number = len(self.ready)
        asked = self.taken[number - self.store] if number >= self.store else 0.0
        begun = max(asked, self.ready[number - self.workers]) if number >= self.workers else asked
        self.ready.append(begun + self.seconds)
        self.now = max(self.now, self.ready[-1])
        self.taken.append(self.now)
        return dict(data_samples=[None] * self.images)

    def step(self, seconds):
        def run(batch):
            self.now += seconds

        return run

    def speed(self):
        return LoaderSpeed(self, self.workers, self.store // self.workers, self.clock)


@pytest.mark.parametrize('seconds', [0, 0.1, 1.6, 5])
@pytest.mark.parametrize('before', [0, 3, 40])
def test_a_loader_whose_batches_come_in_rounds(seconds, before):
    loader = Workers(workers=14, seconds=1.7)
    for _ in range(before):
        next(loader)
    loader.now += 20  # enough time to prefetch all batches
    found = loader.speed().alone(seconds)
    # On the H200, counting only the first batch gave 64 images in 1.7 s.
    assert found['loader_images_per_second'] == pytest.approx(14 * 64 / 1.7, rel=1e-3)
    assert found['loader_rounds'] == max(-(-seconds // 1.7), 1)


@pytest.mark.parametrize(
    ('step', 'rate', 'waiting'),
    [
        (0.2, 64 / 0.2, 0.0),  # the loader provides 527 images per second, the step takes 320
        (0.06, 14 * 64 / 1.7, 1 - 0.06 * 14 / 1.7),
    ],
)
@pytest.mark.parametrize('seconds', [0.5, 4])
def test_steps_that_wait_and_that_do_not(step, rate, waiting, seconds):
    loader = Workers(workers=14, seconds=1.7)
    next(loader)
    loader.now += 20
    found = loader.speed().with_steps(loader.step(step), lambda: None, seconds)
    assert found['images_per_second'] == pytest.approx(rate, rel=1e-3)
    assert found['waiting_share'] == pytest.approx(waiting, abs=1e-3)


def test_long_steps_are_broken_off():
    loader = Workers(workers=14, seconds=1.7)
    found = loader.speed().with_steps(loader.step(3.0), lambda: None, 4)
    assert (found['loaded_steps'], found['images_per_second'], found['waiting_share']) == (3, 21.3, 0.0)
    assert loader.now < 20


def test_the_device_is_waited_for():
    loader = Workers(workers=1, seconds=0.001)

    def wait():
        loader.now += 5.0

    found = loader.speed().with_steps(loader.step(0.5), wait, 10)
    assert found['images_per_second'] == pytest.approx(20 * 64 / 15, rel=1e-2)


def test_no_workers():
    now = [0.0]

    def batches():
        while True:
            now[0] += 0.5
            yield dict(data_samples=[None] * 64)

    def step(batch):
        now[0] += 1.5

    speed = LoaderSpeed(batches(), 0, 0, lambda: now[0])
    assert speed.with_steps(step, lambda: None, 5) == dict(images_per_second=32, waiting_share=0.25, loaded_steps=3)
    assert speed.alone(1) == dict(loader_images_per_second=128, loader_rounds=2)


class Numbers:
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index


def test_epochs_without_end():
    loader = seeded_loader(DataLoader(Numbers(), batch_size=2, collate_fn=list), seed=1)
    sampler = loader.batch_sampler
    sampler.batches = Endless(BatchSampler(SequentialSampler(range(6)), 2, drop_last=False))
    assert (len(loader), sampler.batches.batch_size) == (3, 2)
    sampler.start(0)
    assert [*itertools.islice(loader, 7)] == [[0, 1], [2, 3], [4, 5]] * 2 + [[0, 1]]
