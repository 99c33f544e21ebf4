"""The backbones, one family per file; importing this package registers all of them."""

from mmcnn.errors import MissingLevelError

from .backbone_with_neck import ResNetFPN
from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus, CSPDarknetV6
from .csp_densenet import CSPDenseNet
from .csp_resnet import CSPResNet
from .darknet import Darknet
from .densenet import DenseNet
from .efficientnet import EfficientNet
from .fpn import FPNTrunk
from .inception_resnet import InceptionResNet
from .inception_v1 import InceptionV1
from .inception_v2 import InceptionV2
from .inception_v3 import InceptionV3
from .inception_v4 import InceptionV4
from .last_stages import LastStages
from .mobilenet_v1 import MobileNetV1
from .mobilenet_v2 import MobileNetV2
from .mobilenet_v3 import MobileNetV3
from .resnet import ResNet
from .resnet_v2 import ResNetV2
from .resnext import ResNeXt
from .timm_backbone import TimmBackbone
from .vgg import VGG
from .vovnet import VoVNet
from .xception import Xception

__all__ = [
    'VGG',
    'Backbone',
    'CSPDarknet',
    'CSPDarknetFocus',
    'CSPDarknetV6',
    'CSPDenseNet',
    'CSPResNet',
    'Darknet',
    'DenseNet',
    'EfficientNet',
    'FPNTrunk',
    'InceptionResNet',
    'InceptionV1',
    'InceptionV2',
    'InceptionV3',
    'InceptionV4',
    'LastStages',
    'MissingLevelError',
    'MobileNetV1',
    'MobileNetV2',
    'MobileNetV3',
    'ResNeXt',
    'ResNet',
    'ResNetFPN',
    'ResNetV2',
    'Stage',
    'TimmBackbone',
    'VoVNet',
    'Xception',
]
