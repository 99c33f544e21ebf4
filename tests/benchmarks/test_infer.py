import sys

import pytest

from mmcnn.benchmarks import infer, pipeline
from mmcnn.benchmarks.options import InferBenchmarkOptions


@pytest.mark.slow
@pytest.mark.parametrize('features', [[], ['AVX512-BF16']])
def test_network_folder_and_peer_are_measured_on_the_same_images(monkeypatch, features):
    monkeypatch.setattr(infer, 'cpu_features', lambda: features)
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 5)
    other = f'other={sys.executable} -c \'for i in range(3): print("image", i, flush=True)\''
    options = InferBenchmarkOptions(config='yolov5_n_small', samples=3, batch_size=2, runs=1, peers=[other])
    said = []
    ours, beside, *precision = infer.measure(options, said.append)
    assert [*ours.figures] == [infer.ALONE, infer.STREAM, infer.FILES] and ours.best_peer == infer.ALONE
    assert [*beside.figures] == [infer.STREAM, infer.FILES, infer.PEER, 'other']
    assert beside.peers == {infer.PEER, 'other'}
    rates = [rate for each in (ours, beside) for name, values in each.figures.items() for rate in values]
    assert all(rate > 0 for rate in rates) and beside.figures[infer.STREAM][0] < 10_000
    assert ours.ratio(infer.FILES).median < 1.5
    assert [[*each.figures] for each in precision] == [[infer.BF16, infer.ALONE]] * len(features)
    assert 'times the multiply-adds' in said[0]


@pytest.mark.slow
def test_the_peers_rate_is_that_of_our_multiply_adds_for_the_same_image(tmp_path):
    """YOLOv5n, here with two classes, gets 640 x 480 pixels as 672 x 512; YOLOX-tiny gets a square of 672."""
    options = InferBenchmarkOptions(config='yolov5_n')
    detector = infer._detector(options, tmp_path / 'model.pth')
    ours = infer.wired_config(options)
    infer.set_num_classes(ours.model, 2)
    theirs = infer.Config.fromfile(infer.packaged_config(infer.YOLOX))
    expected = infer.multiply_adds(theirs, 672) / (infer.multiply_adds(ours, 672) * 512 / 672)
    assert infer._mmdetection(options, detector, lambda text: None)[1] == pytest.approx(expected, rel=1e-3)
