"""The rows of the public sets have a source, and say what is not verified."""

import pytest

from mmcnn.datasets.public.rows import SETS, as_text, drawn_images, public_set
from mmcnn.errors import UsageError


def test_every_row_has_a_source_and_a_licence():
    assert len({row.name for row in SETS}) == len(SETS) >= 5
    for row in SETS:
        assert row.source.startswith('https://') and row.licence and row.size
        assert (row.commit is None) == (row.sha256 is None)
        assert row.sha256 is None or all(len(each) == 64 for each in row.sha256.values())
        assert row.read is None or row.marker


def test_what_is_not_verified_says_so():
    unverified = {row.name for row in SETS if row.sha256 is None}
    assert unverified == {'helmets', 'raccoon', 'openimages'}
    assert all(('not verified' in row.checked) == (row.name in unverified) for row in SETS)
    assert as_text().count('not verified') == len(unverified)


def test_drawn_images_are_as_many_as_the_row_says():
    assert {split: len(names) for split, names in drawn_images('deeppcb').items()} == {'train': 320, 'val': 120}
    assert {split: len(names) for split, names in drawn_images('hituav').items()} == {'train': 480, 'val': 160}
    for row in SETS:
        if row.drawn:
            assert not drawn_images(row.name)['train'] & drawn_images(row.name)['val']


def test_an_unknown_set():
    with pytest.raises(UsageError, match="no public set is called 'bcd'; did you mean bccd"):
        public_set('bcd')
