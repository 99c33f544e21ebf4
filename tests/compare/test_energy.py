"""Joules from a processor's counters, with files in place of the kernel's."""

import pytest

from mmcnn.compare.energy import EnergyMeter


@pytest.fixture
def counters(tmp_path):
    """Two packages, and a domain inside the first one that must not be counted twice."""
    for name, value in (('intel-rapl:0', 5_000_000), ('intel-rapl:1', 90), ('intel-rapl:0:0', 7_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'energy_uj').write_text(str(value))
        (tmp_path / name / 'max_energy_range_uj').write_text('9999999')
    return tmp_path


def test_packages_are_added_and_a_counter_may_begin_anew(counters):
    meter = EnergyMeter.found(counters)
    before = meter.joules()
    (counters / 'intel-rapl:0' / 'energy_uj').write_text('6500000')
    (counters / 'intel-rapl:1' / 'energy_uj').write_text('500090')
    assert meter.joules() - before == pytest.approx(2.0)
    (counters / 'intel-rapl:0' / 'energy_uj').write_text('500000')  # the counter wraps around at 10 J
    assert meter.joules() - before == pytest.approx(6.0)


def test_without_counters_it_is_not_measured(tmp_path):
    assert EnergyMeter.found(tmp_path) is None
    assert EnergyMeter.why_not(tmp_path).startswith(f'not measured: {tmp_path}')
