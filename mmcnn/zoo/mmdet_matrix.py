"""Our backbones in the detectors that MMDetection packages: swapped, built, trained a step and asked for boxes.

The configs of :data:`CONFIGS` are chosen by this rule: of every folder of ``mmdet/.mim/configs`` whose configs train a
detector, or a network for instances or panoptic segmentation, on COCO, the one with the shortest name of those with
ResNet-50, else with the smallest network; beside it one of each other neck or head that the folder has. Left out:
folders that change only data, schedule or weights of another's network (albu_example, instaboost, strong_baselines,
scratch, ...), data sets other than COCO, trackers, and what is another repository's code (``mmpretrain``: convnext,
timm_example; a language model: glip, grounding_dino, mm_grounding_dino).
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import mmdet
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_mm_proposals
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.config.load import load_config
from mmcnn.config.model import build_on_meta, refusals
from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import UsageError
from mmcnn.models.wiring import prove, swap_backbone, wire

#: Where MMDetection keeps its configs after an installation.
FOLDER = Path(mmdet.__file__).parent / '.mim' / 'configs'
#: The configs that are tried, by folder and name; see above for the rule.
CONFIGS = (
    'atss/atss_r50_fpn_1x_coco',
    'autoassign/autoassign_r50-caffe_fpn_1x_coco',
    'boxinst/boxinst_r50_fpn_ms-90k_coco',
    'carafe/faster-rcnn_r50_fpn-carafe_1x_coco',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco',
    'cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco',
    'centernet/centernet_r18_8xb16-crop512-140e_coco',
    'centernet/centernet-update_r50_fpn_8xb8-amp-lsj-200e_coco',
    'centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco',
    'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance',
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco',
    'dab_detr/dab-detr_r50_8xb2-50e_coco',
    'ddod/ddod_r50_fpn_1x_coco',
    'ddq/ddq-detr-4scale_r50_8xb2-12e_coco',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'detectors/cascade-rcnn_r50-rfp_1x_coco',
    'detr/detr_r50_8xb2-150e_coco',
    'dino/dino-4scale_r50_8xb2-12e_coco',
    'double_heads/dh-faster-rcnn_r50_fpn_1x_coco',
    'dyhead/atss_r50_fpn_dyhead_1x_coco',
    'dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco',
    'efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco',
    'empirical_attention/faster-rcnn_r50-attn1111_fpn_1x_coco',
    'fast_rcnn/fast-rcnn_r50_fpn_1x_coco',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco',
    'faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    'foveabox/fovea_r50_fpn_4xb4-1x_coco',
    'fpg/faster-rcnn_r50_fpg_crop640-50e_coco',
    'free_anchor/freeanchor_r50_fpn_1x_coco',
    'fsaf/fsaf_r50_fpn_1x_coco',
    'gcnet/mask-rcnn_r50-syncbn_fpn_1x_coco',
    'gfl/gfl_r50_fpn_1x_coco',
    'ghm/retinanet_r50_fpn_ghm-1x_coco',
    'gn/mask-rcnn_r50_fpn_gn-all_2x_coco',
    'gn+ws/mask-rcnn_r50_fpn_gn-ws-all_2x_coco',
    'grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco',
    'groie/mask-rcnn_r50_fpn_groie_1x_coco',
    'guided_anchoring/ga-retinanet_r50_fpn_1x_coco',
    'guided_anchoring/ga-faster-rcnn_r50_fpn_1x_coco',
    'hrnet/faster-rcnn_hrnetv2p-w18-1x_coco',
    'htc/htc_r50_fpn_1x_coco',
    'lad/lad_r50-paa-r101_fpn_2xb8_coco_1x',
    'ld/ld_r18-gflv1-r101_fpn_1x_coco',
    'libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco',
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco',
    'maskformer/maskformer_r50_ms-16xb1-75e_coco',
    'ms_rcnn/ms-rcnn_r50_fpn_1x_coco',
    'nas_fcos/nas-fcos_r50-caffe_fpn_fcoshead-gn-head_4xb4-1x_coco',
    'nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco',
    'paa/paa_r50_fpn_1x_coco',
    'pafpn/faster-rcnn_r50_pafpn_1x_coco',
    'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco',
    'pisa/faster-rcnn_r50_fpn_pisa_1x_coco',
    'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco',
    'pvt/retinanet_pvt-t_fpn_1x_coco',
    'queryinst/queryinst_r50_fpn_1x_coco',
    'regnet/faster-rcnn_regnetx-3.2GF_fpn_1x_coco',
    'reppoints/reppoints-moment_r50_fpn_1x_coco',
    'res2net/faster-rcnn_res2net-101_fpn_2x_coco',
    'resnest/faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco',
    'retinanet/retinanet_r50_fpn_1x_coco',
    'rpn/rpn_r50_fpn_1x_coco',
    'rpn/rpn_r50-caffe-c4_1x_coco',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco',
    'sabl/sabl-faster-rcnn_r50_fpn_1x_coco',
    'sabl/sabl-retinanet_r50_fpn_1x_coco',
    'scnet/scnet_r50_fpn_1x_coco',
    'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco',
    'solo/solo_r50_fpn_1x_coco',
    'solo/decoupled-solo_r50_fpn_1x_coco',
    'solov2/solov2_r50_fpn_1x_coco',
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco',
    'ssd/ssd300_coco',
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco',
    'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco',
    'tood/tood_r50_fpn_1x_coco',
    'tridentnet/tridentnet_r50-caffe_1x_coco',
    'vfnet/vfnet_r50_fpn_1x_coco',
    'yolact/yolact_r50_1xb8-55e_coco',
    'yolo/yolov3_d53_8xb8-320-273e_coco',
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco',
    'yolof/yolof_r50-c5_8xb8-1x_coco',
    'yolox/yolox_tiny_8xb8-300e_coco',
)
#: Beginning of a config's name -> side of the images that it is tried with, where it cannot do with :data:`SIDE`:
#: SSD's last convolutions have no padding, the first queries of DINO and DDQ are the best 900 of all places, and
#: boxes of a random QueryInst leave a small image.
SIDES = {'ssd/': 320, 'dino/': 256, 'ddq/': 256, 'queryinst/': 256}
SIDE = 128
#: Beginning of a config's name -> by how much its semantic map is smaller than the image.
SEMANTIC_STRIDES = {'htc/': 8, 'scnet/': 8}
#: Beginning of the names of configs whose detectors take masks for something else if there are some.
WITHOUT_MASKS = ('rtmdet/rtmdet_',)
STAGES = ('load', 'swap', 'build', 'prove', 'step', 'predict')


@dataclass(frozen=True)
class Tried:
    """A backbone that was tried in a packaged config."""

    config: str
    network: str
    stage: str  # the last that was begun, one of STAGES
    reason: str | None = None  # why it ended there; None: it is done
    refused: bool = False  # by us, in a sentence; anything else that is raised is a failure
    notes: tuple[str, ...] = ()  # what the swap said
    seconds: float = 0.0


def try_config(config: str, network: str, last: str = 'predict') -> Tried:
    """Swaps the backbone of a packaged config and goes on to a stage, on the CPU.

    Args:
        config: one of :data:`CONFIGS`, or the path of a file.
        network: short name of one of our backbones.
        last: the stage to end with. ``build`` is done without memory; ``step`` is a step of SGD on two random images
            that has to give every parameter of the backbone a gradient; ``predict`` asks the same network for boxes.
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
            model = revert_sync_batchnorm(MODELS.build(_without_weights(cfg.model)))
            stage = 'step'
            step(model, config)
            if last == 'predict':
                stage = 'predict'
                predict(model, config)
    except UsageError as error:
        return tried(str(error), refused=True)
    except Exception as error:  # of whatever part: it is the result, and the table shows it
        return tried(f'{type(error).__name__}: {error}'.splitlines()[0])
    return tried()


def step(model: nn.Module, config: str) -> None:
    """One step of SGD on two random images.

    Raises:
        ValueError: the loss is not finite, or a parameter of the backbone gets no gradient.
    """
    model.train()
    MessageHub.get_current_instance().update_info('iter', 0)  # counted by the Runner, read by YOLOX's resizing
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
    """Boxes, or masks, of two random images.

    Raises:
        ValueError: there is no result for each image.
    """
    model.eval()
    data = _batch(model, config)
    results = model(**data, mode='predict')
    if len(results) != 2:
        raise ValueError(f'two images have {len(results)} results')


def try_all(
    configs: Sequence[str] = CONFIGS,
    networks: Sequence[str] = ('mobilenetv2',),
    last: str = 'predict',
    into: str | Path | None = None,
    jobs: int = 1,
    timeout: float = 600.0,
) -> Iterator[Tried]:
    """Tries every network in every config, each pair in a process of its own.

    Args:
        configs, networks, last: see :func:`try_config`.
        into: JSON file that holds what has been tried; pairs that it holds are not tried again.
        jobs: processes at a time.
        timeout: seconds that a pair may take.

    Yields:
        results, in the order in which they are there; first those that the file held.
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
    """What :func:`try_all` has written."""
    return [Tried(**{**each, 'notes': tuple(each['notes'])}) for each in json.loads(Path(path).read_text())]


def _apart(config: str, network: str, last: str, timeout: float) -> Tried:
    """Tries a pair in a process of its own, which may run out of memory or of time without harm to the others."""
    # Forked: MMDetection is imported once for all.
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
    sending.send(try_config(config, network, last))


def _of(table: dict[str, int], config: str, default: int) -> int:
    return next((value for start, value in table.items() if config.startswith(start)), default)


def _shrink(cfg: Config, side: int) -> None:
    """Makes what pads or resizes a batch do so to the size of the images that are tried, and lets few proposals do."""
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


def _without_weights(model: dict) -> dict:
    """The model with nothing to be downloaded."""
    model = Config(dict(model=model)).model
    for part in _dicts(model):
        if (part.get('init_cfg') or {}) and 'Pretrained' in str(part['init_cfg']):
            part['init_cfg'] = None
    return model


def _dicts(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        yield from _dicts(each)


def _batch(model: nn.Module, config: str) -> dict[str, Any]:
    """Two random images with two boxes each, as the model's forward takes them, with all that a detector may want."""
    side = _of(SIDES, config, SIDE)
    shape = (3, side, side)
    data = demo_mm_inputs(
        2,
        shape,
        [2, 2],
        with_mask=not config.startswith(WITHOUT_MASKS),
        with_semantic=True,
        sem_seg_output_strides=_of(SEMANTIC_STRIDES, config, 1),
    )
    for sample, proposals in zip(data['data_samples'], demo_mm_proposals([shape] * 2, 20), strict=True):
        sample.set_metainfo(
            dict(homography_matrix=np.eye(3, dtype=np.float32))
        )  # of the augmentation, which Soft Teacher undoes
        if hasattr(model, 'roi_head') and not hasattr(model, 'rpn_head'):  # Fast R-CNN
            sample.proposals = proposals
    if hasattr(model, 'student') and model.training:
        data = {key: dict.fromkeys(('sup', 'unsup_teacher', 'unsup_student'), value) for key, value in data.items()}
    return model.data_preprocessor(data, model.training)
