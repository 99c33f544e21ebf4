import ast
import copy
import importlib.util
import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmcnn.compat import late_imports

#: Large packages that MMDetection and MMEngine import for a few features.
LARGE = ('matplotlib.pyplot', 'scipy', 'sklearn', 'sympy', 'torch._dynamo', 'torch.distributed.fsdp', 'torch.onnx')


@pytest.mark.slow
def test_importing_mmdetection_imports_no_large_library_that_few_parts_use(python):
    code = f"""
import sys
import mmcnn
import mmdet.models, mmdet.datasets, mmdet.evaluation, mmdet.visualization, mmengine.runner
print([name for name in {LARGE!r} if name in sys.modules])
from mmdet.registry import MODELS, TASK_UTILS
print(MODELS.get('PAAHead').__name__, TASK_UTILS.get('HungarianAssigner').__name__, 'sklearn' in sys.modules)
"""
    assert python(code) == ('[]\nPAAHead HungarianAssigner False', '')


@pytest.mark.slow
def test_types_and_names_that_are_left_out_are_there_when_they_are_asked_for(python):
    code = """
import sys
import mmcnn
import mmengine.runner, mmengine.optim, mmengine.model
from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS
assert 'torch.distributed.fsdp' not in sys.modules
print(OPTIMIZERS.get('mmengine.ZeroRedundancyOptimizer').__module__)
print(MODEL_WRAPPERS.get('MMFullyShardedDataParallel').__module__)
from mmengine.optim import *
from mmengine.model import MMFullyShardedDataParallel, wrappers
print(ZeroRedundancyOptimizer is OPTIMIZERS.get('ZeroRedundancyOptimizer'))
print(wrappers.fully_sharded_distributed.MMFullyShardedDataParallel is MMFullyShardedDataParallel)
try:
    mmengine.optim.ZeroRedundancy
except AttributeError as error:
    print(error)
"""
    assert python(code)[0].splitlines() == [
        'mmengine.optim.optimizer.zero_optimizer',
        'mmengine.model.wrappers.fully_sharded_distributed',
        'True',
        'True',
        "module 'mmengine.optim' has no attribute 'ZeroRedundancy'",
    ]


def names_used_at_import(node: ast.AST) -> set[str]:
    """Return the names that are read when a module is executed, that is, outside of functions."""
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        outside = [*getattr(node, 'decorator_list', ()), *node.args.defaults, *filter(None, node.args.kw_defaults)]
        return set().union(*map(names_used_at_import, outside))
    own = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else set()
    return own.union(*map(names_used_at_import, ast.iter_child_nodes(node)))


@pytest.mark.parametrize('name', late_imports.LIBRARIES)
def test_modules_use_the_libraries_in_functions_only(name):
    """Any use of a stand-in while a module is executed would import the library after all."""
    tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_text())
    bound = {
        alias.asname or alias.name.partition('.')[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, 'level', 0)
        for alias in node.names
        if (getattr(node, 'module', None) or alias.name).partition('.')[0] in late_imports.LIBRARIES[name]
    }
    assert bound
    assert not bound & names_used_at_import(tree)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The name of a package with one module, both of which are imported on first use."""
    (tmp_path / 'large').mkdir()
    (tmp_path / 'large' / '__init__.py').write_text('top = 1\n')
    (tmp_path / 'large' / 'inner.py').write_text('def double(x):\n    return 2 * x\n\n\nNUMBER = 7\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield 'large'
    for name in ('large', 'large.inner'):
        sys.modules.pop(name, None)


def executed(source: str, *libraries: str) -> ModuleType:
    module = ModuleType('user')
    waiting = late_imports._importing_libraries(libraries)
    module.__dict__['__builtins__'] = {**vars(__import__('builtins')), '__import__': waiting}
    exec(compile(source, 'user', 'exec'), module.__dict__)
    return module


@pytest.mark.parametrize(
    ('statement', 'expression', 'value'),
    [
        ('import large.inner', 'large.inner.double(4)', 8),
        ('import large.inner', 'large.top', 1),
        ('import large.inner as li', 'li.NUMBER', 7),
        ('import large', 'large.top', 1),
        ('from large.inner import double as twice', 'twice(4)', 8),
        ('from large import inner', 'inner.NUMBER', 7),
    ],
)
def test_every_way_to_import_waits_and_then_gives_the_same(statement, expression, value, library):
    module = executed(f'{statement}\ndef ask():\n    return {expression}\n', library)
    assert library not in sys.modules
    assert module.ask() == value
    assert library in sys.modules


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_waits_too(copied, library):
    module = executed('from large.inner import double\nimport large.inner as li\n', library)
    double, inner = copied(module.double), copied(module.li)
    assert library not in sys.modules
    assert (double(4), inner.NUMBER) == (8, 7)


def test_library_that_is_not_installed_is_missed_at_once():
    source = 'try:\n    import no_such_library\nexcept ImportError:\n    no_such_library = None\n'
    assert executed(source, 'no_such_library').no_such_library is None


def test_library_that_is_there_already_is_taken_as_it_is(library):
    import large.inner

    module = executed('from large.inner import double\nimport json\n', library)
    assert module.double is large.inner.double
    assert module.json is sys.modules['json']


@pytest.mark.slow
def test_a_checkpoint_and_a_misspelt_config_know_the_types_that_are_left_out(python):
    code = """
import mmcnn
from mmengine.registry import OPTIMIZERS
from mmcnn.config.types import _names
from mmcnn.weights.recorded_types import _modules
print('ZeroRedundancyOptimizer' in _names(OPTIMIZERS))
print(_modules('ZeroRedundancyOptimizer'))
"""
    assert python(code)[0].splitlines() == ['True', "{'mmengine.optim.optimizer.zero_optimizer'}"]
