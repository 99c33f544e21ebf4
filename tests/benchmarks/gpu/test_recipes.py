import pytest

from mmcnn.benchmarks.gpu.measurement import Circumstances
from mmcnn.benchmarks.gpu.recipes import RECIPES, batch_size_of
from mmcnn.config.files import own_configs
from mmcnn.config.load import load_config


def circumstances(**values):
    return Circumstances(**(dict(device='cuda', tiny=False, folder='', classes_folder='', workers=0) | values))


@pytest.mark.parametrize(
    ('memory', 'size'), [(80e9, 64), (85e9, 64), (79e9, 64), (150e9, 64), (40e9, 32), (24e9, 16), (1e9, 1), (0, 64)]
)
def test_batches_by_memory(memory, size):
    assert batch_size_of(RECIPES['yolov5_s'], circumstances(memory=memory)) == size


def test_batches_that_are_asked_for():
    assert batch_size_of(RECIPES['yolov5_s'], circumstances(memory=1e9, batch_size=7)) == 7
    assert batch_size_of(RECIPES['yolov5_s'], circumstances(tiny=True)) == 2


@pytest.mark.parametrize('name', RECIPES)
def test_nothing_is_fetched(name):
    recipe = RECIPES[name]
    assert recipe.config in own_configs()
    cfg = load_config(recipe.config, recipe.options)
    assert cfg.model.backbone.get('init_cfg') is None
    assert (load_config(recipe.config).model.backbone.get('init_cfg') is not None) == bool(recipe.note)
