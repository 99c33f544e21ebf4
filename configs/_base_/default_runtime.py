default_scope = 'mmdet'
custom_imports = dict(imports=['mmcnn'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmcnn.AtomicCheckpointHook', interval=1, max_keep_ckpts=3, save_best='coco/bbox_mAP'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    bn_statistics=dict(type='mmcnn.BNStatisticsHook'),
    visualization=dict(type='DetVisualizationHook'),
)
env_cfg = dict(
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# How fast a training is, and by what; none of it changes what is computed but for rounding. On the command line:
# --channels-last, --compile, --amp off (as cpu_amp=False), --amp-val, --cfg-options performance.tf32=True.
performance = dict(
    # NHWC in memory, as tensor cores take it: for --amp. None: in bf16 on a CPU, where it is quicker by a third, and
    # nowhere else, because other kernels sum in another order.
    channels_last=None,
    # torch.compile of backbone and neck, or a dict of its arguments. Off, because it takes minutes at the start.
    compile=False,
    # bf16 without --amp on a CPU that computes in it (AVX512-BF16 or AMX). A run that is resumed goes on as it began.
    cpu_amp=False,
    # cuDNN tries its algorithms for each new size of the images, and keeps the fastest. None: where all images of the
    # training have one size (mosaics, classifiers). Never in a validation, whose images have many sizes.
    cudnn_benchmark=None,
    # Products of float32 with 10 bits of mantissa, on cards since 2020. None: as PyTorch has it, in convolutions only;
    # True: in matrix products, too; False: nowhere.
    tf32=None,
    # Validate in the precision of --amp. Off: a validation in float32 depends on nothing but the weights.
    val_amp=False,
)
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
