import pytest

from mmcnn.cli.files import write_between_marks
from mmcnn.errors import UsageError


def test_only_what_is_between_the_marks_is_written(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('a\n<!-- x -->\nb\n<!-- end of x -->\nc <!-- y --> d <!-- end of y -->\n')
    write_between_marks(page, 'x', 'é')
    assert page.read_text(encoding='utf-8') == (
        'a\n<!-- x -->\n\né\n\n<!-- end of x -->\nc <!-- y --> d <!-- end of y -->\n'
    )
    for path, mark in ((page, 'z'), (tmp_path / 'none.md', 'x')):
        with pytest.raises(UsageError, match=rf'is not a file with the marks <!-- {mark} -->'):
            write_between_marks(path, mark, 'f')
