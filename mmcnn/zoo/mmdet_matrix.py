"""Our backbones in MMDetection's packaged detectors: swapped, built, proven, trained for a step, run for boxes."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_mm_proposals
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta, refusals
from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import UsageError
from mmcnn.models.wiring import prove, swap_backbone, wire
from mmcnn.models.wiring.first_loss import without_weights
from mmcnn.zoo.mmdet_configs import CONFIGS, FOLDER, ONE_BY_ONE, SEMANTIC_STRIDES, SIDE, SIDES, WITHOUT_MASKS

#: The stages, in order.
STAGES = ('load', 'swap', 'build', 'prove', 'step', 'predict')


@dataclass(frozen=True)
class Tried:
    """The result of a backbone in a packaged config."""

    config: str
    network: str
    stage: str  # the last one that was begun, one of STAGES
    reason: str | None = None  # why it ended there; None: it completed
    refused: bool = False  # rejected by mmcnn with a message; any other exception is a failure
    notes: tuple[str, ...] = ()  # messages of the swap
    seconds: float = 0.0


def try_config(config: str, network: str, last: str = 'predict') -> Tried:
    """Swap the backbone of a packaged config and continue up to a stage, on the CPU.

    Args:
        config: one of :data:`CONFIGS`, or the path of a file.
        network: short name of one of our backbones.
        last: the last stage. ``build`` is done on the meta device; ``step`` is a step of SGD on two random images that
            must give every parameter of the backbone a gradient; ``predict`` also predicts boxes with the network.
    """
    began, stage, notes = monotonic(), 'load', []

    def tried(reason: str | None = None, refused: bool = False) -> Tried:
        return Tried(config, network, stage, reason, refused, tuple(notes), round(monotonic() - began, 1))

    try:
        packaged = FOLDER / f'{config}.py'
        cfg = load_config(packaged if packaged.is_file() else config, say=notes.append)
        stage = 'swap'
        with refusals():
            cfg.model, notes = swap_backbone(cfg.model, network)
            cfg.model = wire(cfg.model)
        stage = 'build'
        if last == 'build':
            build_on_meta(cfg)
            return tried()
        stage = 'prove'
        notes += prove(cfg.model)
        _shrink(cfg, _of(SIDES, config, SIDE))
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = revert_sync_batchnorm(MODELS.build(without_weights(cfg.model)))
            model.init_weights()  # as the Runner does: without it, boxes of a QueryInst are outside the image
            for module in model.modules():
                if isinstance(module, BatchNorm):
                    module.momentum = (
                        1.0  # with only one batch, a tenth of its statistics would give useless predictions
                    )
            stage = 'step'
            step(model, config)
            if last == 'predict':
                stage = 'predict'
                predict(model, config)
    except UsageError as error:
        return tried(str(error), refused=True)
    except Exception as error:  # any error is the result and shown in the table
        return tried(f'{type(error).__name__}: {error}'.splitlines()[0])
    return tried()


def step(model: nn.Module, config: str) -> None:
    """Train one step of SGD on two random images.

    Raises:
        ValueError: the loss is not finite, or a parameter of the backbone gets no gradient.
    """
    model.train()
    for count in ('iter', 'epoch'):  # read by YOLOX's resizing and TOOD's assigner from the Runner
        MessageHub.get_current_instance().update_info(count, 0)
    data = _batch(model, config)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    if not torch.isfinite(loss):
        raise ValueError(f'the loss is {loss.item()}')
    loss.backward()
    backbone = (model.student if hasattr(model, 'student') else model).backbone
    without = [name for name, each in backbone.named_parameters() if each.requires_grad and each.grad is None]
    if without:
        raise ValueError(f'{len(without)} parameters of the backbone get no gradient, such as {without[0]}')
    torch.optim.SGD(model.parameters(), lr=1e-4).step()


@torch.no_grad()
def predict(model: nn.Module, config: str) -> None:
    """Predict boxes, or masks, for random images: for one if the detector takes no more, else for two.

    Raises:
        ValueError: the number of results is not that of the images.
    """
    model.eval()
    images = 1 if config.startswith(ONE_BY_ONE) else 2
    results = model(**_batch(model, config, images), mode='predict')
    if len(results) != images:
        raise ValueError(f'images={images}, results={len(results)}')


def try_all(
    configs: Sequence[str] = CONFIGS,
    networks: Sequence[str] = ('mobilenetv2',),
    last: str = 'predict',
    into: str | Path | None = None,
    jobs: int = 1,
    timeout: float = 600.0,
) -> Iterator[Tried]:
    """Try every network in every config, each pair in a separate process.

    Args:
        configs: see :func:`try_config`.
        networks: see :func:`try_config`.
        last: see :func:`try_config`.
        into: JSON file with the results; pairs that it contains are not tried again.
        jobs: number of processes at a time.
        timeout: time limit of a pair, seconds.

    Yields:
        Results, in the order in which they complete; first those in the file.
    """
    done = read(into) if into is not None and Path(into).is_file() else []
    known = {(each.config, each.network) for each in done}
    wanted = [(config, network) for network in networks for config in configs]
    yield from (each for each in done if (each.config, each.network) in set(wanted))
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(_apart, *pair, last, timeout) for pair in wanted if pair not in known]
        for future in as_completed(running):
            done.append(future.result())
            if into is not None:
                text = json.dumps([asdict(each) for each in done], indent=1)
                write_whole(into, lambda file, text=text: file.write(text.encode()))
            yield done[-1]


def read(path: str | Path) -> list[Tried]:
    """Return the results that :func:`try_all` has written."""
    return [Tried(**{**each, 'notes': tuple(each['notes'])}) for each in json.loads(Path(path).read_text())]


def _apart(config: str, network: str, last: str, timeout: float) -> Tried:
    """Try a pair in a separate process, which may run out of memory or time without harm to the others."""
    # Fork, so that MMDetection is imported only once.
    context = multiprocessing.get_context('fork')
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sending, config, network, last), daemon=True)
    process.start()
    sending.close()
    try:
        if receiving.poll(timeout):
            return receiving.recv()
        return Tried(config, network, 'load', f'not done after {timeout:.0f} s', seconds=timeout)
    except EOFError:
        process.join()
        return Tried(config, network, 'load', f'the process ended with exit code {process.exitcode}')
    finally:
        process.kill()
        process.join()


def _send(sending: Any, config: str, network: str, last: str) -> None:
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('WARNING')  # otherwise each tensor is logged when it is initialised
    sending.send(try_config(config, network, last))


def _of(table: dict[str, int], config: str, default: int) -> int:
    return next((value for start, value in table.items() if config.startswith(start)), default)


def _shrink(cfg: Config, side: int) -> None:
    """Reduce padding or resizing of a batch to the size of the test images, and the number of proposals."""
    small = {'size': (side, side), 'random_size_range': (side, side)}
    few = {'nms_pre': 50, 'max_per_img': 50, 'num': 32}
    for part in _dicts(cfg.model):
        for each in part.get('batch_augments') or []:
            each.update({key: value for key, value in small.items() if key in each})
        for name in ('rpn', 'rpn_proposal', 'sampler'):
            if isinstance(part.get(name), dict):
                part[name].update(
                    {key: min(value, part[name][key]) for key, value in few.items() if part[name].get(key)}
                )


def _dicts(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        yield from _dicts(each)


def _batch(model: nn.Module, config: str, images: int = 2) -> dict[str, Any]:
    """Return random images with two boxes each, as inputs of the model, with everything that a detector may need."""
    side = _of(SIDES, config, SIDE)
    shape = (3, side, side)
    data = demo_mm_inputs(
        images,
        shape,
        [2] * images,
        with_mask=not config.startswith(WITHOUT_MASKS),
        with_semantic=True,
        sem_seg_output_strides=_of(SEMANTIC_STRIDES, config, 1),
    )
    for sample, proposals in zip(data['data_samples'], demo_mm_proposals([shape] * images, 20), strict=True):
        sample.set_metainfo(
            dict(homography_matrix=np.eye(3, dtype=np.float32))
        )  # of the augmentation, which Soft Teacher reverts
        if hasattr(model, 'roi_head') and not hasattr(model, 'rpn_head'):  # Fast R-CNN
            sample.proposals = proposals
    if hasattr(model, 'student') and model.training:
        data = {key: dict.fromkeys(('sup', 'unsup_teacher', 'unsup_student'), value) for key, value in data.items()}
    return model.data_preprocessor(data, model.training)
