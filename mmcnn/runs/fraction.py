"""``fraction``: training on a fraction of the training images, which is recorded with the run and enforced later."""

from __future__ import annotations

from mmengine.config import Config

from mmcnn.config.parts import loaders_of
from mmcnn.datasets.check.report import DetectorData
from mmcnn.datasets.check.train_fraction import with_fraction
from mmcnn.datasets.folders.classes import ClassData
from mmcnn.errors import UsageError
from mmcnn.runs.data_sets import inner_dataset
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.training import resumed_checkpoint

#: The entry of a config that records the fraction.
KEY = 'train_fraction'


def set_fraction(
    cfg: Config, options: TrainOptions, folder: DetectorData | ClassData | None
) -> DetectorData | ClassData | None:
    """Restrict the training loader to a fraction of the images, and record it in the config.

    Args:
        cfg: with its data set; changed in place.
        options: options of the training; without a fraction, a resumed training keeps that of its run.
        folder: the data of ``options.data``; None: the config's own data.

    Returns:
        the folder with this fraction.

    Raises:
        UsageError: the data is not a detector's folder, or the resumed run has another fraction.
    """
    fraction, before = options.fraction, _recorded(cfg, options)
    if fraction is not None and before is not None and before != fraction:
        raise UsageError(
            f'fraction={fraction:g}: the run to resume was trained on {before:g} of the images; start a new run'
        )
    fraction = before if fraction is None else fraction
    if fraction in (None, 1):
        return folder
    if not isinstance(folder, DetectorData):
        raise UsageError(f"fraction={fraction:g} needs data=PATH of a detector's data")
    folder = with_fraction(folder, fraction)
    inner_dataset(loaders_of(cfg)['train_dataloader']).ann_file = folder.files['train'][0]
    cfg[KEY] = fraction
    return folder


def _recorded(cfg: Config, options: TrainOptions) -> float | None:
    """Return the fraction of the run that is resumed; None: nothing is resumed, or it has none."""
    found = resumed_checkpoint(cfg, options.resume) if options.resume else None
    if found is None:
        return None
    fraction = found[1].entries.get(KEY)
    return fraction if isinstance(fraction, float | int) else 1.0
