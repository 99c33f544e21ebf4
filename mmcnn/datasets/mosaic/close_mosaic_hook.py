"""Final epochs without mosaic."""

from mmengine.hooks import Hook

from mmcnn.compat import private_names
from mmcnn.datasets.mosaic.mosaic_affine import MosaicAffine
from mmcnn.registry import HOOKS


@HOOKS.register_module()
class CloseMosaicHook(Hook):
    """Ends mosaic and MixUp some epochs before the end of the run, so that it finishes on whole images (as in YOLOX).

    Affects every :class:`~mmcnn.datasets.MosaicAffine` of the training data, whose affine part continues. The state
    of an epoch depends only on its number, so that a resumed run needs no stored state.

    Args:
        epochs (int): Number of final epochs without mosaic.

    Raises:
        ValueError: ``epochs`` is negative, or there is no mosaic to close.
    """

    def __init__(self, epochs: int = 5) -> None:
        if epochs < 0:
            raise ValueError(f'CloseMosaicHook: epochs={epochs}: it must be at least 0')
        self.epochs = epochs

    def before_train(self, runner) -> None:
        """Refuse data without a mosaic."""
        if not self._mosaics(runner):
            raise ValueError('CloseMosaicHook: the training pipeline has no mmcnn.MosaicAffine')

    def before_train_epoch(self, runner) -> None:
        """Close the mosaic at the first of the last epochs."""
        mosaics = [mosaic for mosaic in self._mosaics(runner) if mosaic.mosaic_prob or mosaic.mixup_prob]
        if runner.epoch < runner.max_epochs - self.epochs or not mosaics:
            return
        for mosaic in mosaics:
            mosaic.mosaic_prob = mosaic.mixup_prob = 0.0
        # Persistent workers have copies of the data set: the next iterator must start new ones.
        private_names.end_workers(runner.train_dataloader)
        runner.logger.info(f'mosaic is off from epoch {runner.epoch + 1}')

    @staticmethod
    def _mosaics(runner) -> list[MosaicAffine]:
        pipeline = getattr(runner.train_dataloader.dataset, 'pipeline', [])
        return [each for each in getattr(pipeline, 'transforms', pipeline) if isinstance(each, MosaicAffine)]
