import pytest
import torch

from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.translate import OtherRowError, Source, Translation, translate

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


def test_a_rule_may_know_no_such_layer():
    rules = [(r'conv_(\d)', lambda match: ('a', 'b')[int(match[1])])]
    assert list(translate(state('conv_1.weight'), rules).state) == ['b.weight']
    with pytest.raises(CheckpointError, match=r'1 keys of the file are unknown here: conv_2\.weight'):
        translate(state('conv_2.weight'), rules)


def test_a_source_prepares_and_demands():
    def prepare(given, row):
        kept = {key: value for key, value in given.items() if not key.startswith('input')}
        return Translation(kept, {'input': ['input.mean']}, notes=[f'eps {row.norm["eps"]}'])

    rules = {'Darknet': [(r'conv', 'backbone.stem.conv')]}
    source = Source('Peer', rules, demands={'Darknet': dict(act=dict(negative_slope=0.1))}, prepare=prepare)
    given = state('input.mean', 'conv.weight')
    translation = source.translate(given, 'darknet53')
    assert translation == Translation(
        {'backbone.stem.conv.weight': given['conv.weight']}, {'input': ['input.mean']}, [], notes=['eps 1e-05']
    )
    told = r"Peer's network has act=\{'negative_slope': 0\.1\}, darknet53-timm has .*; they fit darknet53$"
    with pytest.raises(OtherRowError, match=told):
        source.translate(given, 'darknet53-timm')
    # A file of something else is not told about rows.
    with pytest.raises(CheckpointError, match='unknown here: fc'):
        source.translate(state('fc.weight'), 'darknet53-timm')
