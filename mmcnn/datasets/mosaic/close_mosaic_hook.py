"""Final epochs without mosaic."""

from mmengine.hooks import Hook

from mmcnn.compat import private_names
from mmcnn.datasets.mosaic.mosaic_affine import MosaicAffine
from mmcnn.registry import HOOKS


@HOOKS.register_module()
class CloseMosaicHook(Hook):
    """Ends mosaic and MixUp some epochs before the end of the run, so that it finishes on whole images (as in YOLOX).

    Acts on every :class:`~mmcnn.datasets.MosaicAffine` of the training data; its affine part goes on. What
    holds in an epoch follows from its number alone, so a resumed run needs no state.

    Args:
        epochs (int): How many epochs at the end.

    Raises:
        ValueError: ``epochs`` is negative, or there is no mosaic to close.
    """

    def __init__(self, epochs: int = 5) -> None:
        if epochs < 0:
            raise ValueError(f'epochs={epochs} of CloseMosaicHook has to be 0 or more')
        self.epochs = epochs

    def before_train(self, runner) -> None:
        """Refuse data without a mosaic."""
        if not self._mosaics(runner):
            raise ValueError('CloseMosaicHook: the training pipeline has no mmcnn.MosaicAffine')

    def before_train_epoch(self, runner) -> None:
        """Close the mosaic where the last epochs begin."""
        mosaics = [mosaic for mosaic in self._mosaics(runner) if mosaic.mosaic_prob or mosaic.mixup_prob]
        if runner.epoch < runner.max_epochs - self.epochs or not mosaics:
            return
        for mosaic in mosaics:
            mosaic.mosaic_prob = mosaic.mixup_prob = 0.0
        # Persistent workers hold copies of the data set: the next iterator has to start new ones.
        private_names.end_workers(runner.train_dataloader)
        runner.logger.info(f'no mosaic from epoch {runner.epoch + 1} on')

    @staticmethod
    def _mosaics(runner) -> list[MosaicAffine]:
        pipeline = getattr(runner.train_dataloader.dataset, 'pipeline', [])
        return [each for each in getattr(pipeline, 'transforms', pipeline) if isinstance(each, MosaicAffine)]
