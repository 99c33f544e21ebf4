import pytest


@pytest.fixture
def root(tmp_path):
    """images/ with files, some of which have the same name."""
    for name in ('a.png', 'B.JPG', 'x.v1.jpg', 'one/s.png', 'two/s.png', 'one/u.png', 'é.png'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path
