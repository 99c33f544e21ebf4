"""Messages about refused batches."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.structures import BaseDataElement
from torch import nn

from mmcnn.engine.refusals import Refusals
from mmcnn.errors import TrainingError


@pytest.fixture
def said(tmp_path):
    """Return the lines of the error that a batch of samples with these images causes."""

    def refuse(*samples, wrapper=None):
        model = nn.Linear(1, 1)
        wrapper = wrapper or OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        runner = SimpleNamespace(model=model, optim_wrapper=wrapper, work_dir=str(tmp_path), iter=6, epoch=2)
        refusals = Refusals(runner, SimpleNamespace(stop=True, refused='loss'))
        data = dict(data_samples=[BaseDataElement(metainfo=dict(img_paths=paths)) for paths in samples])
        refusals.before_step(data)
        with pytest.raises(TrainingError) as error:
            refusals.after_step(data, dict(loss_cls=torch.tensor(1.0), loss_box=torch.tensor(float('nan'))))
        return str(error.value).splitlines()

    return refuse


STORY = 'the loss (loss_box) is not finite in iteration 7 (epoch 3)'
ADVICE = f'{STORY}; no checkpoint is affected; use on_nan=skip to drop such batches'


def test_each_image_has_one_line(said, tmp_path):
    found = said(['a.jpg', 'b c.jpg', 'a.jpg'], ['b c.jpg', 'd.jpg'])
    assert found == [ADVICE, '  the images of the batch:', '    a.jpg', '    b c.jpg', '    d.jpg']
    assert said() == [ADVICE]
    assert len(said([f'{i}.jpg' for i in range(20)])) == 22
    assert not list(tmp_path.iterdir())


def test_of_many_images_the_first_are_shown_and_a_file_has_all(said, tmp_path):
    images = [f'{i}.jpg' for i in range(255)] + ['not-utf-8-\udcff.jpg']
    for _ in range(2):
        found = said(images[:100], images[50:])
        assert found[2:] == [f'    {i}.jpg' for i in range(20)] + [
            f'    and 236 more: all are in {tmp_path}/not_finite.txt'
        ]
    lines = (tmp_path / 'not_finite.txt').read_text('utf-8', errors='surrogateescape').splitlines()
    assert lines == 2 * [STORY, *(f'  {image}' for image in images)]


def test_a_file_that_cannot_be_written_is_not_named(said, tmp_path):
    (tmp_path / 'not_finite.txt').mkdir()
    assert said([f'{i}.jpg' for i in range(21)])[-1] == '    and 1 more'


@pytest.mark.parametrize(('dtype', 'explained'), [(None, True), ('float16', True), ('bfloat16', False)])
def test_an_overflow_in_fp16_is_explained(said, monkeypatch, dtype, explained):
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    wrapper = amp_optimizer_wrapper.AmpOptimWrapper(optimizer=optimizer, dtype=dtype, loss_scale=dict(enabled=False))
    found = said(wrapper=wrapper)[0]
    assert found.startswith(STORY) and found.endswith('on_nan=skip to drop such batches')
    assert ('in fp16, whose largest number is 65,504' in found and '--amp bf16' in found) == explained
