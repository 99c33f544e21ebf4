import pytest

from mmcnn.models.task_modules import host_device


@pytest.fixture(params=['host', 'device'])
def way(request, monkeypatch):
    """Runs a test as on the CPU and as on a device, where no shape may depend on values."""
    if request.param == 'device':
        monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
    return request.param
