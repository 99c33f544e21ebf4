"""mmcnn sets on the command line: the list and the conversion."""

import pytest
from PIL import Image

from mmcnn.errors import UsageError


def test_the_list(run_command):
    result = run_command('sets')
    out = result.out
    assert result.code == 0
    assert 'bccd: blood cells under a microscope' in out and 'MIT (LICENSE in the repo)' in out
    assert 'https://github.com/Shenggan/BCCD_Dataset @ d272fb14cdff' in out


def test_a_conversion_that_is_not_the_recorded_one_exits_with_1(run_command, tmp_path):
    root = tmp_path / 'source'
    (root / 'images').mkdir(parents=True)
    Image.new('1', (30, 60)).save(root / 'images/a.png')
    for split in ('train', 'val'):
        (root / f'{split}.csv').write_text('a.png,1,2,20,40,table\n')
    result = run_command('sets', 'convert', 'tables', root, tmp_path / 'out')
    assert result.code == 1 and 'train.json does not have the recorded SHA-256' in result.out
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'train.json', 'val.json', 'images'}


def test_what_does_not_fit(run_command):
    with pytest.raises(UsageError, match=r'^OUT is missing; use mmcnn sets convert NAME SOURCE OUT$'):
        run_command('sets', 'convert', 'bccd', 'somewhere')
    with pytest.raises(UsageError, match=r"^'bccd' is only valid in"):
        run_command('sets', 'list', 'bccd')
