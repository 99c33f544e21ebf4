"""Variables of config files that have no effect."""

import pytest

from mmcnn.config.files import own_configs
from mmcnn.config.load import load_config
from mmcnn.config.variables import say_unread

NARROW = 'yolov4_cspdarknet53_narrow'
MOSAIC = 'train_dataloader.dataset.pipeline.0'


def test_variables_of_a_file_that_have_no_effect(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(
        f"_base_ = ['{own_configs()[NARROW]}']\nimg_scale = (320, 320)\nmax_epochs = 5\nmine = 3\n"
        "train_pipeline = [dict(type='X')]\n"
    )
    said = []
    say_unread(load_config(path), said.append)
    assert sorted(said) == [
        "note: 'train_pipeline' of the config has no effect; the entries in use are "
        'train_dataloader.dataset.pipeline, val_dataloader.dataset.pipeline, test_dataloader.dataset.pipeline',
        f'note: img_scale=(320, 320) of the config has no effect; the entry in use is {MOSAIC}.img_scale=(640, 640)',
        'note: max_epochs=5 of the config has no effect; the entry in use is train_cfg.max_epochs=300',
    ]


@pytest.mark.parametrize('name', own_configs())
def test_own_configs_have_no_such_variables(name):
    said = []
    say_unread(load_config(name, say=lambda note: None), said.append)
    assert said == []
