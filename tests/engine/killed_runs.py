"""A program that forks trainings, after importing everything once, and kills them.

Commands: ``campaign DATA FOLDER WORKERS KILLS SEED``, ``ranks DATA FOLDER``, ``inside DATA FOLDER CASE``, with a key
of ``CASES``. The last printed line is JSON.
"""

import hashlib
import importlib
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

import cv2
import torch
from mmengine.hooks import Hook
from torch.distributed import TCPStore

from mmcnn.plots.curves import read_scalars
from mmcnn.registry import HOOKS

#: They must live as long as their ranks.
STORES = []
PARTS = ('state_dict', 'ema_state_dict', 'optimizer')
EPOCHS = 3
OPTIONS = {
    'model.widen_factor': 0.0625,
    'model.deepen_factor': 0.33,
    'optim_wrapper.accumulative_counts': 2,  # 5 batches per epoch: some steps contain batches of two epochs
    'default_hooks.checkpoint.max_keep_ckpts': 1,
    'default_hooks.logger.interval': 1,
    'env_cfg.resource_limit': 1024,
}
#: Config and additional options of each case.
CASES = {
    'yolov4': ('yolov4_cspdarknet53', {}),
    'yolov4_drawn_by_the_device': (
        'yolov4_cspdarknet53',
        {'train_dataloader.dataset.device_augmentation': True, 'train_dataloader.dataset.pipeline.0.mixup_prob': 0.5},
    ),
    # Fewer samples than candidates, so that they are drawn at random, and steps that change the weights.
    'faster_rcnn': (
        'faster_rcnn_resnet50_fpn',
        {
            'model.backbone.init_cfg': None,
            'model.neck.out_channels': 16,
            'model.rpn_head.feat_channels': 16,
            'model.roi_head.bbox_head.fc_out_channels': 32,
            'model.train_cfg.rpn.sampler.num': 32,
            'model.train_cfg.rcnn.sampler.num': 32,
            'custom_hooks.0.warmup_min_iters': 2,
        },
    ),
}


@HOOKS.register_module()
class SignalItself(Hook):
    """Send a signal to the own process after some iterations."""

    def __init__(self, iterations, signum):
        self.iterations, self.signum = iterations, signum

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.iterations:
            os.kill(os.getpid(), self.signum)


def digest(value):
    """Return the SHA-256 of all tensors and numbers inside, in the order of their names."""
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
    """Return digests of a finished run, and the numbers of its best checkpoint and validations."""
    last = torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=True)
    parts = {part: last[part] for part in PARTS if part in last}
    assert all(parts.values())
    info = last['message_hub']['runtime_info']
    scores = last['message_hub']['log_scalars']['val/coco/bbox_mAP'].data[0]
    losses, validations = read_scalars(folder)  # as plotted
    return {part: digest(content) for part, content in parts.items()} | dict(
        best=info['best_score'],
        best_file=Path(info['best_ckpt']).name,
        scores=scores.tolist()[: EPOCHS - 1],  # the last validation comes after the checkpoint
        files=sorted(path.name for path in folder.glob('*.pth')),
        curves=[list(losses.items()), [(epoch, each['coco/bbox_mAP']) for epoch, each in validations.items()]],
        loss=digest(last['message_hub']['log_scalars']['train/loss'].data[0].tolist()),
    )


def config(data, work_dir, workers, launcher, case):
    """Return the config as ``mmcnn train`` prepares it, resuming from the last checkpoint, if any."""
    from mmcnn.runs.options import TrainOptions
    from mmcnn.runs.prepare import prepare

    name, own = CASES[case]
    return prepare(
        TrainOptions(
            config=name, data=data, work_dir=work_dir, workers=workers, launcher=launcher, device='cpu', img_size=64,
            epochs=EPOCHS, batch_size=4, seed=3, resume=True, cfg_options=OPTIONS | own,
        )
    ).cfg  # fmt: skip


def fork(data, work_dir, workers, rank=None, port=None, case='yolov4', end=None):
    """Start the training in a forked process, or resume the killed one.

    ``end``: the number of iterations after which the process sends itself a signal, and the signal.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    launcher = 'none' if rank is None else 'pytorch'
    if rank is not None:
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2')
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        os.environ.update(TORCHELASTIC_USE_AGENT_STORE='True', TORCHELASTIC_RESTART_COUNT='0')
    try:
        with open(f'{work_dir}{"" if rank is None else f".{rank}"}.txt', 'a') as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        from mmcnn.cli.errors import friendly_errors
        from mmcnn.runs import execution as training

        training.plot_curves = training._leave_pictures = lambda *args: None
        cfg = config(data, work_dir, workers, launcher, case)
        if end:
            cfg.custom_hooks.append(dict(type='mmcnn.SignalItself', iterations=end[0], signum=end[1]))
        with friendly_errors():
            training.train(cfg)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        print(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def kill_in_time(pid, moment, work_dir):
    """Kill a run some seconds after the start of its process or training, or as soon as it writes a file.

    Return whether it was still alive then.
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
    """Print the digests of an uninterrupted run, and those of runs that are killed ``kills`` times in total."""
    rng = random.Random(seed)
    whole = fork(data, folder / 'whole', workers=0)  # samples do not depend on the number
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


def make_portraits(data):
    """Make every third training image taller than wide, for batches of one aspect ratio."""
    coco = json.loads((data / 'train.json').read_text())
    for image in coco['images'][::3]:
        path = str(data / 'images' / image['file_name'])
        picture = cv2.copyMakeBorder(cv2.imread(path), 0, image['height'] // 2, 0, 0, cv2.BORDER_REFLECT)
        cv2.imwrite(path, picture)
        image['height'] = len(picture)
    (data / 'train.json').write_text(json.dumps(coco))


def inside(data, folder, case):
    """Print the digests of an uninterrupted run, and those of runs that are interrupted in epoch 2 and resumed."""
    make_portraits(data)

    def train(name, end=None):
        workers = 0 if name == 'whole' else 2  # samples do not depend on the number
        _, status = os.waitpid(fork(data, folder / name, workers, case=case, end=end), 0)
        code = os.waitstatus_to_exitcode(status)
        expected = {None: 0, signal.SIGTERM: 143, signal.SIGKILL: -9}[end and end[1]]
        assert code == expected, Path(folder / f'{name}.txt').read_text()[-3000:]
        return (folder / name / 'last_checkpoint').read_text().rpartition('/')[2]

    train('whole')
    left = {}
    for name, signum in (('stopped', signal.SIGTERM), ('killed', signal.SIGKILL)):
        left[name] = train(name, (8, signum))
        train(name)
    print(json.dumps(dict(left=left, digests={name: digests(folder / name) for name in ('whole', *left)})))


def both(data, work_dir):
    """Start two ranks that find each other through a store of this process."""
    # Like torchrun. A port that was free might be taken before rank 0 listens on it.
    STORES.append(TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False))
    return [fork(data, work_dir, 0, rank, STORES[-1].port) for rank in range(2)]


def wait(pids):
    """Return the exit codes, and the seconds until the last process has ended."""
    start = time.monotonic()
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return codes, time.monotonic() - start


def await_line(work_dir, line):
    """Wait until rank 0 has logged a line."""
    output = Path(f'{work_dir}.0.txt')
    while not output.is_file() or not re.search(line, output.read_text()):
        time.sleep(0.002)


def ranks(data, folder):
    """Run two ranks: uninterrupted; one of them terminated, then resumed; each of them killed, then resumed."""
    found = dict(whole=wait(both(data, folder / 'whole')))
    pids = both(data, folder / 'stopped')
    await_line(folder / 'stopped', r'Epoch\(train\) \[2\]\[1/3\]')
    os.kill(pids[1], signal.SIGTERM)
    found['stopped'] = wait(pids)
    found['resumed'] = wait(both(data, folder / 'stopped'))
    for rank in range(2):
        pids = both(data, folder / f'killed_{rank}')
        await_line(folder / f'killed_{rank}', r'Epoch\(train\) \[1\]\[3/3\]')
        os.kill(pids[rank], signal.SIGKILL)
        found[f'killed_{rank}'] = wait(pids)
    said = {path.name: path.read_text().splitlines()[-1] for path in folder.glob('*.txt')}
    for rank in range(2):
        found[f'resumed_{rank}'] = wait(both(data, folder / f'killed_{rank}'))
    runs = ('whole', 'stopped', 'killed_0', 'killed_1')
    print(json.dumps(found | dict(said=said, digests={name: digests(folder / name) for name in runs})))


if __name__ == '__main__':
    command, data, folder, *more = sys.argv[1:]
    for module in ('mmcnn.runs.execution', 'mmdet.models'):
        importlib.import_module(module)
    torch.set_num_threads(1)
    more = (int(each) if each.isdigit() else each for each in more)
    dict(campaign=campaign, ranks=ranks, inside=inside)[command](Path(data), Path(folder), *more)
