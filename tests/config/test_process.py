"""A config's env_cfg is checked before the Runner applies it."""

import pytest
from mmengine.config import Config

from mmcnn.config.load import load_config
from mmcnn.config.process import check_process
from mmcnn.errors import UsageError
from mmcnn.zoo.sizes import detector_configs


@pytest.mark.parametrize(
    ('env', 'message'),
    [
        (
            dict(mp_cfg=dict(mp_start_methd='fork')),
            r"env_cfg\.mp_cfg has no entry 'mp_start_methd'; did you mean mp_start_m",
        ),
        (dict(mp_cfg=dict(distributed=True)), r"env_cfg\.mp_cfg has no entry 'distributed'"),
        (dict(mp_cfg=dict(mp_start_method='frok')), r"env_cfg\.mp_cfg\.mp_start_method='frok': did you mean fork"),
        (dict(mp_cfg=dict(mp_start_method=None)), r'env_cfg\.mp_cfg\.mp_start_method=None: '),
        (
            dict(mp_cfg=dict(opencv_num_threads='two')),
            r"opencv_num_threads='two': it must be an integer",
        ),
        (dict(mp_cfg=None), r'env_cfg\.mp_cfg=None: it must be a dict'),
        (dict(mp_cfg='fork'), r"env_cfg\.mp_cfg='fork': it must be a dict"),
        (dict(dist_cfg='nccl'), r"env_cfg\.dist_cfg='nccl': it must be a dict"),
        (dict(resource_limit='all'), r"env_cfg\.resource_limit='all': it must be an integer"),
    ],
)
def test_what_the_runner_cannot_act_on(env, message):
    with pytest.raises(UsageError, match=message):
        check_process(Config(dict(env_cfg=env)), pytest.fail)


@pytest.mark.parametrize(
    'env',
    [
        {},
        None,
        dict(mp_cfg=dict(opencv_num_threads=-1)),
        dict(mp_cfg=dict(mp_start_method='spawn', opencv_num_threads=2)),
    ],
)
def test_what_it_can(env):
    check_process(Config(dict(env_cfg=env)), pytest.fail)
    check_process(Config({}), pytest.fail)


@pytest.mark.parametrize('name', detector_configs())
def test_our_own(name):
    check_process(load_config(name), pytest.fail)


def test_an_entry_that_nothing_reads():
    said = []
    check_process(Config(dict(env_cfg=dict(cudnn_benchmrk=True))), said.append)
    (note,) = said
    assert note.startswith('note: env_cfg.cudnn_benchmrk has no effect; did you mean cudnn_benchmark')
