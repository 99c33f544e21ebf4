"""The packages of mmcnn/datasets: which import which, and that a single module reads image files."""

import ast
from pathlib import Path

import pytest

import mmcnn

PACKAGE = Path(mmcnn.__file__).parent
#: Package -> the packages that it may import; all may import anchors.py.
BELOW = {'folders': set(), 'check': {'folders'}, 'public': {'folders'}, 'transforms': set(), 'mosaic': {'transforms'}}


def nodes_of(path):
    """Return all nodes of a module except imports for type checkers."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test))
    ]
    return ast.walk(tree)


@pytest.mark.parametrize('room', BELOW)
def test_rooms_import_downwards_only(room):
    imported = {
        node.module.split('.')[2]
        for path in (PACKAGE / 'datasets' / room).glob('*.py')
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.module.startswith('mmcnn.datasets.')
    }
    assert imported & BELOW.keys() <= {room} | BELOW[room]


def test_every_package_is_a_room():
    assert {path.parent.name for path in (PACKAGE / 'datasets').glob('*/__init__.py')} == set(BELOW)


@pytest.mark.slow
def test_image_files_are_decoded_by_one_reader_and_by_the_check():
    names = {'imread', 'imdecode', 'imfrombytes', 'decode_jpeg'}
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob('*.py')
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr in names
    }
    assert found == {'image_file.py', 'datasets/check/images.py'}
