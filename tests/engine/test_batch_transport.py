"""Batches that data-loading processes send in one block of shared memory."""

from __future__ import annotations

import select
from itertools import pairwise
from multiprocessing.reduction import ForkingPickler
from multiprocessing.resource_sharer import DupFd
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmcnn.engine import batch_transport
from mmcnn.engine.data_workers import guard_workers

TENSORS = {
    'image': torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2),
    'boxes': torch.tensor([[0.5, 1, 2, 3]]),
    'no boxes': torch.zeros(0, 4),
    'labels': torch.tensor([7, -1]),
    'ignored': torch.tensor([True, False]),
    'half': torch.tensor([1.5], dtype=torch.float16),
    'bfloat16': torch.tensor([1.5, -2], dtype=torch.bfloat16),
    'negated': torch.tensor([1 + 2j]).conj().imag,
    'sparse': torch.eye(3).to_sparse(),
    'part': torch.arange(1 << 20)[5:9],
    'transposed': torch.arange(6).reshape(2, 3).T,
    'scalar': torch.tensor(3.0),
    'large': torch.ones(1 << 17),
}


class Named(Dataset):
    """A data set of the tensors above, each with its name."""

    def __len__(self) -> int:
        return len(TENSORS)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:
        return [*TENSORS.items()][index]


def as_it_is(batch: list) -> list:
    return batch


@pytest.mark.filterwarnings('ignore:Sparse invariant')
@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_all_tensors_arrive_unchanged(start):
    loader = DataLoader(Named(), 4, num_workers=2, collate_fn=as_it_is, multiprocessing_context=start)
    guard_workers(loader)
    found = {name: tensor for batch in loader for name, tensor in batch}
    assert found.keys() == TENSORS.keys()
    for name, tensor in found.items():
        sent = TENSORS[name]
        assert (tensor.dtype, tensor.shape, tensor.layout) == (sent.dtype, sent.shape, sent.layout), name
        assert torch.equal(tensor.to_dense(), sent.to_dense()), name
        if tensor.layout == torch.strided:
            tensor.zero_()  # it can be written to
    assert found['image'].sum() == 0


LARGE = {
    'image': torch.arange(300_001, dtype=torch.uint8),
    'view of pixels': torch.arange(300 * 400 * 3).to(torch.uint8).reshape(300, 400, 3).permute(2, 0, 1),
    'channels last': torch.rand(2, 16, 64, 64).to(memory_format=torch.channels_last),
    'one row': torch.rand(1, 1, 70_000).double(),
    'bfloat16': torch.rand(1 << 18).bfloat16(),
    'with gaps': torch.rand(600, 600)[:, 1:],
    'repeated': torch.rand(600, 1).expand(600, 600),
    'sparse': torch.eye(600).to_sparse(),
    'gradient': torch.rand(70_000, requires_grad=True),
}


def in_containers(samples: list) -> dict:
    """A batch that has the tensors of a sample in a dict, a tuple, and twice the same one in a list."""
    (sample,) = samples
    return dict(sample, pair=(sample['image'], 'text'), same=[sample['image'], None, sample['with gaps']])


@pytest.fixture
def descriptors(monkeypatch):
    """The file descriptors that the main process has fetched, one for each piece of shared memory."""
    fetched, detach = [], DupFd.detach

    def counted(descriptor):
        fetched.append(detach(descriptor))
        return fetched[-1]

    monkeypatch.setattr(DupFd, 'detach', counted)
    return fetched


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_a_batch_arrives_in_one_block(start, descriptors):
    loader = DataLoader([LARGE], 1, num_workers=1, collate_fn=in_containers, multiprocessing_context=start)
    guard_workers(loader)
    (batch,) = loader
    for name, sent in LARGE.items():
        tensor = batch[name]
        assert (tensor.dtype, tensor.shape, tensor.layout) == (sent.dtype, sent.shape, sent.layout), name
        assert torch.equal(tensor.to_dense(), sent.to_dense()), name
        assert tensor.requires_grad == sent.requires_grad, name
    for name in ('image', 'view of pixels', 'channels last', 'one row'):
        assert batch[name].stride() == LARGE[name].stride()
    assert len(descriptors) == 1
    large = [batch[name] for name in LARGE if name not in ('sparse', 'gradient')]
    places = sorted((tensor.data_ptr(), tensor.nbytes) for tensor in large)
    gaps = [after - place - size for (place, size), (after, _) in pairwise(places)]
    assert all(0 <= gap < 64 for gap in gaps) and len({place % 64 for place, _ in places}) == 1
    assert batch['pair'][0] is batch['same'][0] is batch['image']
    batch['image'].zero_()
    assert torch.equal(batch['view of pixels'], LARGE['view of pixels'])
    assert batch['pair'][1:] + tuple(batch['same'][1:2]) == ('text', None)


def test_samples_with_arrays_and_boxes_arrive_unchanged(descriptors):
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes

    masks = np.arange(400_000, dtype=np.uint8).reshape(4, 100, 1000)
    instances = InstanceData(bboxes=HorizontalBoxes([[1.0, 2, 3, 4]]), labels=torch.tensor([3]))
    sample = DetDataSample(gt_instances=instances, metainfo=dict(img_path='a.jpg', scale_factor=np.array([2.0, 3.0])))
    loader = DataLoader([(sample, masks)], 1, num_workers=1, collate_fn=as_it_is, multiprocessing_context='fork')
    guard_workers(loader)
    (((found, array),),) = loader
    assert len(descriptors) == 1
    assert np.array_equal(array, masks) and array.flags.writeable
    assert (found.img_path, found.scale_factor.tolist()) == ('a.jpg', [2, 3])
    assert found.gt_instances.bboxes.tensor.tolist() == [[1, 2, 3, 4]] and found.gt_instances.labels.tolist() == [3]


@pytest.mark.skipif(not Path('/proc/self/maps').exists(), reason='this system does not list the memory of a process')
def test_small_tensors_do_not_keep_the_memory_of_their_batch():
    def blocks():
        return [line for line in Path('/proc/self/maps').read_text().splitlines() if '/torch_' in line]

    before = len(blocks())
    sample = dict(large=LARGE['image'], small=TENSORS['boxes'], array=np.ones(3))
    loader = DataLoader([sample], 1, num_workers=1, collate_fn=as_it_is, multiprocessing_context='fork')
    guard_workers(loader)
    ((found,),) = loader
    assert len(blocks()) == before + 1
    del found['large']
    assert len(blocks()) == before
    assert found['small'].tolist() == TENSORS['boxes'].tolist() and found['array'].tolist() == [1, 1, 1]


@pytest.mark.parametrize('count', [1, 300])
def test_what_goes_through_the_pipe_is_written_at_once(count):
    batch = [dict(path=f'images/{number}.jpg', image=torch.ones(1 << 17)) for number in range(count)]
    block = batch_transport._block_of(batch)
    assert len(ForkingPickler.dumps((7, block))) < select.PIPE_BUF / 2


def test_a_batch_that_stays_is_not_copied():
    loader = DataLoader([LARGE], 1, num_workers=1, collate_fn=in_containers)
    guard_workers(loader)
    assert loader.collate_fn([LARGE])['image'] is LARGE['image']
