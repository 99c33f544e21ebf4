"""What stood in mmcnn.cli up to release 0.1 is found there for one release, with a warning that names the new place."""

import importlib
import subprocess
import sys

import pytest

#: What the modules of release 0.1.0 held, as far as it is still there, by the module of mmcnn that holds it now.
HELD = {
    'anchors': {'runs.anchors': ['MIN_RECALL', 'warn_of_anchors', 'train_box_sizes']},
    'batches': {'runs.batches': ['MIN_STEPS', 'set_batches', 'describe_batches', 'world_size']},
    'configs': {
        'runs.configs': ['BACKBONE', 'load_config', 'config_and_checkpoint', 'merge_options', 'dicts_in'],
        'runs.config_files': ['PACKAGE', 'config_folder'],
    },
    'data': {'runs.data': ['DEMO_DATA', 'DEMO_CLASSES', 'DEMO_PATIENCE', 'set_data', 'check_classes', 'set_cache',
                           'inner_dataset']},
    'device': {'runs.device': ['use_device']},
    'errors': {'errors': ['UsageError']},
    'img_size': {'runs.img_size': ['MIN_IMAGE', 'SCALED', 'set_img_size', 'image_size']},
    'model': {'runs.model': ['wire_model', 'build_on_meta', 'is_classifier', 'refusals']},
    'training': {'runs.training': ['set_amp', 'set_on_nan', 'check_initial_weights']},
}  # fmt: skip


@pytest.mark.parametrize('old', HELD)
def test_old_names_warn_and_work(old):
    module = importlib.import_module(f'mmcnn.cli.{old}')
    assert getattr(importlib.import_module('mmcnn.cli'), old) is module
    for place, names in HELD[old].items():
        for name in names:
            with pytest.warns(
                DeprecationWarning, match=rf'^mmcnn\.cli\.{old}\.{name} has moved to mmcnn\.{place}$'
            ) as seen:
                found = getattr(module, name)
            assert found is getattr(importlib.import_module(f'mmcnn.{place}'), name)
            assert seen[0].filename == __file__
    with pytest.raises(AttributeError, match=rf"module 'mmcnn\.cli\.{old}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize(
    'line', ['from mmcnn.cli.data import set_data', 'import mmcnn.cli.data; mmcnn.cli.data.set_data',
             'from mmcnn.cli import data; data.set_data'],
)  # fmt: skip
def test_every_form_of_import(line):
    code = ['-W', 'default::DeprecationWarning', '-c', line]
    result = subprocess.run([sys.executable, *code], capture_output=True, text=True, check=True)
    assert 'DeprecationWarning: mmcnn.cli.data.set_data has moved to mmcnn.runs.data\n' in result.stderr


def test_the_shims_load_nothing():
    code = 'import sys, mmcnn.cli.data; mmcnn.cli.data; print({"torch", "mmengine"} & {*sys.modules})'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout == 'set()\n'
