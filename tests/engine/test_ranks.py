"""The processes of a run find each other, or say why not."""

import socket

import pytest
from mmengine.config import Config

from mmcnn.engine.ranks import join_ranks
from mmcnn.errors import UsageError


def test_a_port_in_use_is_one_sentence(monkeypatch):
    with socket.create_server(('', 0)) as other:
        port = other.getsockname()[1]
        variables = dict(RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.delenv('TORCHELASTIC_USE_AGENT_STORE', raising=False)
        monkeypatch.setattr('mmcnn.engine.ranks.get_device', lambda: 'cpu')
        with pytest.raises(UsageError, match=rf'^port {port}, by which .* is in use on this machine.*MASTER_PORT=N'):
            join_ranks(Config(dict(launcher='pytorch')))
