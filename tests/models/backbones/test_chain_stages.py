import torch
from torch import nn

import mmcnn
from mmcnn.models.backbones.chain_stages import chain_stages
from mmcnn.models.layers import Conv, MaxPool

# A stem; a pool and a convolution; a fork into a strided convolution and a pool.
TABLES = (
    (Conv(16, 3, stride=2),),
    (MaxPool(), Conv(32, 3, valid=True)),
    (((Conv(48, 3, stride=2),), (MaxPool(),)),),
)


def test_a_table_is_a_stage_with_twice_the_stride_of_the_one_before():
    with torch.device('meta'):
        backbone = mmcnn.build_backbone('inceptionv3', widen_factor=0.5, in_channels=2)
        stages = list(chain_stages(backbone, TABLES, padding='valid'))
        net = nn.Sequential(*(stage.build() for stage in stages))
    assert [(s.name, s.channels, s.stride) for s in stages] == [('stem', 8, 2), ('stage2', 16, 4), ('stage3', 40, 8)]
    assert net(torch.empty(1, 2, 63, 63, device='meta')).shape == (1, 40, 6, 6)  # 63, 31, 15 (pool), 13, 6
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 3 and all(norm.eps == 1e-3 and norm.weight is None for norm in norms)  # as the backbone's
