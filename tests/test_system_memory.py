import os

import pytest

from mmcnn import system_memory

MEMORY = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


@pytest.mark.parametrize(
    'second, first, limit',
    [
        (None, None, None), ('max', None, None), ('1073741824', None, 2**30), (None, '536870912', 2**29),
        ('max', '536870912', None), (None, '9223372036854771712', 9223372036854771712),
    ],
)  # fmt: skip
def test_the_limit_is_that_of_the_control_group_if_it_is_smaller(tmp_path, monkeypatch, second, first, limit):
    paths = tmp_path / 'memory.max', tmp_path / 'limit_in_bytes'
    for path, text in zip(paths, (second, first), strict=True):
        if text is not None:
            path.write_text(f'{text}\n')
    monkeypatch.setattr(system_memory, '_LIMITS', tuple(map(str, paths)))
    assert system_memory.control_group_limit() == limit
    assert system_memory.memory_limit() == min(MEMORY, limit or MEMORY)
