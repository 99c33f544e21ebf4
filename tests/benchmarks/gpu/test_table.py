from mmcnn.benchmarks.gpu.table import tables

ABOUT = dict(
    cores=16, python='3.12.1', torch='2.11.0', workers=14, data='drawn', began='2026-11-26 20:00:00', seconds=400.0,
    options=dict(tiny=False),
)  # fmt: skip
RATES = dict(outcome='done', card='H200', bf16_tflops=500.0, tf32_tflops=300.0, copy_gb_per_second=4000.0)


def content(**stages):
    return dict(version=1, about=ABOUT, stages=stages)


def test_speed():
    measured = dict(
        outcome='done', batch_size=64, input_shape=[64, 3, 640, 608], step_ms=100.0, step_images_per_second=640.0,
        images_per_second=610.2, waiting_share=0.0151, loader_images_per_second=1500.0, memory_gb=20.5, kernels=2000.0,
        tflop_of_a_step=5.0, traffic_gb_of_a_step=100.0, preprocess_ms=2.5,
        waits={'cudaStreamSynchronize': 4.0, 'cudaEventSynchronize': 1.0}, idle_share=0.25,
        top_operators=[['aten::mm', 12.0, 3.0]] * 9, places_of_waits=[['mmcnn/a.py:7', 3], ['mmcnn/b.py:9', 1]],
    )  # fmt: skip
    failed = dict(outcome='failed', cause='RuntimeError: no', batch_size=32)
    text = tables(
        content(card=dict(rates=RATES), speed={'yolov5_s bf16 channels_last': measured, 'yolov3 fp32': failed})
    )
    lines = text.splitlines()
    assert lines[0] == (
        'H200, 16 cores, Python 3.12.1, torch 2.11.0, 14 data-loading processes, drawn; 2026-11-26, 400.0 s.'
    )
    assert lines[1] == (
        'Measured rates of the card: tf32 300.0 TFLOP/s, bf16 500.0 TFLOP/s, copy on the device 4000.0 GB/s.'
    )
    # 5 TFLOP in 0.1 s are 50 TFLOP/s, a tenth of the card's bfloat16 rate; 100 GB are a quarter of its copy rate.
    assert (
        '| yolov5_s bf16 channels_last | 64 | 608 x 640 | 640.0 | 610.2 | 600 | 1.5% | 1500.0 | 20.5 | 10.0% | 25.0% '
        '| 2.5 | 2000.0 | 5.0 | 25.0% |'
    ) in lines
    assert '| yolov3 fp32 | 32 |' + '  |' * 13 in lines
    assert (
        '| yolov5_s with the loader | at least 600 images/s | 610.2 images/s (yolov5_s bf16 channels_last) | yes |'
        in lines
    )
    assert '| waiting for the loader | less than 2% | 1.5% (yolov5_s bf16 channels_last) | yes |' in lines
    assert f'yolov5_s bf16 channels_last: {", ".join(["aten::mm 12.0 ms"] * 5)}' in lines
    assert '  waits at mmcnn/a.py:7 (3), mmcnn/b.py:9 (1)' in lines
    assert lines[-1] == '- speed, yolov3 fp32: failed, RuntimeError: no'


def test_what_differs_is_seen():
    fine = dict(loss_error=1e-7, loss_error_bound=1e-6, gradient_error=1e-5, gradient_error_bound=1e-4, passed=True)
    text = tables(
        content(
            parity=dict(yolov4=dict(outcome='done', fp32=fine, bf16=dict(fine, layer_error=0.5, passed=False))),
            operators=dict(
                nms={'outcome': 'done', 'nms iou, 9 boxes': dict(same_as_cpu=False, ms=1.5, ms_of_torchvision=None)},
                roi_align={'outcome': 'done', 'fp16': dict(error=0.25, passed=False, ms=2.0)},
            ),
        )
    )
    assert '| yolov4 | fp32, statistics fixed | 1.0e-07 | 1.0e-06 | 1.0e-05 | 1.0e-04 |  |  | yes |' in text
    assert '| yolov4 | bf16 | 1.0e-07 | 1.0e-06 | 1.0e-05 | 1.0e-04 | 5.0e-01 |  | **no** |' in text
    assert '|  | nms iou, 9 boxes |  | **no** | 1.5 |  |' in text
    assert '| roi_align | fp16 | 2.5e-01 | **no** | 2.0 |  |' in text


def test_cost_of_determinism():
    found = {
        'yolov5_s': dict(outcome='done', passed=True),
        'yolov5_s as it is': dict(outcome='done', step_ms=100.0),
        'yolov5_s deterministic': dict(outcome='done', step_ms=112.0),
        'faster_rcnn as it is': dict(outcome='done', step_ms=50.0),
        'faster_rcnn': dict(outcome='failed', cause='x'),
    }
    text = tables(content(determinism=found))
    lines = text.splitlines()
    assert '| cost of determinism | at most 15% | 12.0% (yolov5_s) | yes |' in lines
    tiny = dict(content(determinism=found), about=dict(ABOUT, options=dict(tiny=True)))
    assert 'aim on an' in text and 'aim on an' not in tables(tiny)
    assert '| yolov5_s | yes | 100.0 | 112.0 | 12.0% |' in lines
    assert '| faster_rcnn |  | 50.0 |  |  |' in lines


def test_latency_and_training():
    times = dict(network_ms=2.0, predict_ms=3.0, end_to_end_ms=5.0, images_per_second=200.0)
    latency = {'outcome': 'done', 'fp32, batch 1': times, 'fp16, batch 1': dict(failed='no kernel')}
    training = dict(
        outcome='done', epochs=9, ended='as planned', training_seconds=250.0,
        validations=[dict(epoch=3, AP=0.12345, AP50='nan'), dict(epoch=6, AP=0.2, AP50=0.4)],
    )  # fmt: skip
    text = tables(content(latency=dict(yolov4=latency), training=dict(yolov4=training)))
    assert '| yolov4 | fp32, batch 1 | 2.0 | 3.0 | 5.0 | 200.0 |' in text and 'fp16' not in text
    assert 'yolov4: 9 epochs planned, as planned, 250.0 s.\n\n| epoch | AP | AP50 |' in text
    assert '| 3 | 0.123 | nan |\n| 6 | 0.200 | 0.400 |' in text
