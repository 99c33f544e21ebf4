"""The public names, the content of an installation, and the steps of make."""

import ast
import os
import re
import resource
import runpy
import shutil
import stat
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import mmcnn

ROOT = Path(__file__).resolve().parents[1]


def process(*args, cwd, **env):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **env}
    return subprocess.run(list(map(str, args)), cwd=cwd, env=env, capture_output=True, text=True, check=False)


# ------------------------------------------------------------------------------------------------------- public names


def test_list_backbones():
    names = mmcnn.list_backbones()
    assert {'darknet53', 'cspdarknet53', 'cspdarknet53-focus'} <= set(names)
    assert names == sorted(names)
    assert mmcnn.list_backbones('cspdarknet53*') == ['cspdarknet53', 'cspdarknet53-focus', 'cspdarknet53-timm']
    assert mmcnn.list_backbones('nothing*') == []


def test_build_backbone():
    backbone = mmcnn.build_backbone('cspdarknet53', out_indices=(3, 4, 5), widen_factor=0.25)
    assert (backbone.out_channels, backbone.out_strides) == ((64, 128, 256), (8, 16, 32))
    with pytest.raises(ValueError, match=r"unknown backbone 'darknet35'; did you mean darknet53"):
        mmcnn.build_backbone('darknet35')


def test_build_backbone_runs_what_init_cfg_says():
    init = dict(type='Constant', layer='Conv2d', val=0.5)
    backbone = mmcnn.build_backbone('darknet53', widen_factor=0.0625, deepen_factor=0.33, init_cfg=init)
    weights = [module.weight for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert all((weight == 0.5).all() for weight in weights)


def test_count_parameters():
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
    # 12 weights, 4 + 4 of the norm, and 4 + 4 running statistics, but not its counter of batches.
    assert mmcnn.count_parameters(nn.Sequential(conv, norm)) == (28, 20)
    assert mmcnn.count_parameters(nn.Sequential(conv, norm, conv)) == (28, 20)
    conv.weight.requires_grad = False
    assert mmcnn.count_parameters(nn.Sequential(conv, norm)) == (28, 8)


@pytest.mark.parametrize('name', mmcnn.__all__)
def test_every_public_name_is_there(name):
    assert getattr(mmcnn, name) is not None


def test_names():
    assert set(mmcnn.__all__) <= set(dir(mmcnn))
    assert mmcnn.Detector.__module__ == 'mmcnn.inference.detector'
    assert re.fullmatch(r'\d+\.\d+\.\d+', mmcnn.__version__)
    with pytest.raises(AttributeError, match="module 'mmcnn' has no attribute 'Detektor'"):
        mmcnn.Detektor  # noqa: B018


def test_names_are_the_same_for_type_checkers():
    """Names that are loaded on first use are imported from the same modules under TYPE_CHECKING."""
    tree = ast.parse(Path(mmcnn.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == 'TYPE_CHECKING'
    imported = {alias.name: node.module for node in checked.body for alias in node.names}
    assert imported == {name: module or 'mmcnn' for name, module in mmcnn._MODULE_OF.items()}
    assert {*imported, '__version__'} == set(mmcnn.__all__)


HEAVY = {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'cv2', 'numpy', 'matplotlib', 'rich', 'yaml', 'PIL'}


@pytest.mark.parametrize(
    'code', ['import mmcnn', 'import mmcnn; mmcnn.errors.UsageError, mmcnn.__version__, dir(mmcnn)']
)
def test_import_loads_nothing_else(code, tmp_path):
    code += '; import sys; print(sorted({name.split(".")[0] for name in sys.modules}))'
    result = process(sys.executable, '-c', code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    loaded = ast.literal_eval(result.stdout)
    assert 'mmcnn' in loaded
    assert not HEAVY & set(loaded)


def test_import_takes_less_than_a_tenth_of_a_second(tmp_path):
    def cpu_seconds(code):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process(sys.executable, '-c', code, cwd=tmp_path).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Measured: 0.01 s. The median of differences removes the influence of a busy machine.
    assert statistics.median(cpu_seconds('import mmcnn') - cpu_seconds('pass') for _ in range(5)) < 0.1


# --------------------------------------------------------------------------------------------------- python -m mmcnn


@pytest.mark.parametrize(
    ('argv', 'code', 'printed'),
    [
        ([], 0, 'usage: mmcnn COMMAND ...'),
        (['--help'], 0, 'usage: mmcnn COMMAND ...'),
        (['trian'], 2, "error: there is no command 'trian'; did you mean train"),
        (['train', 'yolov4', '--seed', '1'], 1, "error: there is no config file 'yolov4'"),
    ],
)
def test_python_m_mmcnn_is_the_command(argv, code, printed, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmcnn', *argv])
    with pytest.raises(SystemExit) as end:
        runpy.run_module('mmcnn', run_name='__main__')
    assert end.value.code == code
    assert ''.join(capsys.readouterr()).startswith(printed)


# -------------------------------------------------------------------------------------------------------- installation


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The target folder of ``pip install --target`` from a copy of the sources."""
    folder = tmp_path_factory.mktemp('installed')
    source = folder / 'source'
    source.mkdir()
    for name in ('mmcnn', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    result = process(
        sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-build-isolation', '--disable-pip-version-check',
        '--target', folder / 'site', source, cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return folder / 'site'


def test_plain_install_has_configs_and_tools(installed):
    mim = installed / 'mmcnn' / '.mim'
    for folder in ('configs', 'tools'):
        expected = {p.relative_to(ROOT) for p in (ROOT / folder).rglob('*') if p.is_file() and p.suffix != '.pyc'}
        ours = ('docs_extension.py', 'fuse_parts.py', 'memory_slope.py', 'short_runs.py', 'try_versions.py')
        expected -= {Path('tools', name) for name in ours}
        assert {p.relative_to(mim) for p in (mim / folder).rglob('*') if p.is_file() and p.suffix != '.pyc'} == expected
    assert {p.name for p in installed.iterdir() if p.is_dir()} - {'bin'} == {
        'mmcnn',
        f'mmcnn-{mmcnn.__version__}.dist-info',
    }


def test_plain_install_has_the_files_that_are_no_modules(installed):
    stored = [Path('mmcnn', 'zoo', 'table.json')]
    stored += [path.relative_to(ROOT) for path in (ROOT / 'mmcnn' / 'deployment' / 'web_page').iterdir()]
    stored += [Path('mmcnn', 'pages', name) for name in ('page.css', 'page.js')]
    stored.append(Path('mmcnn', 'datasets', 'public', 'drawn.json'))
    assert len(stored) == 7
    for path in stored:
        assert (installed / path).read_bytes() == (ROOT / path).read_bytes()


def test_plain_install_requires_no_mmcv_and_no_torch_version(installed):
    metadata = next(installed.glob('mmcnn-*.dist-info/METADATA')).read_text()
    required = re.findall(r'^Requires-Dist: ([^;\n]+)$', metadata, flags=re.MULTILINE)
    assert 'torch' in required
    assert not [line for line in required if 'mmcv' in line or 'torchvision' in line]
    assert re.search(r'^Requires-Dist: mmcv-lite.*; extra == "lite"$', metadata, flags=re.MULTILINE)
    assert 'Requires-Python: >=3.11' in metadata


@pytest.mark.slow
def test_plain_install_works_from_another_folder(installed, tmp_path):
    call = [sys.executable, '-m', 'mmcnn']
    result = process(*call, 'train', 'yolov4_cspdarknet53', '--help', cwd=tmp_path, PYTHONPATH=str(installed))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith('usage: mmcnn train ')
    assert '--data demo|PATH' in result.stdout
    result = process(*call, 'train', 'yolov4_cspdarknet53', cwd=tmp_path, PYTHONPATH=str(installed))
    assert result.returncode == 1
    config = installed / 'mmcnn' / '.mim' / 'configs' / 'yolov4_cspdarknet53.py'
    assert result.stderr.startswith(f'error: the data of {config} is missing: data/coco/annotations/')
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_configs_of_a_plain_install_are_bases_by_their_names(installed, tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mmcnn::yolov4_cspdarknet53_narrow'\nmax_epochs = 7\n")
    code = (
        'import mmcnn; from mmengine.config import Config; cfg = Config.fromfile("mine.py"); '
        'print(cfg.max_epochs, cfg.model.widen_factor, mmcnn.__file__)'
    )
    result = process(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=str(installed))
    assert result.stdout == f'7 0.25 {installed / "mmcnn" / "__init__.py"}\n', result.stderr


def test_the_command_of_a_plain_install(installed, tmp_path):
    command = installed / 'bin' / 'mmcnn'
    for argv, printed in (
        (['--version'], f'mmcnn {mmcnn.__version__}\n'),
        (['zoo', '--filter', 'vgg1*'], 'Networks are counted with their top'),
        (['configs', 'yolov5_s'], 'yolov5_s  '),
    ):
        result = process(command, *argv, cwd=tmp_path, PYTHONPATH=str(installed))
        assert (result.returncode, result.stderr) == (0, '')
        assert result.stdout.startswith(printed)


@pytest.mark.slow
def test_plain_install_trains(installed, shapes, tmp_path):
    result = process(
        sys.executable, '-m', 'mmcnn', 'train', 'yolov4_cspdarknet53', '--data', shapes, '--img-size', 64,
        '--batch-size', 4, '--workers', 0, '--device', 'cpu', '--epochs', 1, '--cfg-options',
        'model.widen_factor=0.0625', 'model.deepen_factor=0.33', cwd=tmp_path, PYTHONPATH=str(installed),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert re.fullmatch(r'AP50 = \d\.\d\d', result.stdout.strip().splitlines()[-1])
    assert (tmp_path / 'work_dirs' / 'yolov4_cspdarknet53-data' / 'predictions.png').is_file()


# ---------------------------------------------------------------------------------------------------------------- make


def commands(target, cwd, *args):
    if shutil.which('make') is None:
        pytest.skip('make is not installed')
    result = process(
        'make', '--no-print-directory', '-n', '-C', ROOT, target, *args, cwd=cwd, MAKEFLAGS='', MAKELEVEL=''
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ('target', 'command'),
    [
        ('demo', r'\.venv/bin/python tools/train\.py configs/\w+\.py --data demo.*'),
        ('test', r'\.venv/bin/python -m pytest -n auto .*'),
        ('lint', r'\.venv/bin/ruff check \.'),
    ],
)
def test_make_from_another_folder(target, command, tmp_path):
    assert [line for line in commands(target, tmp_path).splitlines() if re.fullmatch(command, line)]


def test_setup_is_the_first_step_and_takes_a_python(tmp_path):
    for target in ('setup', 'demo', 'test'):
        first = commands(target, tmp_path, '-B', 'PYTHON=/some/python3.12').splitlines()[0]
        assert first == 'bash tools/setup_venv.sh "/some/python3.12"'


def fake_python(path, version, code='exit 0'):
    """Write a program that answers like a Python of this version, and runs ``code`` for any other call."""
    allowed = int(version.startswith('3.1'))
    path.write_text(
        '#!/bin/sh\n'
        f'case "$1" in --version|-V) echo "Python {version}"; exit 0;; -c) exit {1 - allowed};; esac\n'
        f'{code}\n'
    )  # fmt: skip
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that setup_venv.sh reads."""
    root = tmp_path / 'with space'
    (root / 'tools').mkdir(parents=True)
    shutil.copy(ROOT / 'tools' / 'setup_venv.sh', root / 'tools')
    for name in ('constraints.txt', 'setup.py', 'pyproject.toml'):
        shutil.copy(ROOT / name, root)
    return root


def setup_venv(checkout, python, **env):
    before = sorted(checkout.iterdir())
    result = process('bash', checkout / 'tools' / 'setup_venv.sh', python, cwd=checkout.parent, **env)
    assert result.returncode == 1
    return result.stderr, sorted(set(checkout.iterdir()) - set(before))


def test_setup_with_a_python_that_is_too_old(checkout, tmp_path):
    error, made = setup_venv(checkout, fake_python(tmp_path / 'python', '3.9.18'))
    assert re.fullmatch(r'error: mmcnn needs Python 3\.11 or 3\.12, found: Python 3\.9\.18\..*\n', error)
    assert made == []


def test_setup_without_python(checkout, tmp_path):
    error, made = setup_venv(checkout, tmp_path / 'gone')
    assert re.fullmatch(r'error: mmcnn needs Python 3\.11 or 3\.12, found: .*\n', error)
    assert made == []


def test_setup_where_no_environment_can_be_made(checkout, tmp_path):
    broken = fake_python(tmp_path / 'python', '3.11.9', 'mkdir -p .venv; echo "ensurepip is not available"; exit 1')
    error, made = setup_venv(checkout, broken)
    assert re.fullmatch(r'error: \S+ cannot make a virtual environment .*python3-venv.*\n', error)
    assert [path.name for path in made] == ['.setup.log']  # no incomplete environment
    assert made[0].read_text() == 'ensurepip is not available\n'


@pytest.mark.slow
def test_setup_without_network(checkout):
    nowhere = 'http://127.0.0.1:1'
    env = dict(PIP_INDEX_URL=f'{nowhere}/simple', PIP_FIND_LINKS='', PIP_NO_CACHE_DIR='1', PIP_CONFIG_FILE='/dev/null')
    env |= dict(HTTPS_PROXY=nowhere, https_proxy=nowhere, HTTP_PROXY=nowhere, http_proxy=nowhere)
    error, made = setup_venv(checkout, sys.executable, **env)
    assert re.fullmatch(r'error: the packages could not be installed: is there a network\?.*\n', error)
    assert {path.name for path in made} == {'.venv', '.setup.log'}
