from mmcnn.benchmarks.gpu.options import STAGES
from mmcnn.benchmarks.gpu.stages import measurements, of_training

DETECTORS = ('yolov5_s', 'yolov4', 'yolov3', 'faster_rcnn')


def of(stage):
    return {each.name: each for each in measurements() if each.stage == stage}


def test_all_that_is_asked_for_is_measured():
    assert set(of('parity')) == {*DETECTORS, 'yolov4_darknet', 'classifier'}
    assert set(of('operators')) == {'nms', 'roi_align', 'focal_loss', 'renderer'}
    both = {f'{each} bf16 channels_last' for each in (*DETECTORS, 'classifier')}
    full = {f'{each} fp32' for each in (*DETECTORS, 'classifier')}
    extra = {'yolov5_s fp16', 'yolov4 fp16', 'yolov5_s bf16 channels_last, drawn by the device'}
    assert set(of('speed')) == both | full | extra
    assert set(of('compiled')) == {f'{each} bf16 channels_last compiled' for each in ('yolov5_s', 'yolov4')}
    assert set(of('latency')) == set(DETECTORS)
    steady = of('determinism')
    for recipe in ('yolov5_s', 'faster_rcnn'):
        assert {recipe, f'{recipe} as it is', f'{recipe} deterministic'} < set(steady)
    assert list(dict.fromkeys(each.stage for each in measurements())) == list(STAGES)


def test_names_say_what_is_measured():
    for name, each in {**of('speed'), **of('compiled'), **of('determinism')}.items():
        given = dict(each.arguments)
        assert given.pop('recipe') == name.split()[0]
        assert given.get('precision', 'fp32') in name or each.stage == 'determinism'
        assert ('channels_last' in name, 'compiled' in name) == (bool(given.get('channels_last')), 'compiled' in given)
        assert ('drawn by the device' in name) == given.get('on_device', False)
        assert (name.endswith(' deterministic')) == given.get('deterministic', False)
        assert each.needs_gpu == ('bf16' in name or 'fp16' in name)
        assert ('CUBLAS_WORKSPACE_CONFIG' in each.environment) == (each.stage == 'determinism')


def test_a_training():
    (each,) = of_training('demo', 'yolov5_n')
    assert (each.stage, each.name, dict(each.arguments)) == (
        'training',
        'yolov5_n',
        dict(data='demo', config='yolov5_n'),
    )
