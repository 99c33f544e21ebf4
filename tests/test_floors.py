"""Imports between modules: every module is on a floor, and imports point down, including those in functions."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: From the ground up. A module or package imports from lower floors and from its own submodules.
#: The longest matching name decides a module's floor.
FLOORS = [
    [
        'errors',
        'nearest',
        'exported_file',
        'image_format',
        'interleaved',
        'jpeg_header',
        'launchers',
        'silence',
        'system_memory',
        'version',
    ],
    ['ops', 'device', 'fit', 'image_file', 'machine'],
    ['compat'],
    ['registry', 'console'],
    ['engine', 'recipes'],
    ['datasets', 'evaluation', 'plots'],
    ['models', 'pages'],
    ['weights'],
    ['config'],
    ['inference'],
    ['runtime'],
    ['runs'],
    ['zoo', 'deployment'],
    ['compare', 'benchmarks', 'report'],
    ['environment'],
    ['cli'],
    ['__main__'],
]
#: The floors inside of models/.
MODELS = [
    ['layers', 'costs', 'live_memory', 'task_modules', 'data_preprocessors'],
    ['losses', 'necks', 'backbones', 'fuse', 'mixed_precision'],
    ['families', 'dense_heads', 'roi_heads'],
    ['classifiers', 'wiring'],
]
#: Packages that must not import those named: engine/ knows nothing of detection, console/ nothing of PyTorch, ...
APART = {'engine': ['mmdet', 'mmcv', 'cv2'], 'console': ['torch', 'mmengine', 'mmdet'], 'ops': ['mmdet', 'mmcv']}


def modules(folder):
    """Return the name and file of each module below a folder."""
    found = {}
    for path in folder.rglob('*.py'):
        parts = path.relative_to(folder.parent).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def imports(name, path, known):
    """Return the modules that a module imports and their lines, except for imports under TYPE_CHECKING."""
    tree, found = ast.parse(path.read_text()), {}
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    unseen = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'
        for inside in node.body
        for each in ast.walk(inside)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split('.')[: len(package.split('.')) - node.level + 1] if node.level else []
            base = '.'.join([*above, *filter(None, [node.module])])
            for alias in node.names:
                full = f'{base}.{alias.name}'
                found[full if full in known else base] = node.lineno
    return found


def graph(folder):
    known = modules(folder)
    return {name: imports(name, path, known) for name, path in known.items()}


def floor_of(name, floors):
    """Return the number of a module's floor."""
    fits = [
        (len(each), number)
        for number, floor in enumerate(floors)
        for each in floor
        if name == each or name.startswith(f'{each}.')
    ]
    assert fits, f'{name} stands on no floor: give it one in FLOORS'
    return max(fits)[1]


def upward(edges, package, floors):
    """Return imports that point up, and those between two packages on one floor."""
    wrong = []
    for name, imported in edges.items():
        for other, line in imported.items():
            if not (name.startswith(f'{package}.') and other.startswith(f'{package}.')):
                continue
            own, theirs = name.removeprefix(f'{package}.'), other.removeprefix(f'{package}.')
            if own.split('.')[0] == theirs.split('.')[0]:
                continue
            if floor_of(theirs, floors) >= floor_of(own, floors):
                wrong.append(f'{name}, line {line}: imports {other}, which stands no lower')
    return wrong


def circles(edges):
    """Return import cycles: the strongly connected components of more than one module."""
    order, lowest, stack, found = {}, {}, [], []

    def visit(name):
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in edges[name]:
            if other in edges and other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for name in edges:
        if name not in order:
            visit(name)
    return found


@pytest.fixture(scope='module')
def edges():
    return graph(ROOT / 'mmcnn')


def test_no_module_imports_itself_by_way_of_others(edges):
    assert circles(edges) == []


def test_imports_point_down(edges):
    assert upward(edges, 'mmcnn', FLOORS) == []
    assert upward(edges, 'mmcnn.models', MODELS) == []


def test_only_the_face_loads_what_is_above_it(edges):
    """mmcnn/__init__.py exports ``mmcnn.train`` and others, but no module in the package imports them from it."""
    assert not {name: imported['mmcnn'] for name, imported in edges.items() if 'mmcnn' in imported}


@pytest.mark.parametrize('room', APART)
def test_rooms_stay_apart(room, edges):
    inside = {name: imported for name, imported in edges.items() if name.split('.')[1:2] == [room]}
    assert inside
    for name, imported in inside.items():
        assert not {other.split('.')[0] for other in imported} & {*APART[room]}, name


def test_only_the_command_line_knows_arguments(edges):
    users = {name for name, imported in edges.items() if 'argparse' in imported}
    assert users
    assert all(name.startswith('mmcnn.cli') for name in users)


def test_every_room_is_in_contributing():
    """CONTRIBUTING.md has the same list of floors."""
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    listed = text.partition('Imports point down only')[2].partition('```')[2].partition('```')[0]
    floors = [line.split() for line in reversed(listed.strip().splitlines())]
    assert [sorted(floor) for floor in floors] == [sorted(floor) for floor in FLOORS]


def test_what_is_wrong_is_found(tmp_path):
    files = {
        'ground/__init__.py': '',
        'ground/a.py': 'def late():\n    from house.roof.b import name',
        'ground/c.py': 'from . import a\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.roof.b',
        'roof/__init__.py': '',
        'roof/b.py': 'from ..ground.a import late',
    }
    for name, text in files.items():
        (tmp_path / 'house' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'house' / name).write_text(text)
    found = graph(tmp_path / 'house')
    assert circles(found) == [['house.ground.a', 'house.roof.b']]
    assert upward(found, 'house', [['ground'], ['roof']]) == [
        'house.ground.a, line 2: imports house.roof.b, which stands no lower'
    ]
