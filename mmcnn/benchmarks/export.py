"""CPU time of a network's exported files compared with PyTorch's."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import ExportBenchmarkOptions
from mmcnn.deployment.export import CHECK_IMAGES, images_to_check
from mmcnn.deployment.files import check_packages, write
from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import SUFFIXES, ExportOptions
from mmcnn.deployment.plan import Plan, plan_export
from mmcnn.deployment.quantize import calibration_images, quantize
from mmcnn.deployment.random_weights import spread
from mmcnn.deployment.timing import Call, one_thread, session_call, torch_call
from mmcnn.errors import DependencyError
from mmcnn.interleaved import cpu_seconds, repeats
from mmcnn.models.fuse import fuse
from mmcnn.runs.process_state import kept_process_state
from mmcnn.runtime.metadata import DETECTION
from mmcnn.runtime.sessions import open_session, openvino_has_bfloat16

#: The side that all others are compared with.
FOLDED = 'PyTorch, folded'
#: Minimum CPU seconds of a call in a round: short calls are repeated.
LEAST = 0.2


def measure(options: ExportBenchmarkOptions, say: Say) -> list[Comparison]:
    """Measure CPU seconds of one image on one thread, for every way to compute a network that is available.

    Files of a detector in bfloat16 and in 8-bit integers are included if the options have data, which calibrate the
    latter. The peer is PyTorch with BatchNorm folded.

    Raises:
        MmcnnError: as in an export; if a package is missing or a compiler fails, it is reported and that side left out.
    """
    exported = ExportOptions(
        source=options.source or options.config,
        img_size=options.img_size,
        data=options.data,
        backbone=options.backbone,
        cfg_options=options.cfg_options,
        imports=options.imports,
    )
    with kept_process_state(), tempfile.TemporaryDirectory() as folder, one_thread():
        found = exportable(exported, say)
        plan = plan_export(found, exported)
        if found.checkpoint is None:
            spread(found.network, plan.canvases(list(islice(images_to_check(exported), CHECK_IMAGES))))
        folded = fuse(found.network)
        calls = {'PyTorch': torch_call(plan, copy.deepcopy(found.network)), FOLDED: torch_call(plan, folded)}
        calls |= _compiled(plan, folded, say)
        for name, call in _files(plan, Path(folder), say):
            calls[name] = call
        calls[FOLDED]()
        repeat = repeats(calls[FOLDED], LEAST)
        sides = [Side(name, cpu_seconds(call, repeat), name == FOLDED) for name, call in calls.items()]
        return [compare(str(exported.source), sides, options.runs)]


def _compiled(plan: Plan, network: nn.Module, say: Say) -> dict[str, Call]:
    """Return the network compiled by ``torch.compile``, if there is a compiler."""
    if plan.form == 'nms':
        say('torch.compile: not measured, since the number of steps to detections depends on the boxes')
        return {}
    module, example = torch.compile(plan.around(network), dynamic=False), plan.example(1)
    call = torch.no_grad()(lambda: module(*example))
    try:
        call()
    except Exception as error:  # errors of many types: no compiler, or an unsuitable one
        say(f'torch.compile: not measured, it failed ({(str(error).splitlines() or [type(error).__name__])[0]})')
        return {}
    return {'torch.compile': call}


def _files(plan: Plan, folder: Path, say: Say) -> Iterator[tuple[str, Call]]:
    has_mish = any(isinstance(each, nn.Mish) for each in plan.found.network.modules())
    onnx, openvino = dict(to='onnx', mish='fast'), dict(to='openvino', mish='exact')
    kinds = {'ONNX Runtime': onnx}
    if has_mish:
        kinds['ONNX Runtime, exact Mish'] = dict(onnx, mish='exact')
    kinds['OpenVINO'] = openvino
    if plan.options.data is not None and plan.found.task == DETECTION:
        kinds['OpenVINO, bfloat16'] = dict(openvino, precision='bf16')
        kinds |= {f'{name}, int8': dict(kinds[name], precision='int8') for name in ('ONNX Runtime', 'OpenVINO')}
    for name, kind in kinds.items():
        precision = kind.get('precision', 'fp32')
        try:
            check_packages(kind['to'], precision)
        except DependencyError as error:
            say(f'{name}: not measured, {error}')
            continue
        if precision == 'bf16' and not openvino_has_bfloat16():
            say(f'{name}: not measured, this processor does not compute in it')
            continue
        other = dataclasses.replace(plan, options=dataclasses.replace(plan.options, **kind))
        path = folder / f'{name.replace(", ", "-").replace(" ", "-")}{SUFFIXES[kind["to"]]}'
        metadata = other.metadata()
        write(other, path, metadata)
        if precision == 'int8':
            quantize(other, path, metadata, calibration_images(other.options)[0])
        yield name, session_call(other, open_session(path, None, 1))
