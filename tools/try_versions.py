"""Run the fast tests in an environment for each row of a table of versions, one at a time.

  python tools/try_versions.py FOLDER                 # all rows without a result in FOLDER/results.json
  python tools/try_versions.py FOLDER --rows 'torch 2.9.1' --tests tests/runtime tests/weights
  python tools/try_versions.py FOLDER --table         # the table of docs/install.md

An environment takes up to 8 GB while it is used. pip decides which build of PyTorch is installed; those of PyPI are for
CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
#: Differences from constraints.txt in each row; None: the package is omitted, '': its newest release. 'python' is the
#: version of an interpreter (default: the running one).
ROWS: dict[str, dict[str, str | None]] = {
    'constraints.txt': {},
    'torch 2.6': dict(torch='2.6.0', torchvision='0.21.0', sympy='1.13.1'),
    'torch 2.9.1': dict(torch='2.9.1', torchvision='0.24.1'),
    # What the GPU machine of docs/benchmarks.md has.
    'torch 2.11': dict(python='3.12', torch='2.11.0', torchvision='0.26.0', numpy=''),
    'torch 2.14.1': dict(torch='2.14.1', torchvision='0.29.1'),
    'numpy 1.26': dict(numpy='1.26.4'),
    'numpy newest': dict(numpy=''),
    'mmcv-lite 2.0.1': {'mmcv-lite': '2.0.1'},
    'onedl fork': {
        'mmengine': None,
        'mmdet': None,
        'onedl-mmengine': '0.10.12',
        'onedl-mmdetection': '3.5.1',
        # Further imports of the fork: imaug and its dependencies.
        **dict.fromkeys(('imaug', 'imageio', 'lazy-loader', 'scikit-image', 'tifffile'), ''),
    },
    '3.12': dict(python='3.12'),
    '3.13': dict(python='3.13'),
}
#: For these versions the pins are resolved and the syntax is compiled, but nothing is run.
PYTHONS = ('3.14',)
#: Packages whose versions are in the printed table.
SHOWN = ('torch', 'torchvision', 'numpy', 'mmcv-lite', 'mmdet', 'onedl-mmdetection')
SOURCES = ('mmcnn', 'tools', 'configs')


@dataclass
class Result:
    """The result of a row.

    Attributes:
        row: Its name.
        date: Date of the run (UTC).
        python: Version of Python.
        outcome: 'run', 'resolved, not run', or the reason why it is neither.
        versions: Versions of the packages in :data:`SHOWN`.
        tests: Arguments of pytest.
        passed: Number of tests that passed.
        skipped: Number of tests that were skipped.
        failed: Names of tests that failed, including errors in their setup.
        seconds: Duration of the tests.
    """

    row: str
    date: str
    python: str
    outcome: str
    versions: dict[str, str] = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)
    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 if no row that was run has a failure, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder for the environments and results.json')
    parser.add_argument('--rows', nargs='+', choices=[*ROWS, *PYTHONS], help='only these, also if they have a result')
    parser.add_argument('--tests', nargs='+', default=[], help="pytest's arguments (default: the fast tests)")
    parser.add_argument('--jobs', type=int, default=2, help='processes of pytest (default: 2)')
    parser.add_argument('--timeout', type=float, default=3600, help='seconds for the tests of a row (default: 3600)')
    parser.add_argument('--keep', action='store_true', help='do not remove the environments')
    parser.add_argument('--table', action='store_true', help='print the results and try nothing')
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    kept = args.folder / 'results.json'
    found = json.loads(kept.read_text(encoding='utf-8')) if kept.is_file() else []
    results = {each['row']: Result(**each) for each in found}
    if not args.table:
        for row in args.rows or [name for name in (*ROWS, *PYTHONS) if name not in results]:
            print(f'{row} ...', file=sys.stderr, flush=True)
            results[row] = resolve(row, args.folder / 'pip') if row in PYTHONS else run(row, args)
            text = json.dumps([asdict(each) for each in results.values()], indent=1)
            kept.write_text(f'{text}\n', encoding='utf-8')
    print(table(results))
    return int(any(each.failed for each in results.values()))


# ------------------------------------------------------------------------------------------------------------ rows run


def pins(changes: dict[str, str | None]) -> list[str]:
    """Return the requirements of constraints.txt with a row's changes."""
    lines = (ROOT / 'constraints.txt').read_text(encoding='utf-8').splitlines()
    pinned = dict(line.split('==') for line in lines if line and not line.startswith('#'))
    wanted = {name: version for name, version in (pinned | changes).items() if version is not None and name != 'python'}
    return [f'{name}=={version}' if version else name for name, version in wanted.items()]


def run(row: str, args: argparse.Namespace) -> Result:
    """Create the environment of a row, run the tests in it, and remove it."""
    folder = args.folder / re.sub(r'[^\w.]+', '-', row)
    shutil.rmtree(folder, ignore_errors=True)
    version = ROWS[row].get('python')
    interpreter = sys.executable if version is None else f'python{version}'
    result = Result(row, datetime.now(UTC).date().isoformat(), version or '', 'run', tests=args.tests)
    if not _works(interpreter):
        result.outcome = f'not run: {interpreter} is not installed'
        return result
    try:
        subprocess.run([interpreter, '-m', 'venv', folder / 'env'], check=True, capture_output=True)
        python = folder / 'env' / 'bin' / 'python'
        wanted = pins(ROWS[row])
        (folder / 'pins.txt').write_text('\n'.join(wanted), encoding='utf-8')
        torch = next(each for each in wanted if each.startswith('torch=='))
        pip = [python, '-m', 'pip', '--disable-pip-version-check', 'install']
        # As tools/setup_venv.sh does: PyTorch with what it needs, then all the rest as listed.
        for arguments in (
            ['--constraint', folder / 'pins.txt', torch],
            ['--no-deps', '--requirement', folder / 'pins.txt'],
            ['--no-deps', '--no-build-isolation', '--editable', ROOT],
        ):
            done = _output(*pip, *arguments)
            if done.returncode:
                said = [line for line in done.stderr.splitlines() if line.startswith('ERROR')] or [done.stderr[-300:]]
                result.outcome = f'not installed: {said[0]}'
                return result
        result.python = subprocess.check_output([python, '-V'], text=True).split()[1]
        listed = json.loads(subprocess.check_output([python, '-m', 'pip', 'list', '--format', 'json'], text=True))
        result.versions = {each['name']: each['version'] for each in listed if each['name'] in SHOWN}
        run_tests(python, folder, result, args)
        return result
    finally:
        if not args.keep:
            shutil.rmtree(folder / 'env', ignore_errors=True)


def run_tests(python: Path, folder: Path, result: Result, args: argparse.Namespace) -> None:
    """Run pytest and write the counts into ``result``; the output is kept in a file."""
    report = folder / 'tests.xml'
    command = [python, '-m', 'pytest', '-n', str(args.jobs), '-p', 'no:cacheprovider', f'--junit-xml={report}']
    start = time.monotonic()
    with (folder / 'tests.txt').open('w') as output:
        try:
            subprocess.run(
                [*command, *args.tests], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False,
                timeout=args.timeout, env={**os.environ, 'PYTHONPATH': str(ROOT)},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            result.outcome = f'the tests did not finish within {args.timeout:.0f} s'
    result.seconds = round(time.monotonic() - start)
    if not report.is_file():
        if result.outcome == 'run':
            result.outcome = f'pytest did not run, see {folder / "tests.txt"}'
        return
    for case in ElementTree.parse(report).iter('testcase'):
        kinds = {child.tag for child in case}
        if kinds & {'failure', 'error'}:
            result.failed.append(f'{case.get("classname")}::{case.get("name")}')
        elif 'skipped' in kinds:
            result.skipped += 1
        else:
            result.passed += 1


# -------------------------------------------------------------------------------------------------------- rows resolved


def resolve(version: str, folder: Path) -> Result:
    """Let pip find wheels of all pins for another Python, and compile the sources with the nearest installed one."""
    compiler = next(filter(_works, (f'python{version}', sys.executable)))
    files = [str(path) for each in SOURCES for path in (ROOT / each).rglob('*.py')]
    code = (
        'import sys; from pathlib import Path\n'
        'for file in sys.argv[1:]: compile(Path(file).read_bytes(), file, "exec")\n'
        'print(sys.version.split()[0])'
    )
    compiled = _output(compiler, '-W', 'error::SyntaxWarning', '-c', code, *files)
    # An older pip than 23.3 downloads what it only has to find.
    subprocess.run([sys.executable, '-m', 'venv', folder], check=True, capture_output=True)
    pip = [folder / 'bin' / 'python', '-m', 'pip', 'install', '--quiet']
    subprocess.run([*pip, '--upgrade', 'pip'], check=True, capture_output=True)
    wanted = ['--python-version', version, '--requirement', ROOT / 'constraints.txt']
    resolved = _output(*pip, '--dry-run', '--ignore-installed', '--only-binary=:all:', *wanted)
    faults = [done.stderr.strip().splitlines()[-1] for done in (compiled, resolved) if done.returncode]
    outcome = '; '.join(faults) or f'resolved, not run; compiled by Python {compiled.stdout.strip()}'
    return Result(version, datetime.now(UTC).date().isoformat(), version, outcome)


def _output(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _works(python: str) -> bool:
    """Return whether a command starts Python: a shim of pyenv may exist without the version."""
    return shutil.which(python) is not None and subprocess.run([python, '-c', ''], capture_output=True).returncode == 0


# -------------------------------------------------------------------------------------------------------------- results


def table(results: dict[str, Result]) -> str:
    """Return the results as a Markdown table; rows without a result are omitted."""
    lines = ['| row | Python | installed | outcome | date |', '|---|---|---|---|---|']
    for name in (*ROWS, *PYTHONS):
        if (each := results.get(name)) is None:
            continue
        outcome = each.outcome
        if each.passed or each.failed:
            of = f' of {" ".join(each.tests)}' if each.tests else ''
            outcome = f'{each.passed:,} passed, {each.skipped} skipped, {len(each.failed)} failed{of}'
            if each.outcome != 'run':
                outcome += f'; {each.outcome}'
        installed = ', '.join(f'{package} {version}' for package, version in each.versions.items())
        lines.append(f'| {name} | {each.python} | {installed} | {outcome} | {each.date} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
