import torch

import mmcnn
from mmcnn.benchmarks.training_step import draw_weights, step, training_sides


def narrow():
    return mmcnn.build_backbone('resnet18', widen_factor=0.125)


def test_ours_is_measured_in_bfloat16_too_and_both_in_each_memory_format():
    network = narrow().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    sides = [*training_sides('ours', network, 2, 64), *training_sides('theirs', narrow(), 2, 64, peer=True)]
    assert [side.name for side in sides if not side.peer] == [
        'ours NCHW', 'ours NCHW bf16', 'ours NHWC', 'ours NHWC bf16',
    ]  # fmt: skip
    assert [side.name for side in sides if side.peer] == ['theirs NCHW', 'theirs NHWC']
    assert all(side.measured() > 0 for side in sides)
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_step_is_forward_and_backward_in_the_type_and_format_asked_for():
    network, images = narrow().train().to(memory_format=torch.channels_last), torch.randn(2, 3, 64, 64)
    seen, gradients = [], []
    network.stage2.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.stem.conv.weight.register_hook(lambda gradient: gradients.append(gradient))
    step(network, images.to(memory_format=torch.channels_last), torch.bfloat16)()
    step(network, images)()
    assert [each.dtype for each in seen] == [torch.bfloat16, torch.float32]
    assert seen[1].is_contiguous(memory_format=torch.channels_last)
    assert len(gradients) == 2 and all(gradient.abs().sum() > 0 for gradient in gradients)
    assert network.stem.conv.weight.grad is None


def test_networks_of_one_shape_get_the_same_weights():
    networks = [narrow(), narrow()]
    for each in networks:
        draw_weights(each)
    first, second = (dict(each.named_parameters()) for each in networks)
    assert all(torch.equal(value, second[key]) for key, value in first.items())
