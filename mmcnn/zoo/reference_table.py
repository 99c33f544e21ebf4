"""The reference table that this zoo reproduces: published parameter counts, total and trainable, of 35 networks."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reference:
    """A row of the table, counted as by :func:`mmcnn.count_parameters`."""

    size: int  # side of the image, pixels
    total: int  # with BatchNorm's running statistics
    trainable: int
    classifier: bool = True  # with the top for 1000 classes; else only the backbone
    outside: int = 0  # values in ``total`` that are not part of the network
    arguments: dict = field(default_factory=dict)  # arguments of the form in the row, if it is not the default


# With the top for 1000 classes.
CLASSIFIERS = {
    'vgg16': Reference(224, 138_357_544, 138_357_544),
    'vgg19': Reference(224, 143_667_240, 143_667_240),
    'resnet50': Reference(224, 25_636_712, 25_583_592),
    'resnet50v2': Reference(224, 25_613_800, 25_568_360),
    'resnet101': Reference(224, 44_707_176, 44_601_832),
    'resnet101v2': Reference(224, 44_675_560, 44_577_896),
    'resnet152': Reference(224, 60_419_944, 60_268_520),
    'resnet152v2': Reference(224, 60_380_648, 60_236_904),
    'resnext50': Reference(224, 26_970_024, 25_965_352),
    'mobilenet': Reference(224, 4_253_864, 4_231_976),
    'mobilenetv2': Reference(224, 3_538_984, 3_504_872),
    'mobilenetv3-small': Reference(224, 2_554_968, 2_542_856),
    'mobilenetv3-large': Reference(224, 5_507_432, 5_483_032),
    'inceptionv1': Reference(224, 7_000_476, 7_000_476),
    'inceptionv2': Reference(224, 11_152_840, 11_133_064),
    'inceptionv3': Reference(299, 23_851_784, 23_817_352),
    'inceptionv4': Reference(299, 42_711_400, 42_648_232),  # the table calls it inception-resnet
    'inception-resnet-v2': Reference(299, 55_873_736, 55_813_192),
    'densenet121': Reference(224, 8_062_504, 7_978_856),
    'densenet169': Reference(224, 14_307_880, 14_149_480),
    'densenet201': Reference(224, 20_242_984, 20_013_928),
    'xception': Reference(299, 22_910_480, 22_855_952),
}

# The same; ``outside`` are mean (3), variance (3) and count of Keras's input normalisation, which the totals include.
EFFICIENTNETS = {
    'efficientnet-b0': Reference(224, 5_330_571, 5_288_548, outside=7),
    'efficientnet-b1': Reference(240, 7_856_239, 7_794_184, outside=7),
    'efficientnet-b2': Reference(260, 9_177_569, 9_109_994, outside=7),
    'efficientnet-b3': Reference(300, 12_320_535, 12_233_232, outside=7),
    'efficientnet-b4': Reference(380, 19_466_823, 19_341_616, outside=7),
    'efficientnet-b5': Reference(456, 30_562_527, 30_389_784, outside=7),
    'efficientnet-b6': Reference(528, 43_265_143, 43_040_704, outside=7),
    'efficientnet-b7': Reference(600, 66_658_687, 66_347_960, outside=7),
}

# Without a top. resnet-fpn stands for its trunk: the convolutions of the pyramid are counted separately.
BACKBONES = {
    'fpn': Reference(208, 14_306_048, 14_306_048, classifier=False),
    'resnet-fpn': Reference(600, 23_587_712, 23_534_592, classifier=False, arguments=dict(neck=None)),
    'darknet53': Reference(416, 40_620_640, 40_584_928, classifier=False),
    'cspdarknet53': Reference(416, 26_652_512, 26_617_184, classifier=False),
    'cspdarknet53-focus': Reference(608, 26_633_792, 26_599_872, classifier=False),
}

#: Name of a network -> its row of the table.
REFERENCE: dict[str, Reference] = CLASSIFIERS | EFFICIENTNETS | BACKBONES
