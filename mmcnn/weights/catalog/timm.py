"""timm's ImageNet weights for the rows that have its graph; those that it mirrors from torchvision are listed there.

Numbers: at timm's test size, which often is above that of the training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mmcnn.image_format import IMAGENET, IMAGENET_256, SYMMETRIC, SYMMETRIC_299, ImageFormat

from .published import Published

SOURCE = 'https://github.com/huggingface/pytorch-image-models/blob/main/results/results-imagenet.csv'
APACHE, NON_COMMERCIAL = 'Apache-2.0', 'CC-BY-NC-4.0'

# Model, our name of the version, timm's name of model and version, top-1, size of the images in that test.
RESNEXT = [
    ('resnext50-32x4d', 'a1h', 'resnext50_32x4d.a1h_in1k', 82.014, 288),
    ('resnext50-32x4d', 'ra', 'resnext50_32x4d.ra_in1k', 80.698, 288),
    ('resnext50-32x4d', 'gluon', 'resnext50_32x4d.gluon_in1k', 79.36, 224),
    ('resnext101-32x4d', 'gluon', 'resnext101_32x4d.gluon_in1k', 80.34, 224),
    ('resnext101-64x4d', 'c1', 'resnext101_64x4d.c1_in1k', 83.156, 288),
    ('resnext101-64x4d', 'gluon', 'resnext101_64x4d.gluon_in1k', 80.6, 224),
]
RESNEXT_YFCC = [
    ('resnext50-32x4d', 'ssl', 'resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k', 80.338, 224),
    ('resnext101-32x4d', 'ssl', 'resnext101_32x4d.fb_ssl_yfcc100m_ft_in1k', 80.924, 224),
    ('resnext101-32x8d', 'ssl', 'resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k', 81.606, 224),
]
RESNEXT_INSTAGRAM = [
    ('resnext50-32x4d', 'swsl', 'resnext50_32x4d.fb_swsl_ig1b_ft_in1k', 82.174, 224),
    ('resnext101-32x4d', 'swsl', 'resnext101_32x4d.fb_swsl_ig1b_ft_in1k', 83.232, 224),
    ('resnext101-32x8d', 'wsl', 'resnext101_32x8d.fb_wsl_ig1b_ft_in1k', 82.698, 224),
]
INCEPTION = [
    ('inceptionv4-timm', 'tf', 'inception_v4.tf_in1k', 80.156, 299),
    ('inception-resnet-v2-timm', 'tf', 'inception_resnet_v2.tf_in1k', 80.462, 299),
    ('inception-resnet-v2-timm', 'tf-ens-adv', 'inception_resnet_v2.tf_ens_adv_in1k', 79.978, 299),
]
# LeakyReLU's slope is timm's 0.01 here, and not Darknet's 0.1.
DARKNET = [
    ('darknet53-timm', 'c2ns', 'darknet53.c2ns_in1k', 80.536, 288),
    ('cspdarknet53-timm', 'ra', 'cspdarknet53.ra_in1k', 80.062, 256),
    ('cspresnet50', 'ra', 'cspresnet50.ra_in1k', 79.59, 256),
    ('cspresnext50', 'ra', 'cspresnext50.ra_in1k', 80.556, 256),
]
VOVNET = [('vovnetv2-39', 'ra', 'ese_vovnet39b.ra_in1k', 80.35, 288)]


def _entries(
    rows: list[tuple],
    activation: str,
    eps: float,
    image: ImageFormat,
    licence: str = APACHE,
    trained_on: str = 'ImageNet-1k',
) -> Iterator[Published]:
    for model, version, timm_name, top1, size in rows:
        yield Published(
            name=f'{model}/timm-{version}',
            model=model,
            world='timm',
            urls=(f'https://huggingface.co/timm/{timm_name}/resolve/main/model.safetensors',),
            top=True,
            licence=licence,
            image=image,
            activation=activation,
            norm_eps=eps,
            metric=f'top-1 {top1} at {size} px',
            source=SOURCE,
            trained_on=trained_on,
        )


ENTRIES = [
    *_entries(RESNEXT, 'ReLU', 1e-5, IMAGENET),
    *_entries(RESNEXT_YFCC, 'ReLU', 1e-5, IMAGENET, NON_COMMERCIAL, 'YFCC100M, ImageNet-1k'),
    *_entries(RESNEXT_INSTAGRAM, 'ReLU', 1e-5, IMAGENET, NON_COMMERCIAL, 'Instagram-1B, ImageNet-1k'),
    *_entries(INCEPTION, 'ReLU', 1e-3, SYMMETRIC_299),
    *_entries(DARKNET, 'LeakyReLU(0.01)', 1e-5, IMAGENET_256),
    *_entries(VOVNET, 'ReLU', 1e-5, IMAGENET),
    Published(
        name='vovnetv2-57/timm-ra4',
        model='vovnetv2-57',
        world='timm',
        urls=('https://huggingface.co/timm/ese_vovnet57b.ra4_e3600_r256_in1k/resolve/main/model.safetensors',),
        top=True,
        licence=APACHE,
        image=replace(SYMMETRIC, size=256),
        activation='ReLU',
        norm_eps=1e-5,
    ),
    Published(
        name='xception-timm/timm-tf',
        model='xception-timm',
        world='timm',
        # Nobody says that the digits in the name are of the file's SHA-256, as torchvision's are.
        urls=(
            'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth',
        ),
        top=True,
        licence=APACHE,
        image=SYMMETRIC_299,
        activation='ReLU',
        norm_eps=1e-5,
        metric='top-1 79.04 at 299 px',
        source=SOURCE,
    ),
]
