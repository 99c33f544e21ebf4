import torch

from mmcnn.weights.report import LoadReport, compare, explain, listed

OWN = {
    'a.weight': torch.ones(2),
    'b.weight': torch.ones(3),
    'c.weight': torch.ones(1),
    'n.num_batches_tracked': torch.ones(1),
}


def test_every_key_is_accounted_for():
    given = {
        'a.weight': torch.ones(2),
        'b.weight': torch.ones(4),
        'd.weight': torch.ones(1),
        'e.num_batches_tracked': torch.ones(1),
    }
    assert compare(OWN, given) == LoadReport(
        used=('a.weight',),
        missing=('c.weight',),
        unexpected=('d.weight',),
        mismatched=(('b.weight', (4,), (3,)),),
    )


def test_only_missing_keys_are_explained():
    report = explain(compare(OWN, {'a.weight': torch.ones(2)}), {'behind the cut': ['c.weight', 'a.weight'], 'no': []})
    assert report.missing == ('b.weight',)
    assert report.absent == {'behind the cut': ('c.weight',)}


def test_as_text():
    report = LoadReport(
        used=('a', 'b'),
        mismatched=(('top.x', (1,), (2,)),),
        reshaped=('b',),
        left_out={'the top': ('t.weight', 't.bias')},
        absent={'behind the cut': ('c',)},
        notes=('a keras file',),
    )
    assert str(report) == (
        '2 entries loaded; a keras file; 1 of them converted to this layout; left out, the top: 2 entries: t.weight, '
        't.bias; not in the file, behind the cut: 1 entries: c; 1 of another shape: top.x (1,) for (2,)'
    )
    assert report.deviations(('top.',)) == []
    assert listed([str(i) for i in range(9)]) == '9 entries: 0, 1, 2, 3, 4 and 4 more'


def test_names_of_any_kind_stay_in_one_line():
    report = compare({}, {'a\nb': torch.ones(1), 'c' * 5000: torch.ones(1), 'plain': torch.ones(1)})
    assert report.deviations() == [f"3 unexpected: 'a\\nb', '{'c' * 120}', plain"]
