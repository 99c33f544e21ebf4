import pytest
import torch

from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.translate import OWN_CLASSIFIER, OtherRowError, Source, Translation, translate

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
    with pytest.raises(CheckpointError, match=r'2 keys of the file are unknown: neck\.weight, neck\.bias'):
        translate(state('fc.weight', 'neck.weight', 'neck.bias'), RULES)


@pytest.mark.parametrize('name', ['head', 'fc.1', 'classifier.0', 'dense_1', 'last_linear', 'Logits', 'fc_new'])
def test_somebodys_own_classifier_is_left_out(name):
    key = f'{name}.weight'
    rules = [(r'conv1', 'backbone.stem.conv')]
    translation = translate(state('conv1.weight', key), rules)
    assert (list(translation.state), translation.left_out) == (['backbone.stem.conv.weight'], {OWN_CLASSIFIER: (key,)})
    # Nothing else is ignored beside it, and a file that is only a classifier is refused.
    for names in (('conv1.weight', key, 'se.weight'), (key,), ('conv1.weight', 'layer1.fc.weight')):
        with pytest.raises(CheckpointError, match='keys of the file are unknown'):
            translate(state(*names), rules)


def test_norms_between_dense_layers_of_keras_go_with_them():
    rules = [(r'conv1', 'backbone.stem.conv')]
    norm = 'batch_normalization_0.weight'
    left_out = translate(state('conv1.weight', norm, 'dense.weight'), rules).left_out
    assert left_out == {OWN_CLASSIFIER: (norm, 'dense.weight')}
    with pytest.raises(CheckpointError, match='1 keys of the file are unknown: batch_normalization_0'):
        translate(state('conv1.weight', norm), rules)


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(CheckpointError, match=r"two layers of the file map to 'a\.weight'; the second is 'y\.weight'"):
        translate(state('x.weight', 'y.weight'), [('[xy]', 'a')])


def test_a_rule_may_know_no_such_layer():
    rules = [(r'conv_(\d)', lambda match: ('a', 'b')[int(match[1])])]
    assert list(translate(state('conv_1.weight'), rules).state) == ['b.weight']
    with pytest.raises(CheckpointError, match=r'1 keys of the file are unknown: conv_2\.weight'):
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
    told = r"Peer's network has act=\{'negative_slope': 0\.1\}, but darknet53-timm has .*"
    with pytest.raises(OtherRowError, match=told) as error:
        source.translate(given, 'darknet53-timm')
    assert error.value.fitting == ('darknet53',)
    # For a file of another network, the error does not mention variants.
    with pytest.raises(CheckpointError, match='unknown: fc'):
        source.translate(state('fc.weight'), 'darknet53-timm')
