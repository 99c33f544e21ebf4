"""Private names of dependencies: each exists, does what mmcnn needs, and is used in one file only."""

import ast
import importlib
import inspect
import multiprocessing
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.models import BatchSyncRandomResize
from mmdet.models.dense_heads import AnchorHead
from mmdet.models.roi_heads.mask_heads import fcn_mask_head
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.structures import InstanceData
from mmengine.visualization.vis_backend import BaseVisBackend
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import mmcnn
from mmcnn.compat import onednn, private_names
from mmcnn.compat.private_names import PRIVATE_NAMES, TRIED_WITH
from mmcnn.runs.process_state import kept_process_state

ROOT = Path(__file__).resolve().parents[2]
#: Documented, and therefore public.
DOCUMENTED = {'_exit', '_replace', '_asdict', '_fields', '_make'}

# -------------------------------------------------------------------------------------------- the behaviour of each


def parameters(function):
    return [*inspect.signature(function).parameters]


def without_init(cls, **attributes):
    made = cls.__new__(cls)
    vars(made).update(attributes)
    return made


def feeder():
    assert parameters(multiprocessing.queues.Queue._on_queue_feeder_error) == ['e', 'obj']


def locks():
    context = multiprocessing.get_context('fork')
    event = context.Event()
    assert not private_names.stays_locked(event, 0.01)
    holder = context.Process(target=event._cond.acquire)  # ends with it
    holder.start()
    holder.join()
    assert private_names.stays_locked(event, 0.01)


def iterators():
    iterator = iter(DataLoader(range(2), num_workers=1, multiprocessing_context='fork'))
    assert len(iterator._workers_status) == 1
    started = type(iterator).__new__(type(iterator))
    started.__del__()  # it has no attributes yet
    iterator._shutdown_workers()


def workers():
    loader = DataLoader(range(4), num_workers=2, multiprocessing_context='fork', persistent_workers=True)
    private_names.end_workers(loader)
    for _ in range(2):
        before = multiprocessing.active_children()
        assert len(list(loader)) == 4
        assert len(multiprocessing.active_children()) == len(before) + 2
        private_names.end_workers(loader)
        assert len(multiprocessing.active_children()) == len(before)
    alone = DataLoader(range(4))
    assert len(list(alone)) == 4
    private_names.end_workers(alone)


def batch_norms():
    for cls in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm):
        assert issubclass(cls, private_names.BatchNorm)
    assert isinstance(revert_sync_batchnorm(nn.SyncBatchNorm(2)), private_names.BatchNorm)
    assert not issubclass(nn.GroupNorm, private_names.BatchNorm)


def forward_hooks():
    for name in ('register_forward_hook', 'register_forward_pre_hook'):
        module = nn.Linear(1, 1)
        assert not private_names.has_forward_hooks(module)
        getattr(module, name)(lambda *args: None)
        assert private_names.has_forward_hooks(module)


def hooks():
    for name in ('register_forward_hook', 'register_full_backward_hook', 'register_full_backward_pre_hook'):
        module = nn.Sequential()  # it has no parts
        assert not private_names.has_hooks(module)
        whole = nn.Sequential(nn.ReLU(), nn.Sequential(module, None))
        assert not private_names.has_hooks(nn.ReLU(), whole)
        getattr(module, name)(lambda *args: None)
        assert private_names.has_hooks(module) and private_names.has_hooks(nn.ReLU(), whole)
    for register in (
        register_module_full_backward_hook,
        register_module_full_backward_pre_hook,
        register_module_forward_hook,
        register_module_forward_pre_hook,
    ):
        module, handle = nn.Linear(1, 1), register(lambda *args: None)
        assert private_names.has_hooks(module)
        handle.remove()
        assert not private_names.has_hooks(module)


def own_parameters():
    module = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False))
    assert private_names.parameters_of(module) == {}
    assert private_names.parameters_of(module[0]) == dict(weight=module[0].weight, bias=None)
    module[0].weight = other = nn.Parameter(torch.ones(3, 2, 1, 1))
    assert private_names.parameters_of(module[0])['weight'] is other


def own_tensors():
    module = nn.BatchNorm2d(2, affine=False)
    parameters, buffers = private_names.tensors_of(module)
    assert parameters == dict(weight=None, bias=None)
    assert buffers.keys() == {'running_mean', 'running_var', 'num_batches_tracked'}
    module.running_mean = other = torch.ones(2)
    assert buffers['running_mean'] is other


def transforms():
    seen = []

    def look(x):
        seen.append(private_names.is_transformed())
        return x.sin()

    x = torch.ones(2)
    torch.vmap(look)(x)
    torch.func.jvp(look, (x,), (x,))
    torch.func.grad(lambda x: look(x).sum())(x)
    with forward_ad.dual_level():
        look(x)
    assert seen == [True] * 4
    assert not private_names.is_transformed()


def dispatch():
    seen = []

    class Count(private_names.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    with Count():
        torch.ones(2, 2) @ torch.ones(2, 2)
    assert torch.ops.aten.mm in seen


def dispatch_modes():
    assert not private_names.is_in_torch_dispatch_mode()
    with FlopCounterMode(display=False):
        assert private_names.is_in_torch_dispatch_mode()


def one_pass():
    if not onednn.HAS_ONE_PASS:
        pytest.skip('of x86 only')
    conv, x = nn.Conv2d(8, 6, 3, 2, padding=1).requires_grad_(False), torch.randn(2, 8, 9, 7)
    settings = onednn.ConvSettings.of(conv)
    for weight in (conv.weight, onednn.packed(conv.weight, settings, x.shape)):
        torch.testing.assert_close(
            onednn.convolution(x, weight, conv.bias, settings, ('relu', [])), conv(x).relu(), rtol=1e-5, atol=1e-6
        )


def bfloat16():
    assert isinstance(torch.ops.mkldnn._is_mkldnn_bf16_supported(), bool)


def versions():
    weight = nn.Parameter(torch.ones(2))
    before = onednn.state_of(weight)
    with torch.no_grad():
        weight.mul_(2)
    assert before != onednn.state_of(weight)


def averaging():
    average, other = torch.ones(2), torch.full((3,), 2.0)
    private_names.average_in_place([average, other], [torch.zeros(2), torch.full((3,), 6.0)], 0.25)
    assert (average.tolist(), other.tolist()) == ([0.75] * 2, [3.0] * 3)


def processor():
    own = {name: getattr(torch.cpu, name) for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported')}
    if not hasattr(torch.cpu, 'get_capabilities'):  # PyTorch 2.6
        bf16, tiles = (has() for has in own.values())
        assert private_names.cpu_capabilities() == dict(avx512_bf16=bf16, amx_bf16=tiles)
        return
    known = torch.cpu.get_capabilities()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_names, 'torch', SimpleNamespace(cpu=SimpleNamespace(**own)))  # like PyTorch 2.6
        assert private_names.cpu_capabilities() == {name: known[name] for name in ('avx512_bf16', 'amx_bf16')}
    assert private_names.cpu_capabilities() == known
    if known['architecture'] == 'x86_64':
        assert {'avx512_bf16', 'amx_bf16'} <= known.keys()


def device():
    before = get_device()
    assert private_names.device_of_mmengine() == before
    private_names.set_device_of_mmengine('another')
    assert get_device() == 'another'
    private_names.set_device_of_mmengine(before)


def instances():
    kept = MMLogger.get_instance('kept')
    taken = private_names.taken_instances(MMLogger)
    assert taken['kept'] is kept
    assert not MMLogger.check_instance_created('kept')
    private_names.put_instances(MMLogger, taken)
    assert MMLogger.get_instance('kept') is kept


def saving():
    saves = inspect.unwrap(Runner.save_checkpoint)
    assert 'save_checkpoint' in saves.__code__.co_names
    original = saves.__globals__['save_checkpoint']
    assert parameters(original)[:2] == ['checkpoint', 'filename']
    with private_names.checkpoints_saved_by(print):
        assert saves.__globals__['save_checkpoint'] is print
    assert saves.__globals__['save_checkpoint'] is original


class Model(BaseModel):
    def forward(self, inputs):
        return inputs


def resuming(folder):
    for resume, load_from in ((False, None), (True, None), (True, 'other.pth')):
        runner = Runner(
            Model(), str(folder), resume=resume, load_from=load_from, experiment_name=f'{resume} {load_from}'
        )
        (folder / 'last_checkpoint').write_text('epoch_1.pth')
        assert private_names.is_resumed(runner) == resume
        expected = Path(load_from or 'epoch_1.pth') if resume else None
        assert private_names.resumed_file(runner) == expected


def counting():
    wrapper = OptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1), accumulative_counts=2)
    assert private_names.accumulative_counts(wrapper) == 2
    due = []
    for _ in range(4):
        private_names.count_iteration(wrapper)
        due.append(wrapper.should_update())
    assert due == [False, True, False, True]


def input_sizes():
    resize = BatchSyncRandomResize((32, 64))
    assert private_names.resizing_modules(nn.Sequential(nn.Linear(1, 1), resize)) == [resize]
    assert private_names.input_size(resize) is None
    private_names.set_input_size(resize, (64, 96))
    sample = DetDataSample(metainfo=dict(img_shape=(32, 32), batch_input_shape=(32, 32), pad_shape=(32, 32)))
    sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4))
    MessageHub.get_current_instance().update_info('iter', 0)
    assert resize(torch.zeros(1, 3, 32, 32), [sample])[0].shape == (1, 3, 64, 96)


def best_checkpoint():
    assert parameters(CheckpointHook._save_best_checkpoint) == ['self', 'runner', 'metrics']
    assert '_save_best_checkpoint' in CheckpointHook.after_val_epoch.__code__.co_names


def regular_checkpoint():
    assert parameters(CheckpointHook._save_checkpoint_with_step) == ['self', 'runner', 'step', 'meta']
    assert '_save_checkpoint_with_step' in CheckpointHook._save_checkpoint.__code__.co_names


def loop():
    made = without_init(EpochBasedTrainLoop, _epoch=3, _iter=7, dynamic_milestones=[0, 2], dynamic_intervals=[5, 1])
    assert (made.epoch, made.iter) == (3, 7)
    made._decide_current_val_interval()
    assert made.val_interval == 1


def metainfo():
    kept = dict(classes=('a',))
    found = without_init(BaseDataset, _metainfo=kept).metainfo
    assert found == kept and found is not kept


def coco_api():
    assert '_coco_api' in CocoMetric.__init__.__code__.co_names
    assert '_coco_api' in CocoMetric.compute_metrics.__code__.co_names


def packaged_bases():
    assert '_get_cfg_path' in Config._file2dict.__code__.co_names
    assert parameters(Config._get_cfg_path) == ['cfg_path', 'filename']
    assert Config._get_cfg_path('b.py', '/a/c.py') == ('/a/b.py', None)


def bases(tmp_path):
    (tmp_path / 'base.py').write_text('x = 1\n')
    own, lazy = tmp_path / 'own.py', tmp_path / 'lazy.py'
    own.write_text("_base_ = 'base.py'\n")
    lazy.write_text('from mmengine.config import read_base\nwith read_base():\n    from .base import *\n')
    assert private_names.base_files(own) == [str(tmp_path / 'base.py')]
    assert private_names.base_files(lazy) == private_names.base_files(tmp_path / 'base.py') == []


def pasting():
    assert parameters(fcn_mask_head._do_paste_mask) == ['masks', 'boxes', 'img_h', 'img_w', 'skip_empty']
    assert '_do_paste_mask' in fcn_mask_head.FCNMaskHead._predict_by_feat_single.__code__.co_names
    pasted, place = fcn_mask_head._do_paste_mask(torch.ones(1, 1, 4, 4), torch.tensor([[2.0, 3.0, 5.0, 7.0]]), 20, 20)
    assert place == (slice(2, 8), slice(1, 6)) and pasted.shape == (1, 6, 5)


def anchor_targets():
    names = ['flat_anchors', 'valid_flags', 'gt_instances', 'img_meta', 'gt_instances_ignore', 'unmap_outputs']
    assert parameters(AnchorHead._get_targets_single) == ['self', *names]
    assert '_get_targets_single' in AnchorHead.get_targets.__code__.co_names


def back_ends():
    assert BaseVisBackend.__abstractmethods__ == {'experiment', '_init_env'}


LOOP = 'mmengine.runner.EpochBasedTrainLoop'
ITERATOR = 'torch.utils.data.dataloader._MultiProcessingDataLoaderIter'
CHECKS = {
    'multiprocessing.queues.Queue._on_queue_feeder_error': feeder,
    'multiprocessing.synchronize.Event._cond': locks,
    f'{ITERATOR}.__del__': iterators,
    f'{ITERATOR}._workers_status': iterators,
    f'{ITERATOR}._shutdown_workers': workers,
    'torch.utils.data.DataLoader._iterator': workers,
    'torch.nn.modules.batchnorm._BatchNorm': batch_norms,
    'torch.nn.Module._forward_hooks': forward_hooks,
    'torch.nn.Module._forward_pre_hooks': forward_hooks,
    'torch.nn.Module._backward_hooks': hooks,
    'torch.nn.Module._backward_pre_hooks': hooks,
    'torch.nn.Module._modules': hooks,
    'torch.nn.Module._parameters': own_parameters,
    'torch.nn.Module._buffers': own_tensors,
    'torch.nn.modules.module._global_backward_hooks': hooks,
    'torch.nn.modules.module._global_backward_pre_hooks': hooks,
    'torch.nn.modules.module._global_forward_hooks': hooks,
    'torch.nn.modules.module._global_forward_pre_hooks': hooks,
    'torch.autograd.forward_ad._current_level': transforms,
    'torch._C._are_functorch_transforms_active': transforms,
    'torch.utils._python_dispatch.TorchDispatchMode': dispatch,
    'torch.utils._python_dispatch.is_in_torch_dispatch_mode': dispatch_modes,
    'torch.ops.mkldnn._convolution_pointwise': one_pass,
    'torch.ops.mkldnn._is_mkldnn_bf16_supported': bfloat16,
    'torch.Tensor._version': versions,
    'torch._foreach_mul_': averaging,
    'torch._foreach_add_': averaging,
    'torch.cpu._is_avx512_bf16_supported': processor,
    'torch.cpu._is_amx_tile_supported': processor,
    'mmengine.device.utils.DEVICE': device,
    'mmengine.utils.ManagerMixin._instance_dict': instances,
    'mmengine.runner.runner.save_checkpoint': saving,
    'mmengine.runner.Runner._load_from': resuming,
    'mmengine.runner.Runner._resume': resuming,
    'mmengine.optim.OptimWrapper._accumulative_counts': counting,
    'mmengine.optim.OptimWrapper._inner_count': counting,
    'mmdet.models.BatchSyncRandomResize._input_size': input_sizes,
    'mmengine.hooks.CheckpointHook._save_best_checkpoint': best_checkpoint,
    'mmengine.hooks.CheckpointHook._save_checkpoint_with_step': regular_checkpoint,
    f'{LOOP}._epoch': loop,
    f'{LOOP}._iter': loop,
    f'{LOOP}._decide_current_val_interval': loop,
    'mmengine.config.Config._get_base_files': bases,
    'mmengine.config.Config._is_lazy_import': bases,
    'mmengine.dataset.BaseDataset._metainfo': metainfo,
    'mmdet.evaluation.CocoMetric._coco_api': coco_api,
    'mmengine.config.Config._get_cfg_path': packaged_bases,
    'mmengine.visualization.vis_backend.BaseVisBackend._init_env': back_ends,
    'mmdet.models.dense_heads.AnchorHead._get_targets_single': anchor_targets,
    'mmdet.models.roi_heads.mask_heads.fcn_mask_head._do_paste_mask': pasting,
}


@pytest.mark.parametrize('entry', PRIVATE_NAMES, ids=lambda entry: entry.name)
def test_each_does_what_we_need(entry, tmp_path):
    check = CHECKS[entry.name]
    with kept_process_state():  # MMEngine's loggers, hubs and device are global
        check(*[tmp_path] * len(parameters(check)))
    assert entry.why and entry.instead
    if entry.used_by.endswith('.py'):
        assert re.search(rf'\b{entry.name.rpartition(".")[2]}\b', (ROOT / entry.used_by).read_text())
    else:
        assert all(hasattr(private_names, name) for name in entry.used_by.split(', '))


def test_the_table_has_each_once_and_says_what_it_was_tried_with():
    assert sorted(CHECKS) == sorted(entry.name for entry in PRIVATE_NAMES)
    pinned = dict(re.findall(r'^([\w-]+)==([\d.]+)', (ROOT / 'constraints.txt').read_text(), re.MULTILINE))
    for name in ('torch', 'mmengine', 'mmdet'):
        assert f'{pinned[name]}.'.startswith(f'{TRIED_WITH[name]}.')


# ---------------------------------------------------------------------------------------------- none is used elsewhere


def is_private(name):
    return name.startswith('_') and not name.startswith('__') and name != '_' and name not in DOCUMENTED


def definitions(tree):
    """Yield the names that a file defines: functions, classes, fields, and attributes of its own objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            yield node.attr


def is_own(node):
    """Return whether an expression is ``self``, ``cls`` or ``super()``."""
    node = node.func if isinstance(node, ast.Call) else node
    return isinstance(node, ast.Name) and node.id in ('self', 'cls', 'super')


def accesses(tree):
    """Yield the names that a file looks up or imports: name, line, and whether on ``self``, ``cls`` or ``super()``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno, is_own(node.value)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, 'module', None) or ''
            if not getattr(node, 'level', 0) and not module.startswith('mmcnn'):
                for alias in node.names:
                    for part in (*module.split('.'), *alias.name.split('.')):
                        yield part, node.lineno, False
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith('attr'):
            for argument in node.args[1:2]:  # getattr, hasattr, setattr, delattr
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, node.lineno, is_own(node.args[0])


def touched(sources):
    """Return ``file:line name`` for each foreign private name in these files (path -> text)."""
    trees = {file: ast.parse(text) for file, text in sources.items()}
    own = {file: set(definitions(tree)) for file, tree in trees.items()}
    own_anywhere = set().union(*own.values())
    table = {}
    for entry in PRIVATE_NAMES:
        table.setdefault(entry.name.rpartition('.')[2], set()).add(entry.used_by)
    for file, tree in trees.items():
        for name, line, of_itself in accesses(tree):
            if not is_private(name):
                continue
            known = own_anywhere if of_itself else own[file]
            if file not in table[name] if name in table else name not in known:
                yield f'{file}:{line} {name}'


def sources():
    files = [*ROOT.glob('mmcnn/**/*.py'), *ROOT.glob('tools/**/*.py')]
    found = {str(file.relative_to(ROOT)): file.read_text() for file in files}
    del found['mmcnn/compat/private_names.py']
    return found


@pytest.mark.slow
def test_no_other_is_touched_elsewhere():
    assert list(touched(sources())) == []


@pytest.mark.parametrize(
    ('line', 'name'),
    [
        ('import torch._utils', '_utils'),
        ('from torch.utils.data.dataloader import _BaseDataLoaderIter', '_BaseDataLoaderIter'),
        ('from torch.utils._pytree import tree_map', '_pytree'),
        ('def stop(loader): loader._iterator = None', '_iterator'),
        ('def loops(runner): return runner._train_loop', '_train_loop'),
        ('def size(model): return getattr(model, "_input_size", None)', '_input_size'),
        ('class Loop:\n    def run(self): self._epoch += 1', '_epoch'),  # the table names another file
        ('class Hook:\n    def f(self): return super()._save_checkpoint()', '_save_checkpoint'),
        ('class Own:\n    def __init__(self): self._hooks = []\n    def f(self, other): return self._hooks', None),
        ('def new(row): return row._replace(a=1)', None),
    ],
)
def test_the_scan_finds_what_is_touched(line, name):
    found = list(touched({'mmcnn/seeded.py': line}))
    assert [each.rpartition(' ')[2] for each in found] == ([] if name is None else [name])


@pytest.mark.slow
def test_our_classes_use_no_other_private_names_of_their_bases():
    """The scan above misses these, because a base class's name looks like the class's own."""
    allowed = {(entry.used_by, entry.name.rpartition('.')[2]) for entry in PRIVATE_NAMES}
    found = set()
    for info in pkgutil.walk_packages(mmcnn.__path__, 'mmcnn.'):
        if info.name.endswith('__main__'):
            continue
        module = importlib.import_module(info.name)
        for cls in vars(module).values():
            if not inspect.isclass(cls) or cls.__module__ != info.name:
                continue
            used = set(re.findall(r'\b(?:self|super\(\))\.(_[a-z]\w*)|def (_[a-z]\w*)', source_of(cls)))
            used = {name for pair in used for name in pair if name}
            for base in cls.__mro__:
                if base.__module__.partition('.')[0] not in ('mmcnn', 'builtins', 'abc', 'typing', 'collections'):
                    theirs = set(re.findall(r'self\.(_[a-z]\w*)|def (_[a-z]\w*)', source_of(base)))
                    found |= {(info.name, name) for pair in theirs for name in pair if name in used}
    found = {(f'{module.replace(".", "/")}.py', name) for module, name in found}
    assert found - allowed == set()
    assert ('mmcnn/engine/resumable_train_loop.py', '_epoch') in found  # the search does find names


def source_of(cls):
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # created at runtime or written in C
        return ''
