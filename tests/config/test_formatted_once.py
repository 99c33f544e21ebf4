import copy
import pickle
from unittest import mock

from mmengine.config import Config

from mmcnn.config.formatted_once import FormattedOnce
from mmcnn.config.load import load_config


def test_text_is_that_of_the_config_and_formatted_once():
    plain = load_config('yolov5_n')
    cfg = FormattedOnce.of(plain)
    expected = plain.pretty_text
    assert cfg.pretty_text == expected and Config.fromstring(expected, '.py')._cfg_dict == plain._cfg_dict
    with mock.patch.object(Config, 'pretty_text', new_callable=mock.PropertyMock) as formatting:
        for each in (cfg, copy.copy(cfg), copy.deepcopy(cfg)):
            assert each.pretty_text == expected
    formatting.assert_not_called()


def test_a_change_is_in_the_text():
    cfg = FormattedOnce.of(Config(dict(model=dict(type='A', norms=[dict(eps=1)]), other=2)))
    before = cfg.pretty_text
    cfg.model.norms[0].eps = 3  # deep inside, past every method of the config
    assert cfg.pretty_text == before.replace('eps=1', 'eps=3') != before
    other = copy.deepcopy(cfg)
    other.model.type = 'B'
    assert "type='B'" in other.pretty_text and "type='A'" in cfg.pretty_text
    cfg.model.norms[0].eps = 1
    assert cfg.pretty_text == before


def test_a_copy_of_another_process_formats_its_own():
    cfg = FormattedOnce.of(load_config('yolov5_n'))
    text = cfg.pretty_text
    assert pickle.loads(pickle.dumps(cfg)).pretty_text == text
