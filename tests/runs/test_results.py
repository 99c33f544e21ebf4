import math
from pathlib import Path

from mmcnn.evaluation.coco_metric import SUMMARY_KEYS
from mmcnn.runs.results import NAMES, EvaluateResult, TrainResult, by_name, main_numbers


def test_every_number_of_the_metrics_has_its_coco_name():
    logged = {f'coco/{key}': i / 12 for i, key in enumerate(SUMMARY_KEYS)}
    metrics, class_ap = by_name({**logged, 'coco/bbox_AP/größe': 0.5, 'coco/bbox_AP/a/b': math.nan, 'time': 'x'})
    names = ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl']
    assert metrics == {name: i / 12 for i, name in enumerate(names)}
    assert class_ap['größe'] == 0.5 and math.isnan(class_ap['a/b']) and len(class_ap) == 2
    assert by_name({'accuracy/top1': 50.0, 'accuracy/top5': 60, 'voc/mAP': 0.5})[0] == {
        'top1': 50.0,
        'top5': 60.0,
        'voc/mAP': 0.5,
    }
    assert by_name({'accuracy/top1': 50.0, 'accuracy/top3': 100.0})[0] == {'top1': 50.0, 'top3': 100.0}
    assert list(NAMES) == names


def test_results_are_short_to_read():
    history = [{'epoch': i, 'loss': 1 / i} for i in range(1, 301)]
    metrics = {'AP': 0.51234567, 'AP50': 0.8, 'AR1': 0.3}
    result = TrainResult(Path('w'), Path('w/best.pth'), None, metrics, {str(i): 0.5 for i in range(80)}, history)
    assert repr(result) == str(result) == "TrainResult(AP=0.5123, AP50=0.8, epochs=300, work_dir='w')"
    assert repr(TrainResult(Path('w'))) == "TrainResult(epochs=0, work_dir='w')"
    by_iterations = TrainResult(Path('w'), history=[{'iteration': 20, 'AP': 0.5}, {'iteration': 30, 'AP': 0.6}])
    assert repr(by_iterations) == "TrainResult(iterations=30, work_dir='w')"
    result = EvaluateResult(Path('w'), Path('w/best.pth'), {'top1': 93.1, 'top5': 99.0})
    assert repr(result) == "EvaluateResult(top1=93.1, checkpoint='w/best.pth')"
    assert main_numbers(metrics) == [('AP', 0.51234567), ('AP50', 0.8)]
    assert main_numbers(result.metrics) == [('top-1', 93.1)]


def test_nothing_that_was_measured_is_no_number():
    nan = float('nan')
    assert main_numbers({'AP': nan, 'AP50': nan}) == main_numbers({'AP': -1.0, 'AP50': -1.0}) == []
    assert main_numbers({'AP': 0.0, 'AP50': 0.5, 'APs': -1.0}) == [('AP', 0.0), ('AP50', 0.5)]
