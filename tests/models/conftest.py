import pytest

from mmcnn.models.task_modules import host_device


@pytest.fixture(params=['host', 'device'])
def way(request, monkeypatch):
    """As on the CPU, and as on a device, where no size is to depend on values."""
    if request.param == 'device':
        monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
    return request.param
