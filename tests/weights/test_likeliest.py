import mmcnn
from mmcnn.weights.likeliest import likeliest


def test_a_file_is_known_by_its_tensors():
    state = mmcnn.build_backbone('vovnet39').state_dict()
    assert likeliest({f'x.{i}': value for i, value in enumerate(state.values())}) == ['vovnet39']
    # Layouts do not matter: kernels of Keras are (H, W, C_in, C_out).
    turned = {key: value.permute(2, 3, 1, 0) if value.ndim == 4 else value for key, value in state.items()}
    assert likeliest(turned) == ['vovnet39']
    # The same shapes with another activation cannot be told apart.
    assert likeliest(mmcnn.build_classifier('cspdarknet53').state_dict()) == ['cspdarknet53', 'cspdarknet53-timm']


def test_nothing_is_guessed_from_little():
    state = mmcnn.build_backbone('vovnet39').state_dict()
    assert likeliest(dict(list(state.items())[:20])) == []
    assert likeliest({}) == []
