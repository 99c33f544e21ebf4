"""Trainings of different backbones with one seed see the same images, with the same order and augmentation."""

import hashlib

import pytest

import mmcnn
from mmcnn.engine.resumable_train_loop import ResumableTrainLoop

TINY = {'model.neck.widen_factor': 0.125, 'model.neck.deepen_factor': 0.33, 'default_hooks.bn_statistics.windows': 0}


@pytest.fixture
def trainings(monkeypatch, shapes, tmp_path):
    """``trainings(backbone='darknet53', seed=0, ...)`` trains, and returns digests of initial weights and batches."""

    def call(**options):
        seen = []
        inner = ResumableTrainLoop.run_iter

        def run_iter(loop, idx, data_batch):
            if not seen:
                seen.append(
                    hashlib.sha256(b''.join(p.detach().numpy().tobytes() for p in loop.runner.model.parameters()))
                )
            digest = hashlib.sha256()
            for image, sample in zip(data_batch['inputs'], data_batch['data_samples'], strict=True):
                boxes = sample.gt_instances.bboxes
                digest.update(image.numpy().tobytes() + getattr(boxes, 'tensor', boxes).numpy().tobytes())
            seen.append(digest)
            inner(loop, idx, data_batch)

        with monkeypatch.context() as patch:
            patch.setattr(ResumableTrainLoop, 'run_iter', run_iter)
            mmcnn.train(
                'yolov5_n', data=shapes, img_size=64, batch_size=4, epochs=2, workers=0, device='cpu', amp='off',
                logger='none', work_dir=tmp_path / str(len([*tmp_path.iterdir()])),
                cfg_options=TINY | dict(options.pop('cfg_options', {})), **options,
            )  # fmt: skip
        return seen[0].hexdigest(), [each.hexdigest() for each in seen[1:]]

    return call


NARROW = {'cfg_options': {'model.backbone.widen_factor': 0.125}}


@pytest.mark.slow
def test_backbones_share_their_draws_and_seeds_do_not(trainings):
    _, one = trainings(backbone='vgg11', seed=3, **NARROW)
    _, other = trainings(backbone='mobilenetv2', seed=3, **NARROW)
    # Images are normalised on the device, so the loaders' batches do not depend on the backbone.
    assert len(one) == 4 and len(set(one)) == 4
    assert one == other
    _, third = trainings(backbone='vgg11', seed=4, **NARROW)
    assert not {*one} & {*third}


@pytest.mark.slow
def test_initial_weights_have_a_seed_of_their_own(trainings):
    weights, batches = trainings(seed=3, init_seed=1, **NARROW)
    again, other_batches = trainings(seed=4, init_seed=1, **NARROW)
    assert weights == again and not {*batches} & {*other_batches}
    other, same_batches = trainings(seed=3, init_seed=2, **NARROW)
    assert other != weights and same_batches == batches
    assert trainings(seed=3, **NARROW)[0] not in (weights, other)
