"""A folder with a web page for detection in the browser: the page, the model, its metadata and onnxruntime-web."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from mmcnn.errors import DependencyError, UsageError
from mmcnn.runtime.metadata import Metadata

#: Files of onnxruntime-web 1.19 or later: the module that computes in WebAssembly, and what it loads. The others are
#: for WebGPU and WebGL, which would need 25 MB more and do not have all operators.
LIBRARY = ('ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm')
#: Its folder next to the page.
FOLDER = 'ort'
PACKAGE = 'onnxruntime-web'


def onnxruntime_web(folder: str | Path | None) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that the page loads, and its licence, by name.

    Args:
        folder: node_modules/onnxruntime-web, or its dist/; None: npm fetches it.

    Raises:
        UsageError: the folder does not contain it.
        DependencyError: npm is not installed or cannot fetch it.
    """
    if folder is not None:
        return _files(Path(folder).expanduser(), f'ort_web={folder}')
    npm = shutil.which('npm')
    if npm is None:
        raise DependencyError(f'web=DIR needs {PACKAGE}, but npm, which downloads it, is missing: install Node.js, '
                              f'or give a folder with it as ort_web')  # fmt: skip
    with tempfile.TemporaryDirectory(prefix='mmcnn-npm-') as place:
        # No script of the package needs to run, and none of the machine's projects is touched.
        command = [npm, 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', place, f'{PACKAGE}@1']
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if line.strip()), f'exit code {done.returncode}')
            raise DependencyError(
                f'npm install {PACKAGE} failed ({reason.strip()}); check the network, or give its folder as ort_web'
            )
        return _files(Path(place, 'node_modules', PACKAGE), 'what npm installed')


def write_page(folder: Path, metadata: Metadata, library: dict[str, bytes]) -> None:
    """Write the page next to a model.

    Args:
        folder: the folder of model.onnx.
        metadata: its metadata; written to model.json, since onnxruntime-web does not provide that of the file.
        library: see :func:`onnxruntime_web`.
    """
    for file in (resources.files('mmcnn.deployment') / 'web_page').iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / 'model.json').write_text(metadata.to_json(), encoding='utf-8')
    (folder / FOLDER).mkdir()
    for name, content in library.items():
        (folder / FOLDER / name).write_bytes(content)


def _files(folder: Path, what: str) -> dict[str, bytes]:
    package = folder.parent if folder.name == 'dist' else folder
    dist = package / 'dist' if (package / 'dist').is_dir() else folder
    missing = [name for name in LIBRARY if not (dist / name).is_file()]
    if missing:
        raise UsageError(
            f'{what} is not the folder of {PACKAGE} 1.19 or newer: {dist} has no {missing[0]}; use '
            f'node_modules/{PACKAGE} or its dist/'
        )
    found = {name: (dist / name).read_bytes() for name in LIBRARY} | _licence(package)
    if (package / 'package.json').is_file():
        described = json.loads((package / 'package.json').read_text(encoding='utf-8'))
        kept = {key: described[key] for key in ('name', 'version', 'license', 'repository') if key in described}
        found['package.json'] = json.dumps(kept, indent=2).encode()
    return found


def _licence(package: Path) -> dict[str, bytes]:
    """Return the package's licence files; if it has none, those of the Python package, which are the same."""
    own = {path.name: path.read_bytes() for path in sorted(package.glob('LICENSE*')) if path.is_file()}
    if own:
        return own
    place = resources.files('onnxruntime')
    found = {name: place / name for name in ('LICENSE', 'ThirdPartyNotices.txt') if (place / name).is_file()}
    if 'LICENSE' not in found:
        raise UsageError(f'{package} has no LICENSE, which must be distributed with {PACKAGE}; add it')
    return {name: path.read_bytes() for name, path in found.items()}
