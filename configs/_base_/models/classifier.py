# A backbone with its paper's top. He et al.'s normal initialisation (arXiv 1502.01852), which networks without
# BatchNorm need; mean, deviation and channel order of the images come from the backbone's row.
model = dict(
    type='mmcnn.Classifier',
    num_classes=1000,
    init_cfg=[
        dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
        dict(type='Normal', layer='Linear', std=0.01),
    ],
)
