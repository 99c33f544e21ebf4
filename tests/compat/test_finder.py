import re
import shutil
import sys
from pathlib import Path

import mmcv
import mmdet
import pytest
import torch

from mmcnn import compat

MMCV = Path(mmcv.__file__).parent
DATA = Path(__file__).resolve().parents[1] / 'data' / 'run_of_0.1.0'
#: Loads a checkpoint of the Runner and prints a logged number.
LOAD = f"""
import torch
content = torch.load({str(DATA / 'stopped_at_iter_4.pth')!r}, weights_only=True)
loss = content['message_hub']['log_scalars']['train/loss']
print(type(loss).__module__, loss.data[0].round(3).tolist(), loss.statistics('max').round(3))
"""
lite = pytest.mark.skipif(any(MMCV.glob('_ext.*')), reason='this mmcv has compiled operators')
LOADED = ('mmengine.logging.history_buffer [22.825, 39.906, 17.127, 41.038] 41.038', '')


def test_mmdet_models_import_after_it_and_not_in_it(python):
    code = """
import sys
import mmcnn.compat
mmcnn.compat.apply()
assert not {'mmdet.models', 'mmcv.ops'} & set(sys.modules), 'heavy imports'
import mmdet.models, mmcv.utils
assert mmcv.utils.collect_env()['MMCV Compiler']
print(mmdet.models.FasterRCNN.__name__)
"""
    assert python(code) == ('FasterRCNN', '')


# ---------------------------------------------------------------------------------------------------------- mmcv._ext


def test_compiled_mmcv_is_left_alone(tmp_path, python):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text("nms = 'compiled'")
    code = """
import sys
import mmcnn.compat
mmcnn.compat.apply()
assert 'mmcv._ext' not in sys.modules
import mmcv._ext
print(mmcv._ext.nms)
"""
    assert python(code, tmp_path) == ('compiled', '')


@pytest.mark.parametrize('first', ['mmcnn', pytest.param('mmcv', marks=pytest.mark.slow)])
def test_operators_of_a_compiled_mmcv_are_used(first, tmp_path, python):
    shutil.copytree(MMCV, tmp_path / 'mmcv', ignore=shutil.ignore_patterns('_ext*'))
    (tmp_path / 'mmcv' / '_ext.py').write_text('def __getattr__(name):\n    return lambda *args: f"compiled {name}"\n')
    code = f"""
import sys
import {first}
import mmcnn
import mmdet.models, mmcv.ops.nms
print(sys.modules['mmcv.ops.nms'].ext_module.nms(), 'mmcnn.compat.mmcv_ext' in sys.modules)
"""
    assert python(code, tmp_path) == ('compiled nms False', '')


@lite
def test_stand_in_looks_like_a_module_before_it_is_imported(python):
    code = """
import importlib.util, sys
import mmcnn
spec = importlib.util.find_spec('mmcv._ext')
print(spec.name, spec.origin.endswith('mmcv_ext.py'), 'mmcv._ext' in sys.modules)
from mmcv.utils.ext_loader import check_ops_exist
print(check_ops_exist())
import mmcv._ext
print(importlib.util.find_spec('mmcv._ext') is mmcv._ext.__spec__, mmcv._ext.nms.__module__)
"""
    expected = 'mmcv._ext True False\nTrue\nTrue mmcnn.compat.mmcv_ext'
    assert python(code) == (expected, '')


# -------------------------------------------------------------------------------------------------------------- torch


@pytest.mark.parametrize(
    'imports',
    [
        'mmcnn, torch',
        'torch, mmcnn',
        *(
            pytest.param(order, marks=pytest.mark.slow)
            for order in (
                'mmcnn, mmengine',
                'mmengine, mmcnn',
                'mmengine.logging.history_buffer, mmcnn',
                'mmcnn, mmengine.runner',
                'mmcnn, mmdet.models',
            )
        ),
        'mmdet, mmcnn',
    ],
)
def test_checkpoint_of_a_runner_loads_in_every_order_of_imports(imports, python):
    assert python(f'import {imports}' + LOAD) == LOADED


def test_checkpoint_of_a_runner_does_not_load_without_mmcnn(python):
    code = f"""
import pickle, sys
try:
    exec({LOAD!r})
except pickle.UnpicklingError as error:
    print('HistoryBuffer' in str(error), 'mmcnn' in sys.modules)
"""
    assert python(code) == ('True False', '')


def test_torch_imports_no_mmengine(python):
    code = """
import sys
import mmcnn, torch
print({name.split('.')[0] for name in sys.modules} & {'mmengine', 'mmcv', 'mmdet', 'cv2', 'matplotlib'})
print(len(torch.serialization.get_safe_globals()) > 0, 'mmcnn' in type(torch.__spec__.loader).__module__)
print(torch.__loader__ is torch.__spec__.loader)
"""
    assert python(code) == ('set()\nTrue False\nTrue', '')


@pytest.mark.parametrize('order', ['mmcnn first', 'mmcnn while torch is imported'])
def test_threads_that_wait_for_each_other(order, tmp_path, python):
    """One thread imports torch, another MMEngine, which then waits for torch; if torch waited too, they would deadlock.

    (Importing the real packages in several threads sometimes fails, even without mmcnn.)
    """
    (tmp_path / 'meeting.py').write_text("""
from threading import Event
torch_is_imported, mmengine_is_imported, go_on = Event(), Event(), Event()
""")
    (tmp_path / 'torch').mkdir()
    (tmp_path / 'torch' / '__init__.py').write_text("""
import meeting
__version__ = '2.9.0'
meeting.torch_is_imported.set()
assert meeting.go_on.wait(60)
from torch import serialization
""")
    (tmp_path / 'torch' / 'serialization.py').write_text("""
allowed = []
def get_safe_globals():
    return list(allowed)
add_safe_globals = allowed.extend
""")
    (tmp_path / 'mmengine').mkdir()
    (tmp_path / 'mmengine' / '__init__.py').write_text("""
import meeting
meeting.mmengine_is_imported.set()
import torch
print('mmengine:', len(torch.serialization.allowed))
""")
    code = f"""
import faulthandler, importlib, threading
faulthandler.dump_traceback_later(120, exit=True)
import meeting
def start(name):
    thread = threading.Thread(target=importlib.import_module, args=[name])
    thread.start()
    return thread
if {order == 'mmcnn first'}:
    import mmcnn
threads = [start('torch')]
assert meeting.torch_is_imported.wait(60)
threads += [start('mmengine'), start('mmcnn')]
assert meeting.mmengine_is_imported.wait(60)
threads[-1].join(0.5)  # gets as far as it can
meeting.go_on.set()
for thread in threads:
    thread.join()
import torch
print('torch:', len(torch.serialization.allowed))
"""
    printed, error = python(code, tmp_path)
    assert error == ''
    assert re.search(r'^torch: 1\d$', printed, re.MULTILINE)
    assert 'mmengine: ' in printed
    if order == 'mmcnn first':
        assert re.search(r'^mmengine: 1\d$', printed, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    'again',
    [
        'importlib.reload(mmcnn); importlib.reload(mmcnn)',
        'import torch; importlib.reload(mmcnn); mmcnn.compat.apply()',
        # A fresh import of mmcnn: two finders, each of which may find the other one.
        "[sys.modules.pop(name) for name in list(sys.modules) if name.startswith('mmcnn')]; import mmcnn",
        "import torch; [sys.modules.pop(name) for name in list(sys.modules) if name.startswith('mmcnn')]; import mmcnn",
        "importlib.util.find_spec('torch'); importlib.util.find_spec('torch')",
        "importlib.util.module_from_spec(importlib.util.find_spec('torch'))",
    ],
)
def test_repeating_does_no_harm(again, python):
    code = f'import importlib.util, sys, mmcnn\n{again}\nimport mmdet.models'
    assert python(code + LOAD) == LOADED


def test_finders_that_ask_all_others_and_old_ones(python):
    code = """
import importlib.util, sys
class Asking:
    busy = False
    def find_spec(self, name, path=None, target=None):
        if self.busy:
            return None
        self.busy = True
        try:
            return importlib.util.find_spec(name) if name == 'torch' else None
        finally:
            self.busy = False
class Old:  # Python 3.11 asks it, 3.12 passes it over
    def find_module(self, name, path=None):
        return None
import mmcnn
sys.meta_path.insert(0, Asking())
sys.meta_path.insert(2, Asking())
sys.meta_path.append(Old())
"""
    assert python(code + LOAD) == LOADED


def test_error_of_a_patch_is_not_hidden(tmp_path, python):
    (tmp_path / 'torch').mkdir()
    (tmp_path / 'torch' / '__init__.py').write_text("__version__ = '2.9.0'\n")
    printed, error = python('import mmcnn; print("mmcnn"); import torch', tmp_path)
    assert printed == 'mmcnn'
    assert re.match(r"AttributeError: .*module 'torch' (from .* )?has no attribute 'serialization'", error)


def test_absent_torch_stays_absent(python):
    code = """
import importlib.util, sys
import mmcnn
sys.meta_path[:] = [finder for finder in sys.meta_path if 'PathFinder' not in str(finder)]
print(importlib.util.find_spec('torch'))
import torch
"""
    assert python(code) == ('None', "ModuleNotFoundError: No module named 'torch'")


def test_repeating_changes_nothing():
    import mmcv._ext

    extension, allowed = mmcv._ext, set(torch.serialization.get_safe_globals())
    finders = list(sys.meta_path)
    compat.apply()
    assert sys.modules['mmcv._ext'] is extension
    assert set(torch.serialization.get_safe_globals()) == allowed
    assert sys.meta_path == finders


# ------------------------------------------------------------------------------------------------------ MMDetection's


@pytest.mark.slow
def test_config_imports_it_for_mmdetection(tmp_path, python):
    config = tmp_path / 'config.py'
    config.write_text("""
custom_imports = dict(imports=['mmcnn'], allow_failed_imports=False)
model = dict(
    type='mmcnn.wired',
    detector='SingleStageDetector',
    backbone=dict(type='mmcnn.cspdarknet53', widen_factor=0.0625, deepen_factor=0.1, out_indices=(3, 4, 5)),
    neck=dict(type='FPN', out_channels=32, num_outs=3),
    bbox_head=dict(type='FCOSHead', num_classes=3, feat_channels=32, stacked_convs=1, strides=[8, 16, 32]),
)
""")
    code = f"""
import sys
from mmengine.config import Config
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
assert 'mmcnn' not in sys.modules
config = Config.fromfile({str(config)!r})
register_all_modules(init_default_scope=True)
model = MODELS.build(config.model)
print(type(model).__module__, type(model.backbone).__name__, model.neck.in_channels)
"""
    assert python(code) == ('mmdet.models.detectors.single_stage CSPDarknet [16, 32, 64]', '')


@pytest.mark.slow
def test_mmdetections_own_tool_resumes_a_run(tmp_path, python, in_double):
    """That process only learns of mmcnn from the config's custom_imports."""
    tool = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'train.py'
    if not tool.is_file():
        pytest.skip('this mmdet was installed without its tools')
    checkpoint = DATA / 'stopped_at_iter_4.pth'
    (tmp_path / 'config.py').write_text(torch.load(checkpoint, weights_only=True)['message_hub']['runtime_info']['cfg'])
    shutil.copytree(DATA / 'data', tmp_path / 'data')
    code = f"""{in_double.prelude}
import os, runpy, sys
os.chdir({str(tmp_path)!r})
sys.argv = ['train.py', 'config.py', '--work-dir', 'run', '--resume', {str(checkpoint)!r}]
runpy.run_path({str(tool)!r}, run_name='__main__')
"""
    _, error = python(code)
    end = tmp_path / 'run' / 'epoch_3.pth'
    assert end.is_file(), error
    assert in_double.distance(end, DATA / 'end.safetensors') < 1e-6
