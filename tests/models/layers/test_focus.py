import torch

from mmcnn.models.layers import Focus


def test_order_of_the_slices():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    top_left, bottom_left, top_right, bottom_right = Focus()(image)[0]
    assert top_left.tolist() == [[0, 2], [8, 10]]
    assert bottom_left.tolist() == [[4, 6], [12, 14]]
    assert top_right.tolist() == [[1, 3], [9, 11]]
    assert bottom_right.tolist() == [[5, 7], [13, 15]]


def test_odd_sizes_are_padded_right_and_bottom():
    out = Focus()(torch.ones(1, 1, 3, 5))
    assert out.shape == (1, 4, 2, 3)
    assert out[0, 0].eq(1).all() and out[0, 3].tolist() == [[1, 1, 0], [0, 0, 0]]


def test_exported_at_one_size_right_at_others():
    sides = {2: torch.export.Dim('height', min=8), 3: torch.export.Dim('width', min=8)}
    exported = torch.export.export(Focus(), (torch.rand(1, 3, 11, 12),), dynamic_shapes=(sides,)).module()
    for size in ((12, 11), (8, 8), (9, 13)):
        image = torch.rand(1, 3, *size)
        assert torch.equal(exported(image), Focus()(image))
