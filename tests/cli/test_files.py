import pytest

from mmcnn.cli.files import find_images, write_between_marks
from mmcnn.errors import UsageError


def test_find_images(tmp_path):
    for name in ('b.JPG', 'a/c.png', 'a/notes.txt', 'x.json'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'folder.png').mkdir()
    assert find_images(str(tmp_path)) == [tmp_path / 'a' / 'c.png', tmp_path / 'b.JPG']
    assert find_images(str(tmp_path / 'x.json')) == [tmp_path / 'x.json']  # whoever names a file gets it read
    for path in (tmp_path / 'folder.png', tmp_path / 'gone'):
        with pytest.raises(UsageError, match='is no image and no folder with images'):
            find_images(str(path))


def test_only_what_is_between_the_marks_is_written(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('a\n<!-- x -->\nb\n<!-- end of x -->\nc <!-- y --> d <!-- end of y -->\n')
    write_between_marks(page, 'x', 'é')
    assert page.read_text(encoding='utf-8') == (
        'a\n<!-- x -->\n\né\n\n<!-- end of x -->\nc <!-- y --> d <!-- end of y -->\n'
    )
    for path, mark in ((page, 'z'), (tmp_path / 'none.md', 'x')):
        with pytest.raises(UsageError, match=rf'is no file with the marks <!-- {mark} -->'):
            write_between_marks(path, mark, 'f')
