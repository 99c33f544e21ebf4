"""The file with a run's detections: its content, and the errors for other files."""

import numpy as np
import pytest

from mmcnn.errors import DataError
from mmcnn.evaluation.kept_detections import read_detections, write_detections


def test_what_was_written_is_read(tmp_path):
    rows = np.array([[7, 1.5, 2, 3, 4, 0.5, 1], [9, 5, 6, 7, 8, 0.25, 2]])
    write_detections(tmp_path / 'detections.npz', rows)
    np.testing.assert_array_equal(read_detections(tmp_path / 'detections.npz'), rows)


def test_the_best_of_each_image_and_class_are_kept(tmp_path):
    """The limit is two per class and image; equal scores keep their order."""
    scores = [(7, 1, 0.5), (7, 1, 0.9), (7, 2, 0.1), (7, 1, 0.5), (9, 1, 0.2), (7, 1, 0.4)]
    rows = np.array([[image, i, 0, 1, 1, score, label] for i, (image, label, score) in enumerate(scores)])
    write_detections(tmp_path / 'detections.npz', rows, limit=2)
    assert read_detections(tmp_path / 'detections.npz')[:, 1].tolist() == [0, 1, 2, 4]
    write_detections(tmp_path / 'detections.npz', rows[:0])
    assert read_detections(tmp_path / 'detections.npz').shape == (0, 7)


def test_detections_that_were_kept_are_read(tmp_path):
    path = tmp_path / 'detections.npz'
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    kept = dict(image_ids=np.array([7, 9]), boxes=boxes, scores=np.float32([0.5, 0.25]), category_ids=np.array([1, 2]))
    np.savez_compressed(path, **kept)
    np.testing.assert_array_equal(read_detections(path), [[7, 1, 2, 3, 4, 0.5, 1], [9, 5, 6, 7, 8, 0.25, 2]])
    np.savez_compressed(path, **{key: value[:0] for key, value in kept.items()})
    assert read_detections(path).shape == (0, 7)
    np.savez_compressed(path, boxes=boxes)
    with pytest.raises(DataError, match=r"detections\.npz is not a file of a run's detections: .*image_ids"):
        read_detections(path)
    path.write_bytes(b'PK')
    with pytest.raises(DataError, match='is not a file of a run'):
        read_detections(path)
