import itertools

import pytest
from torch import nn

from mmcnn.benchmarks.step_parts import DividedSteps
from mmcnn.benchmarks.validation_parts import DividedValidation
from mmcnn.errors import UsageError


@pytest.mark.parametrize('kind', [DividedSteps, DividedValidation])
def test_a_detector_of_several_stages_is_refused(kind):
    class Runner:
        model = nn.Linear(1, 1)

    class Loop:
        runner = Runner

    with pytest.raises(UsageError, match='one-stage detector can be divided, but the model is Linear'):
        kind(Loop, itertools.repeat(None))
