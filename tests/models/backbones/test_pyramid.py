import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from mmcnn.errors import UsageError
from mmcnn.models.backbones.base import Backbone, Stage
from mmcnn.models.backbones.pyramid import Pyramid, PyramidStage
from mmcnn.models.backbones.row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    top: None = None


class Means(Pyramid):
    """Each stage averages 2 x 2 pixels, and each lateral doubles its map."""

    variants = {'means': Arch()}
    default_levels = (0, 1, 2)

    def stages(self):
        for level in range(3):
            yield Stage(f'stage{level}', 1, 2**level, lambda level=level: nn.AvgPool2d(min(2, 2**level)))
            yield PyramidStage(f'lateral{level}', 1, 2**level, doubled)

    def forward(self, x):
        sums = self.sums(x, self.out_indices[0], self.out_indices[-1])
        return tuple(sums[level] for level in self.out_indices)


def doubled():
    lateral = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(lateral.weight, 2)
    return lateral


def test_sums_worked_out_by_hand():
    image = torch.tensor([[1.0, 3, 0, 0], [5, 7, 0, 4], [0, 0, 8, 8], [0, 0, 8, 8]])[None, None]
    fine, middle, coarse = Means('means', in_channels=1)(image)
    assert coarse.flatten().tolist() == [2 * (4 + 1 + 0 + 8) / 4]
    assert middle[0, 0].tolist() == [[8 + 6.5, 2 + 6.5], [0 + 6.5, 16 + 6.5]]
    assert fine[0, 0].tolist() == [
        [2 + 14.5, 6 + 14.5, 8.5, 8.5], [10 + 14.5, 14 + 14.5, 8.5, 8 + 8.5],
        [6.5, 6.5, 16 + 22.5, 16 + 22.5], [6.5, 6.5, 16 + 22.5, 16 + 22.5],
    ]  # fmt: skip


def test_the_path_starts_at_the_coarsest_level_asked_for_and_ends_at_the_finest():
    backbone = Means('means', in_channels=1, out_indices=(1,))
    assert [name for name, _ in backbone.named_children()] == ['stage0', 'stage1', 'lateral1']
    assert backbone.unbuilt == {'lateral0', 'stage2', 'lateral2'}
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(backbone(image)[0], 2 * nn.functional.avg_pool2d(image, 2))


def test_the_path_is_not_frozen_with_its_level():
    backbone = Means('means', in_channels=1, frozen_stages=2).train()
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert {name for name, part in backbone.named_children() if part.training} == {'lateral0', 'lateral1', 'lateral2'}


def test_a_lateral_of_release_0_1_is_told_its_class():
    with pytest.raises(UsageError, match=r"stage 'lateral3': lateral=True is now mmcnn\S+\.PyramidStage.*\.Pyramid "):
        Stage('lateral3', 1, 8, doubled, lateral=True)
    trunk = Stage('stage3', 1, 8, doubled, lateral=False)
    assert trunk == Stage('stage3', 1, 8, doubled) and not trunk.lateral
    part = PyramidStage('lateral3', 1, 8, doubled)
    assert part.lateral and dataclasses.replace(part, stride=4) == PyramidStage('lateral3', 1, 4, doubled)


def test_a_pyramid_of_release_0_1_is_told_its_class():
    with pytest.warns(
        DeprecationWarning, match=r'Family\.pyramid: .* mmcnn\.models\.backbones\.pyramid\.Pyramid'
    ) as told:

        class Family(Backbone):
            pyramid = True

    assert told[0].filename == __file__
