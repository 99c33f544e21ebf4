"""Imports of MMDetection and MMEngine that are postponed until they are used.

``import mmdet.models`` loads scikit-learn, SciPy, pyplot, SymPy and PyTorch's FSDP, which takes longer than all the
rest: for trackers, PAA, the Hungarian method and sharded models. Their files are unchanged, and every name stays where
it was:

- The modules of :data:`LIBRARIES` are executed with a custom ``__import__``, which returns a stand-in for what they
import from these libraries. They use them only inside functions.
- The packages of :data:`CLASSES` omit a class with such a large base class. It is imported when the package is
asked for it (also by ``import *``), or a registry for its type.
"""

from __future__ import annotations

import builtins
import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple


class LateClass(NamedTuple):
    """A class that its package does not define initially.

    Attributes:
        name: name of the class, and of its type in the registries.
        module: module that defines it.
    """

    name: str
    module: str


_ZERO = LateClass('ZeroRedundancyOptimizer', 'mmengine.optim.optimizer.zero_optimizer')
_FSDP = LateClass('MMFullyShardedDataParallel', 'mmengine.model.wrappers.fully_sharded_distributed')
_STRATEGY = LateClass('FSDPStrategy', 'mmengine._strategy.fsdp')

#: Module -> the libraries that it uses only in functions.
LIBRARIES = {
    'mmdet.evaluation.metrics.crowdhuman_metric': ('scipy',),
    'mmdet.models.dense_heads.paa_head': ('sklearn',),
    'mmdet.models.task_modules.assigners.hungarian_assigner': ('scipy',),
    'mmdet.models.task_modules.assigners.topk_hungarian_assigner': ('scipy',),
    'mmdet.models.task_modules.tracking.aflink': ('scipy',),
    'mmdet.models.task_modules.tracking.interpolation': ('sklearn',),
    'mmdet.models.task_modules.tracking.kalman_filter': ('scipy',),
    'mmdet.utils.mot_error_visualize': ('matplotlib', 'seaborn'),
}
#: Package -> the class that it imports from a module, or from another of these packages.
CLASSES = {
    'mmengine._strategy': _STRATEGY,
    'mmengine.model': _FSDP,
    'mmengine.model.wrappers': _FSDP,
    'mmengine.optim': _ZERO,
    'mmengine.optim.optimizer': _ZERO,
}
#: Type in the registries -> the package that has it.
_PACKAGE_OF = {late.name: late.module.rpartition('.')[0] for late in CLASSES.values()}

Import = Callable[..., Any]


class LateLoader:
    """A module's own loader, which executes the module with an ``__import__`` that postpones imports."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> ModuleType | None:
        """Create the module as its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with imports that are postponed until their names are used."""
        name = module.__name__
        module.__loader__ = module.__spec__.loader = self._loader
        late = CLASSES.get(name)
        waiting = _importing_libraries(LIBRARIES[name]) if late is None else _importing_without(late)
        # The functions of a module keep the builtins that it has when they are defined.
        module.__dict__['__builtins__'] = {**vars(builtins), '__import__': waiting}
        try:
            self._loader.exec_module(module)
        finally:
            module.__dict__['__builtins__'] = vars(builtins)
        if late is not None:
            _leave_out(module, late)


def install_registry() -> None:
    """Make registries import a postponed type when they are asked for it; applied once."""
    registry = sys.modules['mmengine.registry.registry'].Registry
    original = registry.get
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def get(self, key):
        if isinstance(key, str):
            load(key.rpartition('.')[2])
        return original(self, key)

    registry.get = get


def load(kind: str) -> None:
    """Register a postponed type; do nothing for any other."""
    if kind in _PACKAGE_OF:
        getattr(import_module(_PACKAGE_OF[kind]), kind, None)


def load_all() -> None:
    """Register all postponed types."""
    for kind in _PACKAGE_OF:
        load(kind)


class _Later:
    """A module, or a member of one, that is imported when it is called or accessed.

    Args:
        module: its dotted name.
        attribute: attribute of the module; None: the module itself.
        whole: the module to import; ``import a.b`` binds ``a`` but needs ``a.b``.
    """

    def __init__(self, module: str, attribute: str | None = None, whole: str | None = None) -> None:
        self._module, self._attribute, self._whole = module, attribute, whole or module

    def _found(self) -> Any:
        import_module(self._whole)
        module = sys.modules[self._module]
        if self._attribute is None:
            return module
        if not hasattr(module, self._attribute):
            import_module(f'{self._module}.{self._attribute}')
        return getattr(module, self._attribute)

    def __getattr__(self, name: str) -> Any:
        inner = f'{self._module}.{name}'
        if self._attribute is None and f'{self._whole}.'.startswith(f'{inner}.'):
            return _Later(inner, whole=self._whole)
        return getattr(self._found(), name)

    def __reduce__(self) -> tuple:
        return _Later, (self._module, self._attribute, self._whole)  # a copy is also postponed

    def __deepcopy__(self, memo: dict) -> _Later:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._found()(*args, **kwargs)


def _importing_libraries(libraries: Sequence[str]) -> Import:
    """Return an ``__import__`` with stand-ins for modules of these libraries, if they are installed."""

    def import_later(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        top = name.partition('.')[0]
        if level or top not in libraries or name in sys.modules or importlib.util.find_spec(top) is None:
            return builtins.__import__(name, globals, locals, fromlist, level)
        if fromlist:
            return SimpleNamespace(**{each: _Later(name, each) for each in fromlist})
        return _Later(top, whole=name)

    return import_later


def _importing_without(late: LateClass) -> Import:
    """Return an ``__import__`` that returns None for a class."""

    def import_without(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if late.name not in (fromlist or ()):
            return builtins.__import__(name, globals, locals, fromlist, level)
        others = tuple(each for each in fromlist if each != late.name)
        found = builtins.__import__(name, globals, locals, others, level) if others else None
        return SimpleNamespace(**{each: getattr(found, each) for each in others}, **{late.name: None})

    return import_without


def _leave_out(package: ModuleType, late: LateClass) -> None:
    """Replace the None that a package has for a class by its import on demand."""
    if package.__dict__.get(late.name, package) is not None:
        return  # this version does not import it, or imports it in another way
    del package.__dict__[late.name]
    inner = late.module.removeprefix(f'{package.__name__}.')

    def on_demand(name: str) -> Any:
        if name not in (late.name, inner):
            raise AttributeError(f"module '{package.__name__}' has no attribute '{name}'")
        module = import_module(late.module)
        found = module if name == inner else getattr(module, name)
        setattr(package, name, found)
        return found

    package.__getattr__ = on_demand
