"""Runs of a few steps give usable models, but only with statistics that are measured again."""

import numpy as np
import pytest

import mmcnn

TINY = {'model.widen_factor': 0.125, 'model.deepen_factor': 0.1}
WITHOUT = {'default_hooks.bn_statistics.windows': 0}


@pytest.mark.slow
def test_a_detector_of_a_few_steps_does_not_see_objects_everywhere(tmp_path):
    found = {}
    for name, options in dict(measured={}, running=WITHOUT).items():
        result = mmcnn.train(
            'yolov4_cspdarknet53_narrow', data='demo', img_size=96, epochs=2, workers=0, device='cpu',
            work_dir=tmp_path / name, cfg_options=TINY | options,
        )  # fmt: skip
        detector = mmcnn.Detector(result.last, score_thr=0.5)
        images = np.random.default_rng(0).integers(60, 200, (8, 96, 96, 3), dtype=np.uint8)
        found[name] = np.mean([len(detector(image)) for image in images])
    # Rounding alone changes it between 10 and 295 (one or two threads, three seeds): such a network is chaotic.
    assert found['running'] > 5
    assert found['measured'] < 1


@pytest.mark.campaign
def test_a_classifier_of_32_steps_does_not_see_one_class_only(tmp_path):
    top1 = {}
    for name, options in dict(measured={}, running=WITHOUT).items():
        result = mmcnn.train(
            'classification/mobilenetv2', data='demo', img_size=64, epochs=8, workers=0, device='cpu',
            work_dir=tmp_path / name, cfg_options=options,
        )  # fmt: skip
        top1[name] = result.metrics['top1']
    assert top1['running'] == pytest.approx(100 / 3, abs=0.1)  # one of three classes, whatever the image
    assert top1['measured'] > 50
