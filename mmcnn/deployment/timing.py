"""CPU time of a file compared with PyTorch's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import nn

from mmcnn.deployment.plan import Plan
from mmcnn.deployment.reference import prepared
from mmcnn.fit import Fitted
from mmcnn.interleaved import cpu_seconds, in_turn
from mmcnn.models.fuse import fuse
from mmcnn.runtime.sessions import Session

#: Rounds of the comparison in a check.
ROUNDS = 5

Call = Callable[[], object]


def time_ratio(plan: Plan, session: Session) -> float:
    """Return the file's CPU time relative to folded PyTorch, one thread, one image: median of interleaved rounds.

    PyTorch computes the unchanged network, with its own Mish.
    """
    calls = dict(torch=torch_call(plan, fuse(plan.found.network)), file=session_call(plan, session))
    with one_thread():
        seconds = in_turn({name: cpu_seconds(call) for name, call in calls.items()}, ROUNDS)
    return median(file / torch for file, torch in zip(seconds['file'], seconds['torch'], strict=True))


def torch_call(plan: Plan, network: nn.Module) -> Call:
    """Return a call that computes a network's equivalent of the file's outputs for one image.

    For form nms, that is the network's own computation of detections.
    """
    example = plan.example(1)
    if plan.form != 'nms':
        module = plan.around(network)
        return torch.inference_mode()(lambda: module(*example))
    canvas = example[0].numpy()[0]
    canvas = canvas if plan.uint8 else canvas.transpose(1, 2, 0)
    fitted = Fitted(canvas, canvas.shape[:2], (0, 0), (1.0, 1.0), canvas.shape[:2])
    return torch.inference_mode()(lambda: network(**prepared(network, fitted), mode='predict'))


def session_call(plan: Plan, session: Session) -> Call:
    """Return the same call for a file."""
    feeds = plan.feeds(plan.example(1))
    return lambda: session.run(feeds)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
