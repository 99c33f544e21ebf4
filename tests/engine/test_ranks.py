"""The processes of a run find each other, or report why not."""

import socket

import pytest
from mmengine.config import Config

from mmcnn.engine import ranks
from mmcnn.engine.ranks import check_alike, join_ranks
from mmcnn.errors import UsageError


def test_a_port_in_use_is_one_sentence(monkeypatch):
    with socket.create_server(('', 0)) as other:
        port = other.getsockname()[1]
        variables = dict(RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.delenv('TORCHELASTIC_USE_AGENT_STORE', raising=False)
        monkeypatch.setattr('mmcnn.engine.ranks.get_device', lambda: 'cpu')
        with pytest.raises(
            UsageError, match=rf'^port {port}, which .* is already in use on this machine.*MASTER_PORT=N'
        ):
            join_ranks(Config(dict(launcher='pytorch')))


def run(**entries):
    return Config(dict(randomness=dict(seed=1), train_cfg=dict(max_epochs=3), **entries))


def test_ranks_that_are_not_alike_are_refused(monkeypatch):
    """A node without the checkpoint would start from scratch, while the others resume."""
    monkeypatch.setattr(ranks, 'get_world_size', lambda: 2)
    seen = []
    monkeypatch.setattr(ranks, 'all_gather_object', lambda own: seen.append(own) or [seen[0], own])
    check_alike(run(resume=True, load_from='/one/epoch_1.pth'))
    check_alike(run(resume=True, load_from='/other/epoch_1.pth'))
    with pytest.raises(UsageError, match=r'^resume=True on rank 0, but resume=False on rank 1: .* work dir'):
        check_alike(run(resume=False))
    with pytest.raises(UsageError, match=r'^load_from=epoch_1\.pth on rank 0, but load_from=epoch_2\.pth on rank 1'):
        check_alike(run(resume=True, load_from='/other/epoch_2.pth'))


def test_one_process_asks_nobody():
    check_alike(run())
