import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _default_scope():
    """Take back the default scope that MMEngine's runners set for the whole process, and so for later tests."""
    with DefaultScope.overwrite_default_scope('mmengine'):
        yield
