"""Names and descriptions of config files, which are not executed."""

import pytest

from mmcnn.config import files as config_files
from mmcnn.config.files import new_name, own_configs, summary


def test_bases_are_no_configs():
    assert not [name for name in own_configs() if '_base_' in name]
    assert {'yolov4_cspdarknet53', 'classification/resnet50'} <= own_configs().keys()


def test_a_plain_install_has_its_own(tmp_path, monkeypatch):
    folder = tmp_path / '.mim' / 'configs'
    (folder / '_base_').mkdir(parents=True)
    (folder / 'mine.py').write_text('')
    (folder / '_base_' / 'model.py').write_text('')
    monkeypatch.setattr(config_files, 'PACKAGE', tmp_path)
    assert own_configs() == {'mine': folder / 'mine.py'}


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('# YOLO v6.0 (arXiv 1804.02767)\n# for COCO. See x.py.\nx = 1\n', 'YOLO v6.0 (arXiv 1804.02767) for COCO.'),
        ('# Without a full stop\nx = 1  # Not this.\n', 'Without a full stop'),
        ('x = 1\n# Too late.\n', ''),
        ('', ''),
    ],
)  # fmt: skip
def test_summary_is_the_first_sentence(text, expected, tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(text)
    assert summary(path) == expected


def test_a_config_may_say_that_it_has_a_new_name(tmp_path):
    path = tmp_path / 'old.py'
    path.write_text("# Old.\n_base_ = ['new.py']\n_deprecation_ = dict(expected='new')\n")
    assert new_name(path) == 'new'
    path.write_text("# _deprecation_ = dict(expected='new')\n")
    assert new_name(path) is None


def test_a_config_is_not_run(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text('# Trains nothing.\nraise SystemExit(3)\n')
    assert summary(path) == 'Trains nothing.'


@pytest.mark.parametrize('name', own_configs())
def test_every_config_says_what_it_is(name):
    sentence = summary(own_configs()[name])
    assert len(sentence.split()) >= 4 and sentence.endswith('.') and len(sentence) <= 120
