import pytest

from mmcnn import machine


@pytest.mark.parametrize(
    ('text', 'vendor'),
    [
        ('processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n', 'AuthenticAMD'),
        ('vendor_id : GenuineIntel\n\nvendor_id : GenuineIntel\n', 'GenuineIntel'),
        ('processor\t: 0\nFeatures\t: fp asimd\n', ''),  # ARM
        ('', ''),  # not Linux
    ],
)
def test_vendor_of_the_processor(monkeypatch, text, vendor):
    monkeypatch.setattr(machine, '_read', lambda path: text if path == '/proc/cpuinfo' else None)
    machine.cpu_vendor.cache_clear()
    try:
        assert machine.cpu_vendor() == vendor
    finally:
        machine.cpu_vendor.cache_clear()
