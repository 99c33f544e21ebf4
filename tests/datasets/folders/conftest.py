import pytest


@pytest.fixture
def root(tmp_path):
    """images/ with files of which some share their names."""
    for name in ('a.png', 'B.JPG', 'x.v1.jpg', 'one/s.png', 'two/s.png', 'one/u.png', 'é.png'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path
