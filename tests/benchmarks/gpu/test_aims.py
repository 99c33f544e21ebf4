import pytest

from mmcnn.benchmarks.gpu.aims import aims, cost_of_determinism


def loaded(rate, share):
    return dict(outcome='done', images_per_second=rate, waiting_share=share)


def test_the_best_training_and_the_worst_wait():
    stages = dict(
        speed={
            'yolov5_s bf16 channels_last': loaded(610.5, 0.001),
            'yolov5_s fp32': loaded(300, 0.02),
            'yolov4 fp32': loaded(249.9, 0.001),
            'yolov3 fp32': loaded(90, 0.001),
            'faster_rcnn fp32': dict(outcome='failed', cause='x'),
        },
        compiled={'yolov4 bf16 channels_last compiled': loaded(249.8, 0.001)},
    )
    assert [tuple(each) for each in aims(stages)] == [
        ('yolov5_s with the loader', 'at least 600 images/s', '610.5 images/s (yolov5_s bf16 channels_last)', True),
        ('yolov4 with the loader', 'at least 250 images/s', '249.9 images/s (yolov4 fp32)', False),
        ('waiting for the loader', 'less than 2%', '2.0% (yolov5_s fp32)', False),
    ]


@pytest.mark.parametrize(('held', 'reached'), [(115.0, True), (116.0, False)])
def test_the_cost_of_determinism(held, reached):
    stages = dict(
        determinism={
            'yolov5_s as it is': dict(step_ms=100.0),
            'yolov5_s deterministic': dict(step_ms=held),
            'faster_rcnn as it is': dict(step_ms=10.0),
        }
    )
    assert [(each.wanted, each.reached) for each in aims(stages)] == [('at most 15%', reached)]
    assert cost_of_determinism(stages, 'yolov5_s') == pytest.approx(held / 100 - 1)
    assert cost_of_determinism(stages, 'faster_rcnn') is None


def test_nothing_measured():
    assert [*aims({})] == []
