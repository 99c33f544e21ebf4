"""The public data sets that mmcnn knows, one row each; nothing is downloaded, and mmcnn contains no images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmcnn.datasets.public import sources
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """A public data set.

    Attributes:
        name: Its name on the command line.
        shows: Content of its images.
        source: Its address.
        licence: Licence of images and annotations, and where it is stated.
        size: Numbers of images and boxes, as a phrase.
        commit: Commit of the source to which counts and hashes belong; None: none is recorded.
        read: Reads a copy of the source; None: mmcnn cannot convert it.
        marker: A file or folder of the source that identifies its root.
        long_side: Images are shrunk so that their longer side has this number of pixels; None: they keep their size.
        drawn: Only the images in :data:`DRAWN` are converted.
        sha256: 'train' and 'val' -> SHA-256 of the converted annotations; None: none is recorded.
        note: Additional information.
    """

    name: str
    shows: str
    source: str
    licence: str
    size: str
    commit: str | None = None
    read: Callable[[Path], sources.Splits] | None = None
    marker: str = ''
    long_side: int | None = None
    drawn: bool = False
    sha256: Mapping[str, str] | None = None
    note: str = ''

    @property
    def checked(self) -> str:
        """What can be verified after a conversion."""
        if self.read is None:
            return 'not verified: mmcnn cannot convert it'
        if self.sha256 is None:
            return 'not verified: no hash is recorded'
        return 'the SHA-256 of both files of annotations'


#: Names of the images of sampled sets: set -> 'train' and 'val' -> names, sorted.
DRAWN = Path(__file__).with_name('drawn.json')

SETS = (
    PublicSet(
        name='bccd',
        shows='blood cells under a microscope',
        source='https://github.com/Shenggan/BCCD_Dataset',
        commit='d272fb14cdff',
        licence='MIT (LICENSE in the repo)',
        size='364 images, 4,886 boxes, 3 classes',
        read=sources.read_voc,
        marker='ImageSets/Main/trainval.txt',
        sha256={
            'train': '45fd68aa677022a8569c7836786f63b27fb1dac79d3872548df42f83d21531eb',
            'val': 'acb261e952dbabf90b56471d9444019f85907ff2d4950c8e2b741f84d62ad5a2',
        },
        note='trainval.txt is for training, test.txt for validation; some cells at the borders have no box',
    ),
    PublicSet(
        name='cards',
        shows='playing cards',
        source='https://github.com/EdjeElectronics/TensorFlow-Object-Detection-API-Tutorial-Train-Multiple-Objects-'
        'Windows-10',
        commit='c16458258226',
        licence='Apache-2.0 (LICENSE in the repo)',
        size='363 images, 670 boxes, 6 classes',
        read=sources.read_voc_beside,
        marker='images/train',
        long_side=448,
        sha256={
            'train': '0a03185d2e6b63a1b60d793c88fd4165a8026d6215b391aed452381e451662b6',
            'val': 'a2a91a60da12632012bf771b0ad4158f8aab8b7fa4b9667eac4c6a8ccc83f4b9',
        },
    ),
    PublicSet(
        name='deeppcb',
        shows='six kinds of small defects on circuit boards',
        source='https://github.com/tangsanli5201/DeepPCB',
        commit='08e98c4db592',
        licence='MIT (LICENSE in the repo)',
        size='440 of 1,500 images, 2,929 boxes, 6 classes',
        read=sources.read_deeppcb,
        marker='PCBData',
        drawn=True,
        sha256={
            'train': '0dca4bcf8ec89143c0650ab124c27b8cd916480ba3265dca29f2394ea48b2872',
            'val': 'f117dce19c631a6825d1792748a1ee13066d8117ef5ccc7d247b63554b2fe53b',
        },
        note='320 images of trainval.txt and 120 of test.txt, sampled once; --whole converts all. An earlier README of '
        'the source asks users to use it only for research',
    ),
    PublicSet(
        name='hituav',
        shows='people and vehicles in thermal images from a drone',
        source='https://github.com/suojiashun/HIT-UAV-Infrared-Thermal-Dataset',
        commit='f8100db7ce3a',
        licence='CC BY 4.0 (LICENSE in the repo); attribution: Suo et al., HIT-UAV',
        size='640 of 2,898 images, 5,400 boxes, 4 classes',
        read=sources.read_hituav,
        marker='normal_json',
        long_side=512,
        drawn=True,
        sha256={
            'train': '32271b06ef8c4ec73addd91a0df1c56bd794ef5f700fe27f415c381bd7acbc8b',
            'val': '2c21bb638b16873c7c81ea662f9f915c58dea320f54fcdc204f197349f6fda22',
        },
        note='480 images of train and 160 of val, sampled once; --whole converts all. Regions called DontCare are '
        'crowd boxes of Person',
    ),
    PublicSet(
        name='tables',
        shows='tables on scanned pages',
        source='https://github.com/sgrpanchal31/table-detection-dataset',
        commit='8f7e17bc1749',
        licence='MIT (LICENSE in the repo)',
        size='403 images, 518 boxes, 1 class',
        read=sources.read_tables,
        marker='train.csv',
        long_side=576,
        sha256={
            'train': '1fb8f366b72c36539290f4936e66d17853816fe118ed2f1c34c306c619549b3a',
            'val': '60ac9665020ac1a01f02d7e12a29913415a7b2f90630981e3416c70a94fe9c59',
        },
    ),
    PublicSet(
        name='helmets',
        shows='heads with and without a safety helmet',
        source='https://github.com/njvisionpower/Safety-Helmet-Wearing-Dataset',
        licence='MIT (LICENSE in the repo)',
        size='7,581 images, 120,558 boxes, 2 classes, by its README',
        read=sources.read_voc,
        marker='ImageSets/Main/trainval.txt',
        note='the repo links to the archive VOC2028; the images are from the web or from SCUT-HEAD',
    ),
    PublicSet(
        name='raccoon',
        shows='raccoons',
        source='https://github.com/datitran/raccoon_dataset',
        licence='MIT (not checked here)',
        size='about 200 images, 1 class',
        read=sources.read_voc_undivided,
        marker='annotations',
        note='it has no splits: every fifth image is used for validation',
    ),
    PublicSet(
        name='openimages',
        shows='600 classes in photographs',
        source='https://storage.googleapis.com/openimages/web/index.html',
        licence='annotations CC BY 4.0 (Google); images CC BY 2.0 as listed (not checked here)',
        size='1.7 million training images with 14.6 million boxes',
        note='hotcoco.COCO.from_oid reads its CSV files',
    ),
)


def public_set(name: str) -> PublicSet:
    """Return the set with a name.

    Raises:
        UsageError: There is no such set.
    """
    rows = {row.name: row for row in SETS}
    if name not in rows:
        raise UsageError(f"no public set is called '{name}'; {nearest(name, rows)}")
    return rows[name]


@cache
def drawn_images(name: str) -> dict[str, frozenset[str]]:
    """Return 'train' and 'val' -> the names of the sampled images of a set."""
    return {split: frozenset(names) for split, names in json.loads(DRAWN.read_text())[name].items()}


def as_text() -> str:
    """Return all sets as ``mmcnn sets`` prints them."""
    blocks = []
    for row in SETS:
        lines = [
            f'{row.name}: {row.shows}',
            f'  size     {row.size}',
            f'  source   {row.source}{f" @ {row.commit}" if row.commit else ""}',
            f'  licence  {row.licence}',
            f'  checked  {row.checked}',
        ]
        blocks.append('\n'.join([*lines, *([f'  note     {row.note}'] if row.note else [])]))
    return '\n\n'.join(blocks)
