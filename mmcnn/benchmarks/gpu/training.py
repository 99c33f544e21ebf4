"""Stage 6, in a separate call: minutes of a real training, and the resulting AP."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer
from mmcnn.errors import StoppedError
from mmcnn.plots.curves import read_scalars
from mmcnn.runs.api import run_training
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.process_state import kept_process_state

#: Fraction of the seconds that the epochs are planned for; the rest is for what comes before and after them.
PLANNED = 0.85
#: Epochs of the run that measures the time of an epoch, and maximum number of epochs.
SHORT, MOST = 2, 1000
#: Seconds before the end at which the training is asked to stop.
LAST = 5.0
#: Side of the images of the drawn demo set, which has 192 pixels.
DEMO_SIZE = 320
_TINY = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}


def measure(circumstances: Circumstances, timer: Timer, report: Report, *, data: str, config: str) -> None:
    """Train for as many epochs as the seconds allow, in mixed precision on a GPU.

    A run of two epochs measures the time of an epoch. If a training takes longer than planned, it is stopped at the
    end, with a checkpoint (``ended``).

    Args:
        circumstances: device, data-loading processes, batch size.
        timer: time limit in seconds.
        report: takes ``epochs``, the metrics of each validation, and the overall rate.
        data: 'demo' or a folder.
        config: name of the config.
    """
    size = (64 if circumstances.tiny else DEMO_SIZE) if data == 'demo' or circumstances.tiny else None
    common = dict(
        config=config,
        data=data,
        device=circumstances.device,
        amp=circumstances.device == 'cuda',
        img_size=size,
        batch_size=circumstances.batch_size,
        workers=circumstances.workers,
        cache_gb=circumstances.cache_gb or None,
        cfg_options=_TINY if circumstances.tiny else {},
    )
    with tempfile.TemporaryDirectory() as folder:
        short, whole = Path(folder, 'short'), Path(folder, 'whole')
        with kept_process_state():
            run_training(TrainOptions(work_dir=short, epochs=SHORT, **common))
        first, second = ((short / f'epoch_{epoch}.pth').stat().st_mtime for epoch in range(1, SHORT + 1))
        epochs = epochs_in(timer.left(), second - first)
        report(seconds_of_an_epoch=round(second - first, 2), epochs=epochs, img_size=size, options=dict(common))
        start = time.perf_counter()
        alarm = threading.Timer(max(timer.left() - LAST, 1), os.kill, (os.getpid(), signal.SIGTERM))
        alarm.start()
        try:
            with kept_process_state():
                run_training(TrainOptions(work_dir=whole, epochs=epochs, **common))
            report(ended='as planned')
        except StoppedError:
            report(ended='stopped: the minutes were used up')
        finally:
            alarm.cancel()
        report(training_seconds=round(time.perf_counter() - start, 1))
        losses, validations = read_scalars(whole)
        report(
            iterations=max(losses, default=0),
            validations=[
                {'epoch': epoch, 'AP': each.get('coco/bbox_mAP'), 'AP50': each.get('coco/bbox_mAP_50')}
                for epoch, each in validations.items()
            ],
        )


def epochs_in(seconds: float, each: float) -> int:
    """Return the number of epochs to plan if one takes so many seconds: at least one."""
    return min(max(int(PLANNED * seconds / max(each, 1e-3)), 1), MOST)
