"""Numbers of objects, against counting the annotations."""

from collections import Counter

import numpy as np
from hotcoco import COCO

from mmcnn.evaluation.object_counts import objects_beyond, objects_of_classes


def test_as_counted():
    rng = np.random.default_rng(0)
    images, kinds, crowds = rng.integers(1, 9, 150), rng.choice([2, 7], 150), rng.random(150) < 0.3
    annotations = [
        dict(id=i + 1, image_id=image, category_id=kind, bbox=[0, 0, 5, 5], area=25, iscrowd=int(crowd))
        for i, (image, kind, crowd) in enumerate(zip(images.tolist(), kinds.tolist(), crowds.tolist(), strict=True))
    ]
    images = [dict(id=i, file_name='', width=9, height=9) for i in range(1, 9)]
    coco = COCO(dict(images=images, annotations=annotations, categories=[dict(id=i, name=str(i)) for i in (2, 5, 7)]))
    counts = Counter((each['image_id'], each['category_id']) for each in annotations if not each['iscrowd'])
    by_class = Counter(category for _, category in counts.elements())
    assert objects_of_classes(coco, [7, 5]) == {7: by_class[7], 5: 0}
    for limit in (0, 7, 10, 100):
        expected = {key: count for key, count in counts.items() if count > limit}
        assert objects_beyond(coco, limit, [2, 5, 7]) == expected
    assert len(objects_beyond(coco, 7, [2])) > 0  # the case is not trivial
    assert all(category == 2 for _, category in objects_beyond(coco, 0, [2]))
