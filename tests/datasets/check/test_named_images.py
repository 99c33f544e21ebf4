"""The images that the entries of a split name; test_detector.py tests most of this with whole folders."""

from pathlib import Path

from mmcnn.datasets.check.named_images import check_named_twice, named_images
from mmcnn.datasets.folders.split import DataSplit


def test_two_entries_of_one_image_are_warned_of():
    images = [
        dict(id=1, file_name='a.png'),
        dict(id=2, file_name='b.png'),
        dict(id=3, file_name='./a.png'),
        dict(id=2, file_name='b.png'),  # a duplicate id is a separate error
        None,
        dict(id=5, file_name=''),
    ]
    split = DataSplit('train', 'train.json', Path('/data'), 'images/', dict(images=images))
    (finding,) = check_named_twice(split, named_images(split))
    assert (finding.kind, finding.severity, str(finding)) == (
        'image named twice',
        'warning',
        'images/./a.png: is the image of both id 1 and id 3, each with its own boxes',
    )
