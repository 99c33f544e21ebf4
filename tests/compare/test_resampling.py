"""AP of resampled images, compared with pycocotools on copied images, COCO's metric and closed forms."""

import contextlib
import copy
import io
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hotcoco import COCO, COCOeval, compare
from pycocotools.coco import COCO as PyCOCO  # noqa: N811
from pycocotools.cocoeval import COCOeval as PyCOCOeval

from mmcnn.compare.resampling import average_precision, match_classes, resample
from mmcnn.errors import DataError

BCCD = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bccd' / 'val.json'


def annotations(num_images, num_classes, rng, crowds=0.1):
    """Make a COCO dict in which some images are empty and some objects are crowds; ids start at 11, out of order."""
    ids = rng.permutation(np.arange(11, 11 + num_images)).tolist()
    objects = []
    for image in ids:
        for _ in range(rng.poisson(4)):
            box = [*rng.uniform(0, 200, 2), *rng.uniform(10, 60, 2)]
            objects.append(
                dict(
                    id=len(objects) + 1, image_id=image, category_id=int(rng.integers(1, num_classes + 1)), bbox=box,
                    area=box[2] * box[3], iscrowd=int(rng.random() < crowds),
                )
            )  # fmt: skip
    return dict(
        images=[dict(id=i, width=300, height=300, file_name=f'{i}.jpg') for i in ids],
        annotations=objects, categories=[dict(id=i, name=str(i)) for i in range(1, num_classes + 1)],
    )  # fmt: skip


def detections(dataset, rng, spread=0.1, num_false=4):
    """Make detections (D, 7): each object twice with random errors, and false positives."""
    rows = []
    for each in dataset['annotations']:
        size = np.array(each['bbox'][2:] * 2)
        rows += [
            [each['image_id'], *(each['bbox'] + rng.normal(0, spread, 4) * size), rng.random(), each['category_id']]
            for _ in range(2)
        ]
    for image in dataset['images'][1:]:  # the first image has no false positives
        for _ in range(num_false):
            box = [*rng.uniform(0, 200, 2), *rng.uniform(10, 60, 2)]
            rows.append([image['id'], *box, rng.random(), int(rng.integers(1, len(dataset['categories']) + 1))])
    return np.array(rows)


def repeated(dataset, rows, weights):
    """Return the data set and detections with as many copies of each image as its weight."""
    ids = sorted(image['id'] for image in dataset['images'])
    result, found = dict(images=[], annotations=[], categories=dataset['categories']), []
    for image, weight in zip(ids, weights, strict=True):
        for _ in range(weight):
            new = len(result['images']) + 1
            result['images'].append(dict(id=new, width=300, height=300, file_name=f'{new}.jpg'))
            for each in dataset['annotations']:
                if each['image_id'] == image:
                    result['annotations'].append(each | dict(id=len(result['annotations']) + 1, image_id=new))
            own = rows[rows[:, 0] == image].copy()
            own[:, 0] = new
            found.append(own)
    return result, np.concatenate(found)


def pycocotools_ap(dataset, rows):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = PyCOCO()
        coco.dataset = copy.deepcopy(dataset)
        coco.createIndex()
        evaluation = PyCOCOeval(coco, coco.loadRes(rows.copy()), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0]


@pytest.fixture
def written(tmp_path):
    def write(dataset):
        path = tmp_path / 'val.json'
        path.write_text(json.dumps(dataset))
        return path

    return write


@pytest.mark.parametrize('seed', range(3))
def test_ap_of_repeated_images_is_pycocotools(seed, written):
    rng = np.random.default_rng(seed)
    dataset = annotations(12, 3, rng)
    rows = detections(dataset, rng)
    classes = match_classes(COCO(str(written(dataset))), rows)
    weights = np.concatenate([np.ones((1, 12), int), rng.multinomial(12, np.full(12, 1 / 12), size=4)])
    expected = [pycocotools_ap(*repeated(dataset, rows, each)) for each in weights]
    assert len(set(expected)) == 5
    np.testing.assert_allclose(average_precision(classes, weights), expected, atol=1e-9, rtol=0)


def test_more_than_a_hundred_detections_and_a_class_that_nobody_drew(written):
    rng = np.random.default_rng(3)
    dataset = annotations(5, 2, rng, crowds=0)
    lonely = sorted(image['id'] for image in dataset['images'])[0]
    dataset['annotations'] = [
        each for each in dataset['annotations'] if each['category_id'] == 1 or each['image_id'] == lonely
    ]
    dataset['annotations'].append(
        dict(id=999, image_id=lonely, category_id=2, bbox=[5, 5, 20, 20], area=400, iscrowd=0)
    )
    rows = detections(dataset, rng, num_false=260)
    classes = match_classes(COCO(str(written(dataset))), rows)
    weights = np.array([[1, 1, 1, 1, 1], [0, 2, 1, 1, 1]])  # without class 2, the mean is that of class 1
    expected = [pycocotools_ap(*repeated(dataset, rows, each)) for each in weights]
    np.testing.assert_allclose(average_precision(classes, weights), expected, atol=1e-9, rtol=0)
    assert np.isnan(average_precision(classes, np.zeros((1, 5), int))).all()


@pytest.mark.skipif(not BCCD.is_file(), reason='needs ../shared/data/bccd')
def test_ap_of_real_annotations_is_pycocotools():
    dataset = json.loads(BCCD.read_text())
    rows = detections(dataset, np.random.default_rng(0))
    found = resample(BCCD, [rows], resamples=2)
    assert found.num_images == 72
    assert found.ap[0] == pytest.approx(pycocotools_ap(dataset, rows), abs=1e-9)


def test_runs_share_the_draws_and_a_seed_repeats_them(written):
    rng = np.random.default_rng(0)
    dataset = annotations(20, 2, rng)
    path = written(dataset)
    good, bad = (detections(dataset, np.random.default_rng(5), spread=spread) for spread in (0.05, 0.15))
    found = resample(path, [good, bad, good], resamples=200, seed=4)
    assert found.resampled.shape == (200, 3)
    np.testing.assert_array_equal(found.resampled[:, 0], found.resampled[:, 2])
    np.testing.assert_array_equal(found.resampled, resample(path, [good, bad, good], resamples=200, seed=4).resampled)
    assert (found.resampled != resample(path, [good, bad, good], resamples=200, seed=5).resampled).any()
    covariance = found.covariance([[0, 2], [1]])
    spread = np.cov(found.resampled[:, :2], rowvar=False) * 20 / 19
    np.testing.assert_allclose(covariance, spread, rtol=1e-12)
    assert 0 < covariance[0, 1] < np.sqrt(covariance[0, 0] * covariance[1, 1])  # both find the same images hard


def test_variance_is_that_of_new_images(written):
    """The bootstrap's variance from one val split is on average the variance between many val splits."""
    rng = np.random.default_rng(0)
    aps, said = [], []
    for _ in range(60):
        dataset = annotations(30, 1, rng, crowds=0)
        found = resample(written(dataset), [detections(dataset, rng)], resamples=60)
        aps.append(found.ap[0])
        said.append(found.covariance([[0]])[0, 0])
    # With 59 degrees of freedom, the ratio is between these bounds with a probability of 0.999.
    assert 0.5 < np.var(aps, ddof=1) / np.mean(said) < 1.8


def test_a_run_that_found_nothing_has_ap_zero(written):
    found = resample(written(annotations(5, 2, np.random.default_rng(0))), [np.empty((0, 7))], resamples=5)
    assert found.ap == 0
    assert (found.resampled == 0).all()


def test_a_val_without_objects_is_refused(written):
    dataset = annotations(5, 1, np.random.default_rng(0))
    with pytest.raises(DataError, match='has 5 images: resampling needs at least two with objects'):
        resample(written(dataset | dict(annotations=[])), [np.empty((0, 7))])


@pytest.mark.campaign
def test_hotcocos_own_bootstrap_counts_an_image_once(written, capsys):
    """Show why it is not used: compare it with all draws from three images, counted with copies and as sets."""
    rng = np.random.default_rng(0)
    dataset = annotations(3, 1, rng, crowds=0)
    coco = COCO(str(written(dataset)))
    rows = [detections(dataset, rng, spread) for spread in (0.05, 0.12)]
    draws = np.array([np.bincount(each, minlength=3) for each in itertools.product(range(3), repeat=3)])
    classes = [match_classes(coco, each) for each in rows]
    copies, sets = (
        np.std(average_precision(classes[0], weights) - average_precision(classes[1], weights))
        for weights in (draws, np.minimum(draws, 1))
    )
    evaluations = [COCOeval(coco, coco.load_res(each), 'bbox') for each in rows]
    for each in evaluations:
        each.evaluate()
        each.accumulate()
    said = compare(*evaluations, n_bootstrap=20_000)['ci']['AP']['std_err']
    with capsys.disabled():
        print(f'\ncopies {copies:.4f}, sets {sets:.4f}, hotcoco {said:.4f}')
    assert said == pytest.approx(sets, rel=0.02)
    assert sets < 0.9 * copies


@pytest.mark.campaign
def test_campaign_of_the_variance(written, capsys):
    """Print the variance of AP, and of a difference, relative to the bootstrap's mean, over 250 sets of 72 images."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(250):
        dataset = annotations(72, 3, rng, crowds=0)
        rows = [detections(dataset, rng, spread) for spread in (0.08, 0.11)]
        result = resample(written(dataset), rows, resamples=100)
        said = result.covariance([[0], [1]])
        found.append((*result.ap, said[0, 0], said[0, 0] + said[1, 1] - 2 * said[0, 1]))
    first, second, of_first, of_difference = np.array(found).T
    with capsys.disabled():
        ratios = np.var(first, ddof=1) / of_first.mean(), np.var(first - second, ddof=1) / of_difference.mean()
        print('\nAP: {:.2f}, difference: {:.2f}'.format(*ratios))


@pytest.mark.slow
def test_a_thousand_resamples_of_500_images_take_seconds(written):
    """150,000 detections are 300 per image."""
    rng = np.random.default_rng(0)
    dataset = annotations(500, 3, rng, crowds=0)
    rows = detections(dataset, rng, num_false=290)
    path = written(dataset)
    start = time.process_time()
    resample(path, [rows], resamples=1000)
    assert time.process_time() - start < 10
