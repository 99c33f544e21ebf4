"""Runs killed by SIGKILL at random moments, inside a save too, end in the bits of the run that was left alone.

Run as a program, this file forks the runs from a process that has imported everything once, and kills them.
"""

import contextlib
import hashlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PARTS = ('state_dict', 'ema_state_dict', 'optimizer')
EPOCHS = 3
OPTIONS = {
    'model.widen_factor': 0.0625,
    'model.deepen_factor': 0.33,
    'optim_wrapper.accumulative_counts': 2,  # 5 batches an epoch: a step is made of batches of two epochs
    'default_hooks.checkpoint.max_keep_ckpts': 1,
    'env_cfg.resource_limit': 1024,
}


def digest(value):
    """SHA-256 of every tensor and number inside, in the order of the names."""
    sha = hashlib.sha256()

    def add(node):
        if isinstance(node, dict):
            for key in sorted(node, key=str):
                sha.update(str(key).encode())
                add(node[key])
        elif isinstance(node, (list, tuple)):
            for each in node:
                add(each)
        elif isinstance(node, torch.Tensor):
            sha.update(f'{node.dtype} {tuple(node.shape)}'.encode())
            sha.update(node.contiguous().numpy().tobytes())
        else:
            sha.update(repr(node).encode())

    add(value)
    return sha.hexdigest()


def digests(folder):
    """What a finished run has left: digests, and the numbers of its best checkpoint and of its validations."""
    last = torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=True)
    assert all(last[part] for part in PARTS)
    info = last['message_hub']['runtime_info']
    scores = last['message_hub']['log_scalars']['val/coco/bbox_mAP'].data[0]
    return {part: digest(last[part]) for part in PARTS} | dict(
        best=info['best_score'],
        best_file=Path(info['best_ckpt']).name,
        scores=scores.tolist()[: EPOCHS - 1],  # the last validation comes after the checkpoint
        files=sorted(path.name for path in folder.glob('*.pth')),
        loss=digest(last['message_hub']['log_scalars']['train/loss'].data[0].tolist()),
    )


# ------------------------------------------------------------------------------------------------- run as a program


def config(data, work_dir, workers):
    """As tools/train.py sets it up."""
    import argparse

    from mmcnn import cli, cli_data

    cli.use_device('cpu')
    cfg = cli.load_config('yolov4_cspdarknet53', OPTIONS)
    cfg.work_dir = str(work_dir)
    cli_data.set_data(cfg, str(data))
    cli_data.set_img_size(cfg, 64)
    cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval = EPOCHS, 1
    cli.set_batches(cfg, argparse.Namespace(batch_size=4, workers=workers, launcher='none'), None)
    cfg.randomness, cfg.launcher = dict(seed=3), 'none'
    cli.merge_options(cfg, OPTIONS)
    cli.wire_model(cfg)
    return cfg


def fork(data, work_dir, workers):
    """Starts the training in a process of its own: a new one, or where the last was killed."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with open(f'{work_dir}.txt', 'a') as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        from mmcnn import cli
        from mmcnn.engine import training

        training.plot_curves = training._leave_pictures = lambda *args: None
        cfg = config(data, work_dir, workers)
        cli.check_initial_weights(cfg, 'auto')
        training.train(cfg)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def kill_in_time(pid, moment, work_dir):
    """Kills a run so many seconds after its start, or after its training's, or as soon as it writes a file.

    Whether it was still alive then.
    """
    kind, when = moment
    output = Path(f'{work_dir}.txt')
    seen = output.stat().st_size if output.is_file() else 0
    start = time.monotonic() if kind == 'start' else None
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if kind == 'file':
            due = any(work_dir.glob(when))
            time.sleep(0.0005)
        else:
            if start is None and output.is_file() and b'Checkpoints will be saved' in output.read_bytes()[seen:]:
                start = time.monotonic()
            due = start is not None and time.monotonic() - start > when
            time.sleep(0.005)
        if due:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True
    return False


def campaign(data, folder, workers, kills, seed):
    """Prints the digests of a run that is left alone, and those of runs that are killed ``kills`` times in all."""
    for module in ('mmcnn.engine.training', 'mmdet.models'):
        importlib.import_module(module)
    torch.set_num_threads(1)
    rng = random.Random(seed)
    whole = fork(data, folder / 'whole', workers=0)  # whose samples are the same for any number
    length = -time.monotonic()
    _, status = os.waitpid(whole, 0)
    length += time.monotonic()
    assert status == 0, Path(folder / 'whole.txt').read_text()[-3000:]
    moments, runs = [], 0
    while len(moments) < kills:
        work_dir = folder / f'killed_{runs}'
        runs += 1
        for _ in range(min(rng.randint(1, 5), kills - len(moments))):
            files, seconds = ['*.pth.part', 'last_checkpoint.part'], round(rng.uniform(0, length / 2), 2)
            moment = rng.choice([('file', rng.choice(files)), ('start', seconds), *[('training', seconds)] * 4])
            if kill_in_time(fork(data, work_dir, workers), moment, work_dir):
                moments.append(' '.join(map(str, moment)))
        _, status = os.waitpid(fork(data, work_dir, workers), 0)
        assert status == 0, Path(f'{work_dir}.txt').read_text()[-3000:]
    result = {path.name: digests(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    print(json.dumps(dict(moments=moments, digests=result)))


def run_campaign(tmp_path, workers, kills, seed):
    from mmcnn.datasets.shapes import make_shapes

    data = make_shapes(tmp_path / 'data', num_train=18, num_val=4, size=64)
    folder = tmp_path / 'runs'
    folder.mkdir()
    result = subprocess.run(
        [sys.executable, __file__, str(data), str(folder), str(workers), str(kills), str(seed)],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    result = json.loads(result.stdout.splitlines()[-1])
    assert len(result['moments']) == kills
    whole = result['digests'].pop('whole')
    assert result['digests']
    for name, found in result['digests'].items():
        assert found == whole, name
    return result['moments']


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_five_kills_leave_the_bits(tmp_path, workers):
    run_campaign(tmp_path, workers, kills=5, seed=workers)


@pytest.mark.campaign
@pytest.mark.parametrize('workers', [0, 2])
def test_fifty_kills_leave_the_bits(tmp_path, workers, capsys):
    moments = run_campaign(tmp_path, workers, kills=50, seed=100 + workers)
    with capsys.disabled(), contextlib.suppress(ValueError):
        print(f'\n{workers} workers, killed at: {moments}')


if __name__ == '__main__':
    data, folder, workers, kills, seed = sys.argv[1:]
    campaign(Path(data), Path(folder), int(workers), int(kills), int(seed))
