"""Packaging of mmcnn: metadata, dependency windows, configs/ and tools/ in the package, reproducible archives."""

import gzip
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
#: For developers of mmcnn: measurements, and what make docs needs. Users do not get them.
NOT_INSTALLED = ('docs_extension.py', 'fuse_parts.py', 'memory_slope.py', 'short_runs.py', 'try_versions.py')
#: What a source distribution holds: files, and folders with the endings of their files.
TOP = ('LICENSE', 'README.md', 'pyproject.toml', 'setup.py')
PACKED = dict(mmcnn=('.py', '.json', '.css', '.js', '.html'), configs=('.py',), tools=('.py', '.sh'))
VERSION = (ROOT / 'mmcnn' / 'version.py').read_text(encoding='utf-8').split("'")[1]

# A wheel keeps the permissions of the files that it is packed from.
os.umask(0o022)


class BuildElsewhere(build):
    """Builds in a temporary folder: what an earlier build left in build/ would be packed with the rest."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.folder = tempfile.TemporaryDirectory(prefix='mmcnn-build-')  # removed when the process ends
        self.build_base = self.folder.name


class BuildWithConfigs(build_py):
    """Copies configs/ and tools/ to mmcnn/.mim/, where MMDetection's packages have theirs."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in ('configs', 'tools'):
                target = Path(self.build_lib) / 'mmcnn' / '.mim' / folder
                ignored = shutil.ignore_patterns('__pycache__', *NOT_INSTALLED)
                shutil.copytree(ROOT / folder, target, dirs_exist_ok=True, ignore=ignored)


class ReproducibleSource(sdist):
    """Writes an archive that does not depend on who packs it, nor when if SOURCE_DATE_EPOCH is set."""

    def make_distribution(self) -> None:
        """Pack what a build needs and nothing else; setuptools would add tests and leave out configs and tools."""
        files = [name for name in TOP if (ROOT / name).is_file()]
        for folder, suffixes in PACKED.items():
            found = (path for path in (ROOT / folder).rglob('*') if path.is_file() and path.suffix in suffixes)
            files += [path.relative_to(ROOT).as_posix() for path in found]
        information = self.get_finalized_command('egg_info').egg_info
        files += [name for name in self.filelist.files if name.startswith(information)]
        self.filelist.files = sorted(set(files))
        listed = Path(information, 'SOURCES.txt')
        listed.write_text(''.join(f'{name}\n' for name in self.filelist.files), encoding='utf-8')
        super().make_distribution()

    def make_archive(self, base_name: str, format: str, *args: object, base_dir: str, **kwargs: object) -> str:
        """Write ``base_name``.tar.gz of a folder."""
        seconds = int(os.environ.get('SOURCE_DATE_EPOCH', time.time()))

        def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = ''
            member.mtime, member.mode = seconds, 0o755 if member.mode & 0o100 else 0o644
            return member

        path = f'{base_name}.tar.gz'
        with gzip.GzipFile(path, 'wb', mtime=seconds) as file, tarfile.open(fileobj=file, mode='w') as archive:
            archive.add(base_dir, filter=anonymous)
        return path


setup(
    name='mmcnn',
    version=VERSION,
    description='Classic convolutional backbones and YOLO detectors for MMDetection 3.x',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['mmcnn', 'mmcnn.*']),
    package_data={
        'mmcnn.weights': ['sizes.json'],
        'mmcnn.zoo': ['table.json'],
        'mmcnn.deployment': ['web_page/*'],
        'mmcnn.datasets.public': ['drawn.json'],
        'mmcnn.pages': ['page.css', 'page.js'],
    },
    entry_points=dict(console_scripts=['mmcnn = mmcnn.cli.main:main']),
    cmdclass=dict(build=BuildElsewhere, build_py=BuildWithConfigs, sdist=ReproducibleSource),
    # No versions for torch, so that an installed one is never replaced (import checks it), and no mmcv at all: mmcv and
    # mmcv-lite own the same folder, and whoever has compiled operators keeps them.
    install_requires=[
        'argcomplete',
        'torch',
        'mmengine>=0.10.4',
        'mmdet>=3.3',
        'hotcoco>=1.3',
        'markupsafe',
        'matplotlib',
        'networkx',
        'numpy',
        'rich',
        'safetensors',
        'scipy',
        'tensorboard',
    ],
    extras_require=dict(
        lite=['mmcv-lite>=2.0.1,<2.2'],
        fast=['simplejpeg'],  # mosaics without a cache
        keras=['h5py'],  # to read Keras's files
        export=['onnx', 'onnxscript', 'onnxruntime'],  # mmcnn export, and what runs its files
        openvino=['openvino', 'nncf'],
        docs=['zensical', 'mkdocstrings-python'],  # make docs
        compare=['ray', 'submitit'],  # mmcnn compare --executor
        test=[
            'pytest',
            'pytest-xdist',
            'hypothesis',
            'ruff',
            'keras>=3.15',
            'timm>=1.0',
            'torchvision',
            'h5py',
            'simplejpeg',
            'nbclient',
            'ipykernel',
            'onnx',
            'onnxscript',
            'onnxruntime',
            'openvino',
            'nncf',
            'ray',
            'submitit',
            'psutil',
            'selenium',  # drives the Chromium that is installed
        ],
    ),
)
