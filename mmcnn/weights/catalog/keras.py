"""keras.applications' ImageNet weights, each with the classifier and without; Keras states the MD5 of most files.

Licences: of those that its documentation (docs/templates/applications.md of Keras 2.1) names one for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mmcnn.image_format import CAFFE, IMAGENET, SYMMETRIC, SYMMETRIC_299, ImageFormat

from .published import Published

STORAGE = 'https://storage.googleapis.com/'
FOLDER = f'{STORAGE}tensorflow/keras-applications/'
TABLE = 'https://keras.io/api/applications/'
WIDTHS_TABLE = 'https://www.tensorflow.org/api_docs/python/tf/keras/applications/mobilenet'
V2_WIDTHS_TABLE = 'https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet/README.md'
V3_TABLE = 'https://keras.io/api/applications/mobilenet/'

# Model, beginning of the file name, MD5 with and without the classifier, top-1.
VGG = [
    ('vgg16', 'vgg16/vgg16', '64373286793e3c8b2b4e3219cbf3544b', '6d6bbae143d832006294945121d1f1fc', 71.3),
    ('vgg19', 'vgg19/vgg19', 'cbe5617147190e668d6c5d5026f83318', '253f8cb515780f3b799900260a226db6', 71.3),
]
RESNET_50 = [
    ('resnet50', 'resnet/resnet50', '2cb95161c43110f7111970584f804107', '4d473c1dd8becc155b73f8504c6f6626', 74.9),
]
RESNET = [
    ('resnet101', 'resnet/resnet101', 'f1aeb4b969a6efcfb50fad2f0c20cfc5', '88cf7a10940856eca736dc7b7e228a21', 76.4),
    ('resnet152', 'resnet/resnet152', '100835be76be38e30d865e96f2aaae62', 'ee4c566cf9a93f14d82f913c2dc6dd0c', 76.6),
]
RESNET_V2 = [
    ('resnet50v2', 'resnet/resnet50v2', '3ef43a0b657b3be2300d5770ece849e0', 'fac2f116257151a9d068a22e544a4917', 76.0),
    ('resnet101v2', 'resnet/resnet101v2', '6343647c601c52e1368623803854d971', 'c0ed64b8031c3730f411d2eb4eea35b5', 77.2),
    ('resnet152v2', 'resnet/resnet152v2', 'a49b44d1979771252814e80f8ec446f9', 'ed17cf2e0169df9d443503ef94b23b33', 78.0),
]
DENSENET = [
    ('densenet121', 'densenet/densenet121',
     '9d60b8095a5708f2dcce2bca79d332c7', '30ee3e1110167f948a6b9946edeeb738', 75.0),
    ('densenet169', 'densenet/densenet169',
     'd699b8f76981ab1b30698df4c175e90b', 'b8c4d4c20dd625c148057b9ff1c1176b', 76.2),
    ('densenet201', 'densenet/densenet201',
     '1ceb130c1ea1b78c3bf6114dbdfd8807', 'c13680b51ded0fb44dff2d8f86ac8bb1', 77.3),
]  # fmt: skip
INCEPTION = [
    ('inceptionv3', 'inception_v3/inception_v3',
     '9a0d58056eeedaa3f26cb7ebd46da564', 'bcbd6486424b2319ff4ef7d526e38f63', 77.9),
    ('inception-resnet-v2', 'inception_resnet_v2/inception_resnet_v2',
     'e693bd0210a403b3192acc6073ad2e96', 'd19885ff4a710c122648d3b5c3b684e4', 80.3),
]  # fmt: skip
XCEPTION = [
    ('xception', 'xception/xception', '0a58e3b7378bc2990ea3b43d5981f1f6', 'b0042744bf5b25fce3cb969f33bebb97', 79.0),
]
# No hashes are stated for MobileNet v1 and v2.
MOBILENET = [('mobilenet', 'mobilenet/mobilenet_1_0', '', '', 70.4)]
MOBILENET_WIDTHS = [
    ('mobilenet-075', 'mobilenet/mobilenet_7_5', '', '', 68.4),
    ('mobilenet-050', 'mobilenet/mobilenet_5_0', '', '', 63.7),
    ('mobilenet-025', 'mobilenet/mobilenet_2_5', '', '', 50.6),
]
_V2 = 'mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels'
MOBILENET_V2 = [('mobilenetv2', f'{_V2}_1.0', '', '', 71.3)]
MOBILENET_V2_WIDTHS = [
    ('mobilenetv2-140', f'{_V2}_1.4', '', '', 75.0),
    ('mobilenetv2-130', f'{_V2}_1.3', '', '', 74.4),
    ('mobilenetv2-075', f'{_V2}_0.75', '', '', 69.8),
    ('mobilenetv2-050', f'{_V2}_0.5', '', '', 65.4),
    ('mobilenetv2-035', f'{_V2}_0.35', '', '', 60.3),
]
_V3 = 'mobilenet_v3/weights_mobilenet_v3'
MOBILENET_V3 = [
    ('mobilenetv3-small', f'{_V3}_small_224_1.0',
     '8768d4c2e7dee89b9d02b2d03d65d862', 'd3e8ec802a04aa4fc771ee12a9a9b836', 68.1),
    ('mobilenetv3-large', f'{_V3}_large_224_1.0',
     '59e551e166be033d707958cf9e29a6a7', '07fb09a5933dd0c8eaafa16978110389', 75.6),
    ('mobilenetv3-small-075', f'{_V3}_small_224_0.75',
     'cb65d4e5be93758266aa0a7f2c6708b7', 'ebdb5cc8e0b497cd13a7c275d475c819', 65.4),
    ('mobilenetv3-large-075', f'{_V3}_large_224_0.75',
     '765b44a33ad4005b3ac83185abf1d0eb', '40af19a13ebea4e2ee0c676887f69a2e', 73.3),
]  # fmt: skip
# The same with the size of the images behind it.
EFFICIENTNET = [
    ('efficientnet-b0', 'efficientnetb0',
     '902e53a9f72be733fc0bcb005b3ebbac', '50bc09e76180e00e4465e1a485ddc09d', 77.1, 224),
    ('efficientnet-b1', 'efficientnetb1',
     '1d254153d4ab51201f1646940f018540', '74c4e6b3e1f6a1eea24c589628592432', 79.1, 240),
    ('efficientnet-b2', 'efficientnetb2',
     'b15cce36ff4dcbd00b6dd88e7857a6ad', '111f8e2ac8aa800a7a99e3239f7bfb39', 80.1, 260),
    ('efficientnet-b3', 'efficientnetb3',
     'ffd1fdc53d0ce67064dc6a9c7960ede0', 'af6d107764bb5b1abb91932881670226', 81.6, 300),
    ('efficientnet-b4', 'efficientnetb4',
     '18c95ad55216b8f92d7e70b3a046e2fc', 'ebc24e6d6c33eaebbd558eafbeedf1ba', 82.9, 380),
    ('efficientnet-b5', 'efficientnetb5',
     'ace28f2a6363774853a83a0b21b9421a', '38879255a25d3c92d5e44e04ae6cec6f', 83.6, 456),
    ('efficientnet-b6', 'efficientnetb6',
     '165f6e37dce68623721b423839de8be5', '9ecce42647a20130c1f39a5d4cb75743', 84.0, 528),
    ('efficientnet-b7', 'efficientnetb7',
     '8c03f828fec3ef71311cd463b6759d99', 'cbcfe4450ddf6f3ad90b1b398090fe4a', 84.3, 600),
]  # fmt: skip

# How file names go on, with the classifier and without.
ORDER = ('_weights_tf_dim_ordering_tf_kernels', '_weights_tf_dim_ordering_tf_kernels_notop')
MOBILENET_ENDS = ('_224_tf', '_224_tf_no_top')
MOBILENET_V2_ENDS = ('_224', '_224_no_top')
MOBILENET_V3_ENDS = ('_float', '_float_no_top_v2')
EFFICIENTNET_ENDS = ('', '_notop')


def _entries(
    rows: list[tuple],
    image: ImageFormat,
    activation: str,
    eps: float | None,
    *,
    ends: tuple[str, str] = ORDER,
    folder: str = FOLDER,
    licence: str = '',
    source: str = TABLE,
) -> Iterator[Published]:
    for model, start, md5, md5_without, top1, *size in rows:
        for top, name, end, digest in ((True, 'keras', ends[0], md5), (False, 'keras-notop', ends[1], md5_without)):
            yield Published(
                name=f'{model}/{name}',
                model=model,
                world='keras',
                urls=(f'{folder}{start}{end}.h5',),
                md5=digest,
                top=top,
                licence=licence,
                image=replace(image, size=size[0]) if size else image,
                activation=activation,
                norm_eps=eps,
                metric=f'top-1 {top1}',
                source=source,
            )


ENTRIES = [
    *_entries(VGG, CAFFE, 'ReLU', None, licence='CC-BY-4.0'),
    *_entries(RESNET_50, CAFFE, 'ReLU', 1.001e-5, licence='MIT'),
    *_entries(RESNET, CAFFE, 'ReLU', 1.001e-5),
    *_entries(RESNET_V2, SYMMETRIC, 'ReLU', 1.001e-5),
    *_entries(DENSENET, IMAGENET, 'ReLU', 1.001e-5, licence='BSD-3-Clause'),
    *_entries(INCEPTION, SYMMETRIC_299, 'ReLU', 1e-3, licence='Apache-2.0'),
    *_entries(XCEPTION, SYMMETRIC_299, 'ReLU', 1e-3, licence='MIT'),
    *_entries(MOBILENET, SYMMETRIC, 'ReLU6', 1e-3, ends=MOBILENET_ENDS, licence='Apache-2.0'),
    *_entries(
        MOBILENET_WIDTHS, SYMMETRIC, 'ReLU6', 1e-3, ends=MOBILENET_ENDS, licence='Apache-2.0', source=WIDTHS_TABLE
    ),
    *_entries(MOBILENET_V2, SYMMETRIC, 'ReLU6', 1e-3, ends=MOBILENET_V2_ENDS, licence='Apache-2.0'),
    *_entries(
        MOBILENET_V2_WIDTHS,
        SYMMETRIC,
        'ReLU6',
        1e-3,
        ends=MOBILENET_V2_ENDS,
        licence='Apache-2.0',
        source=V2_WIDTHS_TABLE,
    ),
    *_entries(MOBILENET_V3, SYMMETRIC, 'HSwish', 1e-3, ends=MOBILENET_V3_ENDS, source=V3_TABLE),
    *_entries(EFFICIENTNET, IMAGENET, 'SiLU', 1e-3, ends=EFFICIENTNET_ENDS, folder=f'{STORAGE}keras-applications/'),
]
