"""MMDetection's packaged configs in which backbones are tested, and the changes that each needs at a small size.

The configs in :data:`CONFIGS` are chosen by this rule: from every folder of ``mmdet/.mim/configs`` that train a
network for detection, instance or panoptic segmentation on COCO, the config with the shortest name among those with
ResNet-50, else with the smallest network; and one for each other neck or head in the folder. Left out: folders that
change only data, schedule or weights of another's network (albu_example, instaboost, strong_baselines, scratch, ...),
data sets other than COCO, trackers, and code of other repositories (``mmpretrain``: convnext, timm_example; a language
model: glip, grounding_dino, mm_grounding_dino).
"""

from pathlib import Path

import mmdet

#: The folder of MMDetection's configs in an installation.
FOLDER = Path(mmdet.__file__).parent / '.mim' / 'configs'
#: The configs that are tested, by folder and name; see above for the rule.
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
#: Prefix of a config's name -> side of its images, if it cannot be :data:`SIDE`: SSD's last convolutions have no
#: padding, and the first queries of DINO and DDQ are the best 900 of all positions.
SIDES = {'ssd/': 320, 'dino/': 256, 'ddq/': 256}
SIDE = 128
#: Prefix of a config's name -> stride of its semantic map.
SEMANTIC_STRIDES = {'htc/': 8, 'scnet/': 8}
#: Prefixes of configs whose detectors misinterpret masks if there are any.
WITHOUT_MASKS = ('rtmdet/rtmdet_',)
#: Prefixes of configs whose detectors predict one image at a time (mmcv's masked convolution).
ONE_BY_ONE = ('guided_anchoring/',)
