"""The environment of mmcnn for bug reports: versions, machine, installation.

A missing or broken package does not end the report: its line says what is wrong.
"""

from __future__ import annotations

import getpass
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

from mmcnn.compat import extension_file
from mmcnn.system_memory import control_group_limit
from mmcnn.version import __version__

PACKAGE = Path(__file__).resolve().parent
OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')
#: Distributions that are reported without importing them.
OTHERS = (
    'matplotlib', 'pillow', 'rich', 'tensorboard', 'safetensors', 'pycocotools', 'h5py', 'timm', 'keras', 'supervision',
)  # fmt: skip
#: Environment variables that change the behaviour of a run.
VARIABLES = ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'PYTORCH_CUDA_ALLOC_CONF', 'MMCNN_TRACEBACK')
GIB = 2**30


def lines() -> Iterator[str]:
    """Yield the report line by line, ``name  text``, without personal names."""
    width = max(map(len, _REPORTS))
    for name, report in _REPORTS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                text = report()
        except Exception as error:  # any error of a library or system: the other lines are still needed
            text = f'unknown ({_short(error)})'
        yield _without_names(f'{name:{width}}  {text}')


# ------------------------------------------------------------------------------------------------------------- packages


def package(module: str, *distributions: str) -> str:
    """Return the version of a package, and whether it can be imported.

    Args:
        module: the module to import.
        distributions: names of the package on PyPI, if they differ; more than one if several provide this module.
    """
    installed = _installed(distributions or (module,))
    loaded, error = _import(module)
    if loaded is None and not installed:
        # Any error other than "there is no such module" means that the module exists.
        absent = isinstance(error, ModuleNotFoundError) and error.name == module
        return 'not installed' if absent else f'cannot be imported: {_short(error)}'
    version = getattr(loaded, '__version__', None) or next(iter(installed.values()), 'version unknown')
    text = version if loaded is not None else f'{version}, but it cannot be imported: {_short(error)}'
    if len(distributions) > 1:
        text += f' ({", ".join(f"{name} {version}" for name, version in installed.items()) or "not from pip"})'
    if len(installed) > 1:
        text += '; they overwrite each other in one folder: uninstall all of them, then install one'
    return text


def _installed(distributions: Sequence[str]) -> dict[str, str]:
    """Return the installed ones with their versions."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _import(module: str) -> tuple[ModuleType | None, BaseException | None]:
    """Return the module, or the reason why it cannot be imported, which may be any exception that its code raises."""
    try:
        return importlib.import_module(module), None
    except (Exception, SystemExit) as error:
        return None, error


def _mmcv() -> str:
    text = package('mmcv', 'mmcv', 'mmcv-lite')
    # Not find_spec, which mmcnn's finder answers with its replacement.
    spec = PathFinder.find_spec('mmcv')
    if spec is None or not spec.submodule_search_locations:
        return text
    if PathFinder.find_spec('mmcv._ext', spec.submodule_search_locations) is None:
        return f"{text}, without compiled operators; mmcnn's replace them"
    if (place := extension_file.look()).state in ('ours', 'other release'):
        return f"{text}, without compiled operators; mmcnn's replace them, by {place.found.name}"
    loaded, error = _import('mmcv._ext')
    broken = '' if loaded is not None else f', which cannot be loaded: {_short(error)}'
    return f'{text}, with compiled operators{broken}'


def _torch() -> str:
    text = package('torch')
    torch, _ = _import('torch')
    if torch is None:
        return text
    parts = [text]
    if torch.version.cuda:
        parts.append(f'CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}')
    elif torch.version.hip:
        parts.append(f'ROCm {torch.version.hip}')
    else:
        parts.append('built without CUDA')
    if torch.version.cuda or torch.version.hip:
        parts.append(_usable_gpus(torch))
    parts.append(f'CPU capability {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads')
    return ', '.join(parts)


def _usable_gpus(torch: ModuleType) -> str:
    names = []
    for i in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(i)
        names.append(f'{torch.cuda.get_device_name(i)} (compute capability {major}.{minor})')
    return f'sees {" and ".join(names)}' if names else 'sees no GPU'


def _others() -> str:
    installed = _installed(OTHERS)
    absent = [name for name in OTHERS if name not in installed]
    texts = [', '.join(f'{name} {version}' for name, version in installed.items())]
    texts.append(f'not installed: {", ".join(absent)}' if absent else '')
    return '; '.join(filter(None, texts))


# --------------------------------------------------------------------------------------------------------- installation


def _mmcnn() -> str:
    return f'{__version__}, {installation(PACKAGE)}'


def installation(folder: Path) -> str:
    """Return how the package in a folder is installed, its path, and its commit if it is a checkout."""
    kind = 'not installed, found on the path'
    for distribution in metadata.distributions(name='mmcnn'):
        if distribution.read_text('WHEEL') is None:
            continue  # left in a checkout by a build
        direct = json.loads(distribution.read_text('direct_url.json') or '{}')
        source = Path(unquote(direct.get('url', '').removeprefix('file://')))
        if Path(distribution.locate_file('mmcnn')).resolve() == folder:
            kind = 'installed as a wheel'
        elif direct.get('dir_info', {}).get('editable') and source.resolve() == folder.parent:
            kind = 'installed as editable'
    text = f'{kind}, in {folder}'
    # Only of mmcnn's own checkout: an environment may be inside the checkout of another project.
    return f'{text}, {_commit(folder.parent)}' if (folder.parent / '.git').exists() else text


def _commit(checkout: Path) -> str:
    try:
        commit = _output('git', '-C', str(checkout), 'rev-parse', '--short=12', 'HEAD')
        changed = _output('git', '-C', str(checkout), 'status', '--porcelain', '--untracked-files=no')
    except (OSError, subprocess.SubprocessError) as error:
        return f'commit unknown ({_short(error)})'
    return f'commit {commit}{" with local changes" if changed else ""}'


# -------------------------------------------------------------------------------------------------------------- machine


def _python() -> str:
    kind = 'conda' if Path(sys.prefix, 'conda-meta').is_dir() else 'venv' if sys.prefix != sys.base_prefix else ''
    return f'{platform.python_version()} ({platform.python_implementation()}{kind and f", {kind}"})'


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()['PRETTY_NAME']
    except (OSError, KeyError):  # not Linux, or a minimal container
        return platform.platform()
    return f'{name}, {platform.platform()}'


def _cpu() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    text = f'{usable} of {os.cpu_count()} cores usable'
    quota, _, period = _read('/sys/fs/cgroup/cpu.max').partition(' ')
    if quota.isdigit() and period.isdigit():
        text += f', limited to {int(quota) / int(period):g} by a control group'
    model = re.search(r'^model name\s*:\s*(.+)$', _read('/proc/cpuinfo'), flags=re.MULTILINE)
    return f'{model[1]}, {text}' if model else f'{platform.machine()}, {text}'


def _memory() -> str:
    sizes = {m[1]: int(m[2]) * 1024 for m in re.finditer(r'^(\w+): +(\d+) kB$', _read('/proc/meminfo'), re.MULTILINE)}
    text = f'{sizes["MemTotal"] / GIB:.1f} GiB, {sizes["MemAvailable"] / GIB:.1f} GiB available'
    limit = control_group_limit()
    if limit is not None and limit < sizes['MemTotal']:
        text += f', limited to {limit / GIB:.1f} GiB by a control group'
    return text


def _shared_memory() -> str:
    size = shutil.disk_usage('/dev/shm')
    return f'{size.total / GIB:.2f} GiB, {size.free / GIB:.2f} GiB free'


def _gpus() -> str:
    if shutil.which('nvidia-smi') is None:
        return 'none found (there is no nvidia-smi)'
    try:
        query = '--query-gpu=name,memory.total,driver_version'
        found = _output('nvidia-smi', query, '--format=csv,noheader').splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        return f'unknown, because nvidia-smi fails: {_short(error)}'
    if not found:
        return 'none found'
    fields = [[each.strip() for each in line.split(',')] for line in found]
    drivers = dict.fromkeys(line[-1] for line in fields)
    return f'{"; ".join(", ".join(line[:-1]) for line in fields)}; driver {", ".join(drivers)}'


def _variables() -> str:
    return ', '.join(f'{name}={os.environ[name]}' for name in VARIABLES if name in os.environ) or 'none of note'


def _read(path: str) -> str:
    """Return the content of a system file; empty if this system has no such file."""
    try:
        return Path(path).read_text(encoding='utf-8').strip()
    except OSError:
        return ''


def _output(*command: str) -> str:
    """Return the output of a program.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be run, fails, or takes longer than 20 s.
    """
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


# ---------------------------------------------------------------------------------------------------------------- words


def _short(error: BaseException | None) -> str:
    """Return the type of an error and the first line of its message."""
    kind, said = type(error).__name__, str(error)
    if isinstance(error, subprocess.CalledProcessError):
        kind, said = f'exit code {error.returncode}', error.stderr or error.stdout
    return f'{kind}: {said.strip().splitlines()[0]}' if said.strip() else kind


def _without_names(line: str) -> str:
    """Return the line with the home folder as ~, and without user and host names in other paths."""
    try:
        homes = {Path.home(), Path.home().resolve()}
    except RuntimeError:  # a user without an entry in a container
        homes = set()
    for home in sorted(map(str, homes), key=len, reverse=True):
        if home != '/':
            line = re.sub(rf'{re.escape(home)}(?![\w.-])', '~', line)
    for name, stand_in in ((_user(), 'USER'), (platform.node(), 'HOST')):
        if name:
            line = re.sub(rf'(?<=/){re.escape(name)}(?![\w.-])', stand_in, line)
    return line


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the same container, or Windows without the variables
        return ''


_REPORTS: dict[str, Callable[[], str]] = {
    'mmcnn': _mmcnn,
    'Python': _python,
    'system': _system,
    'CPU': _cpu,
    'memory': _memory,
    '/dev/shm': _shared_memory,
    'GPUs': _gpus,
    'torch': _torch,
    'torchvision': lambda: package('torchvision'),
    'mmengine': lambda: package('mmengine'),
    'mmcv': _mmcv,
    'mmdet': lambda: package('mmdet'),
    'numpy': lambda: package('numpy'),
    'OpenCV': lambda: package('cv2', *OPENCV),
    'hotcoco': lambda: package('hotcoco'),
    'simplejpeg': lambda: package('simplejpeg'),
    'others': _others,
    'variables': _variables,
}
