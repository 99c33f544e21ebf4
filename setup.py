"""Packaging of mmcnn: metadata, dependency windows, and configs/ and tools/ inside the installed package."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
#: For developers of mmcnn: measurements, and what make docs needs. Users do not get them.
NOT_INSTALLED = ('docs_extension.py', 'memory_slope.py', 'short_runs.py')
VERSION = (ROOT / 'mmcnn' / 'version.py').read_text().split("'")[1]


class BuildWithConfigs(build_py):
    """Copies configs/ and tools/ to mmcnn/.mim/, where MMDetection's packages have theirs."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in ('configs', 'tools'):
                target = Path(self.build_lib) / 'mmcnn' / '.mim' / folder
                ignored = shutil.ignore_patterns('__pycache__', *NOT_INSTALLED)
                shutil.copytree(ROOT / folder, target, dirs_exist_ok=True, ignore=ignored)


class SourceWithConfigs(sdist):
    """Puts configs/ and tools/ into a source distribution, for the build from there."""

    def add_defaults(self) -> None:
        super().add_defaults()
        for folder in ('configs', 'tools'):
            files = (path for path in (ROOT / folder).rglob('*') if path.suffix in ('.py', '.sh'))
            self.filelist.extend(str(path.relative_to(ROOT)) for path in files)


setup(
    name='mmcnn',
    version=VERSION,
    description='Classic convolutional backbones and YOLO detectors for MMDetection 3.x',
    long_description=(ROOT / 'README.md').read_text(),
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
    cmdclass=dict(build_py=BuildWithConfigs, sdist=SourceWithConfigs),
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
