import pytest

from mmcnn.config.class_names import class_names
from mmcnn.errors import UsageError


def test_names_are_typed_listed_or_in_a_file(tmp_path):
    assert class_names('cat, dog') == class_names(['cat', 'dog']) == ('cat', 'dog')
    assert class_names('car') == ('car',)
    file = tmp_path / 'coco.names'
    file.write_text('\ufefftraffic light\nstop, sign\n\n', encoding='utf-8')
    assert class_names(file) == class_names(str(file)) == ('traffic light', 'stop, sign')


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ('', 'separated by commas'),
        ('a,,b', 'separated by commas'),
        ([], 'separated by commas'),
        ([1, 2], 'separated by commas'),
        ('a,b,a', "'a' occurs more than once"),
        ('missing.names', 'the file cannot be read: No such file'),
    ],
)
def test_refused(given, words):
    with pytest.raises(UsageError, match=words):
        class_names(given)


def test_an_empty_line_is_no_class(tmp_path):
    (tmp_path / 'a.txt').write_text('cat\n\ndog\n')
    with pytest.raises(UsageError, match='one name per line'):
        class_names(tmp_path / 'a.txt')
    (tmp_path / 'b.txt').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UsageError, match='not UTF-8'):
        class_names(tmp_path / 'b.txt')
