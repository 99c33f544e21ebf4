"""Batches that data-loading processes send: small tensors as bytes, large ones in one block."""

from __future__ import annotations

import pytest
import torch
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
    """A data set of the tensors above; each sample names the way it takes."""

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


@pytest.mark.parametrize(('name', 'is_shared'), [('boxes', False), ('part', False), ('large', True), ('image', False)])
def test_only_large_tensors_take_shared_memory(name, is_shared):
    loader = DataLoader([TENSORS[name]], 1, num_workers=1, collate_fn=as_it_is)
    guard_workers(loader)
    ((tensor,),) = loader
    assert tensor.is_shared() == is_shared
    assert (TENSORS[name].nbytes > batch_transport.SMALL) == is_shared


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


@pytest.mark.filterwarnings('ignore:Sparse invariant')
@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_large_tensors_arrive_in_one_block(start):
    loader = DataLoader([LARGE], 1, num_workers=1, collate_fn=in_containers, multiprocessing_context=start)
    guard_workers(loader)
    (batch,) = loader
    for name, sent in LARGE.items():
        tensor = batch[name]
        assert (tensor.dtype, tensor.shape, tensor.layout) == (sent.dtype, sent.shape, sent.layout), name
        assert torch.equal(tensor.to_dense(), sent.to_dense()), name
        assert tensor.layout == torch.sparse_coo or tensor.stride() == sent.stride(), name
    blocks = {
        name: tensor.untyped_storage().data_ptr()
        for name, tensor in batch.items()
        if type(tensor) is Tensor and tensor.layout == torch.strided
    }
    together = ['image', 'view of pixels', 'channels last', 'one row', 'bfloat16']
    assert len({blocks[name] for name in together}) == 1
    assert len({*blocks.values()}) == len(blocks) - len(together) + 1
    assert batch['pair'][0].data_ptr() == batch['same'][0].data_ptr() == batch['image'].data_ptr()
    batch['image'].zero_()
    assert torch.equal(batch['view of pixels'], LARGE['view of pixels'])
    assert batch['pair'][1:] + tuple(batch['same'][1:2]) == ('text', None)


def test_a_batch_that_stays_is_not_copied():
    loader = DataLoader([LARGE], 1, num_workers=1, collate_fn=in_containers)
    guard_workers(loader)
    assert loader.collate_fn([LARGE])['image'] is LARGE['image']


def test_a_loader_that_is_not_guarded_sends_as_before():
    loader = DataLoader([TENSORS['boxes']], 1, num_workers=1, collate_fn=as_it_is)
    ((tensor,),) = loader
    assert tensor.is_shared()
