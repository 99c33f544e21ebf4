"""For one release, every public name of release 0.1.0 is found at its old place, with a warning that names the new."""

import importlib
import json
import subprocess
import sys
import warnings
from operator import attrgetter
from pathlib import Path

import pytest

from mmcnn.compat.moved import MODULES, NAMES

#: Module -> its public names at the last commit of release 0.1.0.
NAMES_OF_0_1_0 = json.loads((Path(__file__).parents[1] / 'data' / 'names_of_0.1.0.json').read_text())
#: Functions that took or made an ``argparse.Namespace``, and unused internal helpers; see CHANGELOG.md.
GONE = {
    'mmcnn.benchmarks.memory': {'report'},
    'mmcnn.benchmarks.nms': {'report'},
    'mmcnn.benchmarks.pipeline': {'images_a_second', 'report'},
    'mmcnn.benchmarks.step': {'MODELS'},
    'mmcnn.models.layers.conv': {'MODELS'},
    'mmcnn.cli': {
        'add_backbone_argument', 'add_common_arguments', 'add_data_arguments', 'add_model_arguments', 'at_least',
        'default_work_dir', 'find_images', 'options_of',
    },
    'mmcnn.cli.arguments': {
        'BACKBONE', 'add_backbone_argument', 'add_common_arguments', 'add_data_arguments', 'add_model_arguments',
        'at_least', 'options_of',
    },
    'mmcnn.cli.configs': {'default_work_dir'},
    'mmcnn.cli.data': {'say'},
    'mmcnn.cli.files': {'IMAGE_SUFFIXES', 'find_images'},
    'mmcnn.compat': {'MINIMUM_TORCH'},
    'mmcnn.compat.mmcv_ext': {'NAME', 'install'},
    'mmcnn.engine.training': {'RESULTS'},
    'mmcnn.weights.checkpoint': {'MAX_OPERATIONS', 'REFUSED', 'pickled_globals'},
    'mmcnn.engine.watch': {'start_failure'},
    'mmcnn.engine.watch.data_workers': {'start_failure'},
    'mmcnn.models.zoo_table': {'BACKBONE_FAMILIES', 'REFERENCE'},
}  # fmt: skip

#: Now programs in tools/, which are not installed.
GONE_MODULES = {'mmcnn.benchmarks.memory_slope', 'mmcnn.benchmarks.waiting'}


@pytest.mark.parametrize('module', [name for name in NAMES_OF_0_1_0 if name not in GONE_MODULES])
def test_names_of_0_1_0_are_found(module):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        found = importlib.import_module(module)
        missing = {name for name in NAMES_OF_0_1_0[module] if not hasattr(found, name)}
    assert missing == GONE.get(module, set())
    if module in MODULES:
        said = {str(each.message).partition(' has moved to ')[0] for each in seen}
        assert {f'{module}.{name}' for name in NAMES_OF_0_1_0[module]} - said <= {f'{module}.{n}' for n in missing}


@pytest.mark.parametrize('old', [*MODULES, *NAMES])
def test_a_warning_names_the_new_place(old):
    module, places = importlib.import_module(old), MODULES.get(old) or NAMES[old]
    if isinstance(places, str):
        places = {'*': places}
    if '*' in places:
        places = {**dict.fromkeys(NAMES_OF_0_1_0[old], places['*']), **places}
        del places['*']
    places = {name: place for name, place in places.items() if name not in GONE.get(old, ())}
    assert places
    for name, place in places.items():
        new, _, renamed = place.partition(':')
        with pytest.warns(DeprecationWarning, match=rf'^{old}\.{name} has moved to {new}( as {renamed})?$') as seen:
            found = getattr(module, name)
        assert found is attrgetter(renamed or name)(importlib.import_module(new))
        assert seen[0].filename == __file__
    with pytest.raises(AttributeError, match=rf"module '{old}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(
    'line', ['from mmcnn.cli.data import set_data', 'import mmcnn.cli.data; mmcnn.cli.data.set_data',
             'from mmcnn.cli import data; data.set_data'],
)  # fmt: skip
def test_every_form_of_import(line):
    code = ['-W', 'default::DeprecationWarning', '-c', line]
    result = subprocess.run([sys.executable, *code], capture_output=True, text=True, check=True)
    assert 'DeprecationWarning: mmcnn.cli.data.set_data has moved to mmcnn.runs.data\n' in result.stderr


def test_an_old_name_loads_nothing_until_it_is_used():
    code = 'import sys, mmcnn.cli.data, mmcnn.detector; print({"torch", "mmengine"} & {*sys.modules})'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout == 'set()\n'


def test_attributes_and_arguments_under_the_names_that_they_had():
    from mmcnn.compat.moved import renamed_arguments
    from mmcnn.weights.record import Record
    from mmcnn.weights.report import LoadReport
    from mmcnn.weights.sources.catalog import find
    from mmcnn.weights.sources.published import Published

    published = vars(find('vgg16/keras')).copy()
    del published['library']

    @renamed_arguments(source='path', world='source')
    def convert(path, target, source=None):
        return path, target, source

    with pytest.warns(DeprecationWarning, match=r'^convert\(source=\) is now called path$'):
        assert convert(source='a', target='b', world='keras') == ('a', 'b', 'keras')
    with pytest.warns(DeprecationWarning, match=r'^convert\(world=\) is now called source$') as seen:
        assert convert('a', 'b', world='keras') == ('a', 'b', 'keras')
    assert seen[0].filename == __file__ and len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert convert('a', 'b', source='keras') == convert('a', 'b', 'keras') == ('a', 'b', 'keras')
    with pytest.raises(TypeError, match='unexpected keyword'):
        convert('a', 'b', 'c', word='d')
    for object_, new, value in (
        (LoadReport((), source='timm'), 'source', 'timm'),
        (Record('vgg16', library='keras'), 'library', 'keras'),
        (find('vgg16/keras'), 'library', 'keras'),
    ):
        with pytest.warns(DeprecationWarning, match=rf'^{type(object_).__name__}\.world is now called {new}$'):
            assert object_.world == value
    for call, new in (
        (lambda: Record('vgg16', world='keras'), 'library'),
        (lambda: LoadReport((), world='keras'), 'source'),
        (lambda: Published(**{**published, 'world': 'keras'}), 'library'),
    ):
        with pytest.warns(DeprecationWarning, match=rf'^\w+\(world=\) is now called {new}$') as seen:
            assert getattr(call(), new) == 'keras'
        assert seen[0].filename == __file__ and str(seen[0].message).startswith(type(call()).__name__)
