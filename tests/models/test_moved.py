"""Modules that have moved are found under their old names for one release."""

import importlib
import sys

import pytest

MOVED = {
    'zoo_table': {
        'mmcnn.zoo.table': ['Network', 'SORT_COLUMNS', 'ordered', 'natural', 'verdict', 'as_text', 'as_json',
                            'as_markdown', 'markdown_line', 'aligned', 'GIGA', 'MEGA', 'HEADER', 'NOTES'],
        'mmcnn.zoo.measure': ['StageLine', 'build', 'image_size', 'describe', 'stage_lines', 'stages_as_text'],
    },
    'zoo_plot': {'mmcnn.zoo.plot': ['plot', 'place_labels', 'COLOURS', 'MARKERS']},
    'cost_study': {'mmcnn.zoo.cost_study': ['report', 'pair', 'pointwise', 'small_net', 'SmallNet', 'PAIRS']},
    'reference_table': {'mmcnn.zoo.reference_table': ['REFERENCE', 'Reference', 'CLASSIFIERS', 'BACKBONES']},
}  # fmt: skip


@pytest.mark.parametrize('old', MOVED)
def test_old_name_warns_and_works(old, monkeypatch):
    monkeypatch.delitem(sys.modules, f'mmcnn.models.{old}', raising=False)
    with pytest.warns(DeprecationWarning, match=rf'^mmcnn\.models\.{old} has moved: import ') as record:
        module = importlib.import_module(f'mmcnn.models.{old}')
    for new, names in MOVED[old].items():
        assert new in str(record[0].message)
        for name in names:
            assert getattr(module, name) is getattr(importlib.import_module(new), name)
