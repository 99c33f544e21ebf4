"""Invalid environment variables of launchers lead to a one-sentence error before anything uses them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

import mmcnn
from mmcnn.errors import UsageError
from mmcnn.launchers import VARIABLES
from mmcnn.runs.launcher import check_launcher, collect_in_memory


@pytest.fixture
def variables(monkeypatch):
    """Set variables in an environment without a launcher: ``variables(RANK=1)``."""
    for name in (*(name for names in VARIABLES.values() for name in names), 'LOCAL_RANK', 'SLURM_LOCALID'):
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, str(value)) for name, value in values.items()]


@pytest.mark.parametrize(
    ('launcher', 'values', 'message'),
    [
        ('pytorch', dict(RANK='first', WORLD_SIZE=2), 'RANK=first in the environment: it must be an integer'),
        ('pytorch', dict(RANK=0, WORLD_SIZE='two'), 'WORLD_SIZE=two in the environment: it must be an integer'),
        ('pytorch', dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=''), 'LOCAL_RANK= in the environment: it must be an int'),
        ('pytorch', dict(RANK=-1, WORLD_SIZE=2), 'RANK=-1 in the environment: it must be an integer of at least 0'),
        (
            'pytorch',
            dict(RANK=0, WORLD_SIZE=0),
            'WORLD_SIZE=0 in the environment: the number of processes must be at lea',
        ),
        ('pytorch', dict(RANK=2, WORLD_SIZE=2), 'RANK=2 and WORLD_SIZE=2 in the environment: ranks begin at 0, so R'),
        ('pytorch', dict(RANK=0, WORLD_SIZE=2, LOCAL_RANK=2), 'LOCAL_RANK=2 and WORLD_SIZE=2 in the environment: ra'),
        ('none', dict(RANK=0, WORLD_SIZE='two'), 'WORLD_SIZE=two in the environment'),
        ('none', dict(LOCAL_RANK='x'), 'LOCAL_RANK=x in the environment'),
        ('pytorch', dict(RANK=0), 'launcher=pytorch: this launcher sets WORLD_SIZE, which is not set'),
        ('slurm', dict(SLURM_PROCID='x', SLURM_NTASKS=2), 'SLURM_PROCID=x in the environment'),
        ('mpi', dict(OMPI_COMM_WORLD_RANK=3, OMPI_COMM_WORLD_SIZE=3), 'OMPI_COMM_WORLD_RANK=3 and OMPI_COMM_WORLD_SI'),
    ],
)
def test_variables_that_cannot_be_right(variables, launcher, values, message):
    variables(**values)
    with pytest.raises(UsageError, match=f'^{message}'):
        check_launcher(launcher)
    with pytest.raises(UsageError, match=f'^{message}'):  # the console has read the rank before
        mmcnn.train('yolov5_n', data='demo', launcher=launcher)
    with pytest.raises(UsageError, match=f'^{message}'):
        mmcnn.evaluate('best.pth', launcher=launcher)


@pytest.mark.parametrize(
    ('launcher', 'values'),
    [
        ('none', {}),
        ('none', dict(RANK=0, WORLD_SIZE=1)),
        ('none', dict(RANK='of a game', WORLD_SIZE=1)),
        ('none', dict(SLURM_PROCID=3, SLURM_NTASKS=2)),  # from a sweep; irrelevant without a launcher
        ('pytorch', dict(RANK=1, WORLD_SIZE=2, LOCAL_RANK=1)),
        ('slurm', dict(SLURM_PROCID=1, SLURM_NTASKS=2, RANK='x')),
    ],
)
def test_variables_that_can_be_right(variables, launcher, values):
    variables(**values)
    check_launcher(launcher)


@METRICS.register_module()
class _Lonely(BaseMetric):
    """A user's metric that does not pass collect_device on to its base class."""

    def __init__(self):
        super().__init__()

    def process(self, data_batch, data_samples):
        pass

    def compute_metrics(self, results):
        return {}


def test_ranks_hand_their_results_over_by_their_group():
    evaluator = [
        dict(type='mmcnn.TopK'),
        dict(type='mmcnn.CocoMetric', collect_device='cpu'),
        dict(type='mmdet.CocoMetric', collect_dir='/shared'),
        dict(type='_Lonely'),
        dict(type='nothing of this name'),
    ]
    cfg = Config(dict(val_evaluator=evaluator, test_evaluator=dict(type='mmdet.CocoMetric'), default_scope='mmdet'))
    collect_in_memory(cfg)
    assert [each.get('collect_device') for each in cfg.val_evaluator] == ['gpu', 'cpu', None, None, None]
    assert cfg.test_evaluator.collect_device == 'gpu'


#: Evaluates on one of two ranks, each in a different folder.
PROGRAM = """
import json, sys
import torch
from mmengine.config import Config
import mmcnn.evaluation
from mmcnn.registry import METRICS
from mmcnn.runs.launcher import collect_in_memory

torch.distributed.init_process_group('gloo')
cfg = Config(dict(val_evaluator=dict(type='mmcnn.TopK', topk=[1])))
collect_in_memory(cfg)
metric = METRICS.build(cfg.val_evaluator)
rank = torch.distributed.get_rank()
metric.results = [(0, 3), (rank, 3)]  # images 0 and 2, 1 and 3: the last one of rank 1 is wrong, and padding
print(json.dumps(metric.evaluate(3)))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_nodes_without_a_shared_folder_evaluate_together(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    processes = []
    for rank in range(2):
        (folder := tmp_path / f'node_{rank}').mkdir()
        variables = dict(RANK=rank, WORLD_SIZE=2, LOCAL_RANK=0, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        variables |= dict(PYTHONPATH=Path(mmcnn.__file__).parents[1], OMP_NUM_THREADS=1, TMPDIR=folder)
        environment = os.environ | {name: str(value) for name, value in variables.items()}
        processes.append(
            subprocess.Popen(
                [sys.executable, '-c', PROGRAM], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
            )
        )
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    # Images 0 and 2 of rank 0 and 1 of rank 1 are all correct; the sampler adds the fourth as a repetition.
    assert [json.loads(output.splitlines()[-1]) for output in outputs] == [{'accuracy/top1': 100.0}] * 2
    assert not any(path.name == '.dist_test' for path in tmp_path.rglob('*'))
