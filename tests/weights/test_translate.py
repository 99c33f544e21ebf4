import pytest
import torch

from mmcnn.weights import CheckpointError
from mmcnn.weights.translate import translate

RULES = [
    (r'features\.(\d+)\.conv', r'stage\1.conv'),
    (r'layer(\d)', lambda match: f'stage{int(match[1]) + 1}.norm'),
    (r'aux.*', None),
    (r'fc', 'top.classes'),
]


def state(*keys):
    return {key: torch.tensor(float(i)) for i, key in enumerate(keys)}


def test_layers_are_renamed_and_arrays_keep_their_kind():
    given = state('features.3.conv.weight', 'layer1.running_mean', 'aux1.fc.weight', 'fc.bias')
    renamed = translate(given, RULES)
    assert renamed.left_out == {'auxiliary heads': ('aux1.fc.weight',)}
    assert renamed.state == {
        'stage3.conv.weight': given['features.3.conv.weight'],
        'stage2.norm.running_mean': given['layer1.running_mean'],
        'top.classes.bias': given['fc.bias'],
    }


def test_the_first_rule_that_matches_the_whole_name_holds():
    assert list(translate(state('fc.weight'), [('f', 'x'), ('fc', 'a'), ('fc', 'b')]).state) == ['a.weight']


def test_keys_without_a_rule_are_named():
    with pytest.raises(CheckpointError, match=r'2 keys of the file are unknown here: head\.weight, head\.bias'):
        translate(state('fc.weight', 'head.weight', 'head.bias'), RULES)


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(
        CheckpointError, match=r"two layers of the file are 'a\.weight' here, the second is 'y\.weight'"
    ):
        translate(state('x.weight', 'y.weight'), [('[xy]', 'a')])
