"""From options to a run that can start: the only module that knows the order in which a config is completed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmcnn.config.entries import merge_options, set_again
from mmcnn.config.load import load_config, set_backbone
from mmcnn.config.model import is_classifier, prove_model, wire_model
from mmcnn.config.of_weights import config_and_checkpoint
from mmcnn.config.optimizer import drop_left_over, optimizer_types
from mmcnn.config.parts import loaders_of
from mmcnn.config.paths import with_parents
from mmcnn.config.process import check_process
from mmcnn.config.types import check_entries, check_structure, check_types
from mmcnn.config.variables import READ, say_unread
from mmcnn.datasets.check.detector import needs_draw
from mmcnn.datasets.check.drawn_split import Draw
from mmcnn.datasets.check.report import DetectorData
from mmcnn.datasets.folders.classes import ClassData
from mmcnn.errors import UsageError
from mmcnn.plots.fonts import say_what_is_missing
from mmcnn.runs import work_dirs
from mmcnn.runs.anchors import warn_of_anchors
from mmcnn.runs.backbone_weights import check_backbone_weights, typed_options
from mmcnn.runs.batch_norm import check_batch_norm
from mmcnn.runs.batches import describe_batches, drop_of_workers, images_of_own_data, set_batches
from mmcnn.runs.checkpoints import last_checkpoint
from mmcnn.runs.classes_of_data import refuse_other_classes
from mmcnn.runs.data import check_classes, continue_cache, set_cache, set_data
from mmcnn.runs.data_sets import check_balanced, inner_dataset
from mmcnn.runs.determinism import continue_determinism, make_deterministic, set_randomness
from mmcnn.runs.device import use_device
from mmcnn.runs.drawn_split import draw_of, draw_to_continue, refuse_other_images
from mmcnn.runs.fine_tuning import RECIPE_ENTRIES, check_weights, set_recipe
from mmcnn.runs.first_loss import prove_swapped
from mmcnn.runs.first_use import check_watching_hooks
from mmcnn.runs.fraction import set_fraction
from mmcnn.runs.img_size import other_size, set_img_size
from mmcnn.runs.launcher import check_launcher, collect_in_memory
from mmcnn.runs.loggers import check_backends, set_loggers
from mmcnn.runs.options import WARM_START, RunOptions, TrainOptions
from mmcnn.runs.performance import check_performance, say_other_sync_bn, set_performance, settle_performance
from mmcnn.runs.precision import check_amp, choose_precision, continue_precision, set_amp
from mmcnn.runs.training import (
    check_initial_weights,
    keep_detections,
    resumed_checkpoint,
    set_on_nan,
    set_patience,
    set_until_epoch,
    use_own_parts,
)
from mmcnn.runs.work_dirs import RunKind
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.own_modules import import_modules, record_imports
from mmcnn.weights.recorded_config import other_normalisation


@dataclass(frozen=True)
class Run:
    """A run whose config is complete and whose files have been checked; nothing is written yet.

    Attributes:
        options: the options of the run.
        cfg: complete and wired, for MMEngine's Runner.
        kind: distinguishes it from other runs.
        data: content of the data folder; None: the config's own data.
        new_work_dir: whether the work dir was not chosen by the user and did not exist.
        checkpoint: the opened initial or evaluated weights; None: it starts from random weights.
        notes: sentences about changes and findings.
        warnings: the lines of the data check.
    """

    options: RunOptions
    cfg: Config
    kind: RunKind
    data: DetectorData | ClassData | None
    new_work_dir: bool
    checkpoint: Checkpoint | None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def work_dir(self) -> Path:
        """The folder of logs and results."""
        return Path(self.cfg.work_dir)

    def batches(self) -> str:
        """Return a line with the number of images per iteration and per optimizer step."""
        return describe_batches(self.cfg, self.options.launcher)


def prepare(
    options: RunOptions,
    progress: Callable[[str], object] = lambda line: None,
    data: DetectorData | ClassData | None = None,
) -> Run:
    """Complete a config for a training or an evaluation, and refuse what cannot work before any work is lost.

    Sets MMEngine's device for the whole process (:mod:`mmcnn.runs.process_state` restores it).

    Args:
        options: a :class:`~mmcnn.runs.options.TrainOptions` or :class:`~mmcnn.runs.options.TestOptions`.
        progress: called with a line before each part that takes long.
        data: the data of ``options.data``, if it was already checked.

    Raises:
        UsageError: an option does not fit the config, or the work dir contains another run.
        DataError: the data cannot be used.
        CheckpointError: a checkpoint or weights cannot be used.
    """
    notes: list[str] = []
    warnings: list[str] = []
    training = isinstance(options, TrainOptions)
    cuda_had_started = torch.cuda.is_initialized()
    import_modules(options.imports)
    use_device(options.device)
    if training:
        cfg, checkpoint, trained = load_config(options.config, say=notes.append), None, None
    else:
        cfg, checkpoint = config_and_checkpoint(
            options.config, options.checkpoint, notes.append, names_needed=options.data is None
        )
        trained = _trained(cfg, checkpoint, named=options.config is not None)
    record_imports(cfg, options.imports)
    check_structure(cfg)
    if training:
        use_own_parts(cfg)
    say_unread(cfg, notes.append)
    check_launcher(options.launcher)
    typed = typed_options(options)
    kind = _swap(cfg, options, typed, notes)
    optimizers = optimizer_types(cfg)
    done = merge_options(cfg, typed, notes.append)
    check_entries(cfg, training)
    check_process(cfg, notes.append)
    check_performance(cfg, notes.append)
    if training and options.backbone_weights is not None:
        check_backbone_weights(cfg, options.backbone_weights, warnings.append)
    if options.data is not None and any(key.endswith('data_root') for key in typed if key.split('.')[0] not in READ):
        raise UsageError(f'data={options.data} and cfg_options data_root both set the data: use one of them')
    named = options.work_dir is not None or (training and cfg.get('work_dir') is not None)
    cfg.work_dir = str(_work_dir(cfg, options, kind, notes))
    new_work_dir = not named and not Path(cfg.work_dir).exists()
    if training and options.weights is not None and options.resume is True and last_checkpoint(cfg.work_dir):
        options = replace(options, weights=None)  # they are in the checkpoint that the run continues from
    if options.data is not None and data is None:
        progress(f'checking the data: {options.data}')
    recorded = checkpoint.entries if checkpoint is not None and options.config is not None else None
    folder = set_data(
        cfg,
        data or options.data,
        trained,
        options.skip_bad,
        warnings.append,
        _draw(cfg, options),
        options.classes,
        recorded,
    )
    set_img_size(cfg, options.img_size)
    if training:
        folder = set_fraction(cfg, options, folder)
        _set_epochs(cfg, options.epochs)
    num_images = (folder.num_train if folder else images_of_own_data(cfg)) if training else None
    set_batches(cfg, options, num_images)
    if training:
        _set_training(cfg, options, notes)
    cfg.launcher = options.launcher
    if options.launcher != 'none':
        collect_in_memory(cfg)
    set_again(cfg, done)  # the user's entries take precedence over computed ones
    if training:
        set_patience(cfg, options.patience, notes.append)  # in addition to hooks set by the user
    paths = with_parents(done)
    drop_of_workers(cfg, paths, notes.append)
    if training:
        checkpoint = None if options.weights is None else check_weights(cfg, options.weights)
        drop_left_over(cfg, optimizers, paths, notes.append)
        check_amp(cfg, notes.append)
        set_cache(cfg, options.cache_gb)
    in_full = cfg.model.get('type') != 'mmcnn.wired'
    wire_model(cfg)
    check_types(cfg, training)
    notes += [f'note: {note}' for note in prove_model(cfg)]
    if training:
        notes += [f'note: {note}' for note in prove_swapped(cfg, in_full, kind.backbone is not None)]
    if training and options.keep_detections:
        keep_detections(cfg)
    check_balanced(cfg)
    check_backends(cfg, training, notes.append)
    if training:
        check_watching_hooks(cfg)
        check_classes(cfg)
        check_batch_norm(cfg, options.launcher, folder and folder.num_train, notes.append)
        if options.weights is None:
            checkpoint = check_initial_weights(cfg, options.resume, notes.append)
        if cfg.get('resume'):
            _continue(cfg, options, checkpoint, folder, done, notes)
        choose_precision(cfg, options.amp, 'optim_wrapper.type' in done, notes.append)
        settle_performance(cfg, options, notes.append)
        make_deterministic(cfg, cuda_had_started, notes.append)
        if options.data is not None:
            warn_of_anchors(cfg, options.data, warnings.append)
        if isinstance(folder, DetectorData):  # its classes are drawn at the end
            say_what_is_missing(folder.classes, say=notes.append)
    if checkpoint is not None and (not training or cfg.get('resume')):
        preprocessor = cfg.model.get('data_preprocessor')
        if warning := other_normalisation(preprocessor, {'meta': checkpoint.meta}, checkpoint.path):
            warnings.append(warning)
    if recorded is not None and options.img_size is None and (warning := other_size(cfg, recorded, checkpoint.path)):
        warnings.append(f'warning: {warning}')
    return Run(options, cfg, kind, folder, new_work_dir, checkpoint, notes, warnings)


def _set_training(cfg: Config, options: TrainOptions, notes: list[str]) -> None:
    """Apply the options that control how a model is trained."""
    set_amp(cfg, options.amp, notes.append)
    set_performance(cfg, options)
    set_on_nan(cfg, options.on_nan)
    set_until_epoch(cfg, options.until_epoch)
    set_loggers(cfg, options.logger)
    set_randomness(cfg, options.seed)
    if options.init_seed is not None:
        cfg.init_seed = options.init_seed
    if options.load_from is not None:
        cfg.load_from = str(options.load_from)
    set_recipe(cfg, options.recipe or (WARM_START if options.weights is not None else None), notes.append)


def _continue(
    cfg: Config,
    options: TrainOptions,
    checkpoint: Checkpoint,
    folder: DetectorData | ClassData | None,
    done: dict[str, Any],
    notes: list[str],
) -> None:
    """Use recipe, seed and image cache of the resumed run, unless the user sets them; refuse data other than the run's.

    Args:
        cfg: changed in place.
        options: options of this session.
        checkpoint: checkpoint of the run.
        folder: the data; None: the config's own.
        done: the user's entries, which take precedence over those of the recipe.
        notes: gets sentences about the recipe.
    """
    typed = bool({'optim_wrapper.type', 'optim_wrapper.dtype'} & done.keys())
    continue_precision(cfg, checkpoint.entries, options.amp, typed, notes.append)
    say_other_sync_bn(cfg, checkpoint.entries, notes.append)
    continue_determinism(cfg, checkpoint.entries, 'randomness.deterministic' in done, notes.append)
    continue_cache(cfg, checkpoint.entries, notes.append)
    if options.recipe is None:
        set_recipe(cfg, checkpoint.entries.get('recipe'), notes.append)
        set_again(cfg, {key: value for key, value in done.items() if key.startswith(RECIPE_ENTRIES)})
    if folder is not None:
        refuse_other_classes({'meta': checkpoint.meta}, folder)
    if isinstance(folder, DetectorData):
        refuse_other_images(checkpoint.entries, folder.drawn)
    if options.seed is None:
        cfg.randomness.seed = checkpoint.meta.get('seed', cfg.randomness.seed)


def _draw(cfg: Config, options: RunOptions) -> Draw | None:
    """Return the requested draw of validation images, or that of the continued run."""
    resume = isinstance(options, TrainOptions) and (
        options.resume or (cfg.get('resume') and (options.load_from or cfg.get('load_from') or True))
    )
    root = None if options.data in (None, 'demo') or is_classifier(cfg) else Path(options.data)
    if not resume or root is None or not needs_draw(root) or (found := resumed_checkpoint(cfg, resume)) is None:
        return draw_of(options)
    return draw_to_continue(found[1].entries, root, options)


def _trained(cfg: Config, checkpoint: Checkpoint, named: bool) -> dict:
    """Return what the evaluation data must match: the classes of the file, otherwise those of its config."""
    loader = loaders_of(cfg).get('test_dataloader')
    found = () if named or loader is None else (inner_dataset(loader).get('metainfo') or {}).get('classes')
    return {'meta': {'dataset_meta': {'classes': checkpoint.classes or found}}}


def _swap(cfg: Config, options: RunOptions, typed: dict[str, Any], notes: list[str]) -> RunKind:
    """Set the backbone, and return what distinguishes the run from others."""
    before = cfg.get('model', {}).get('backbone', {}).get('type')
    set_backbone(cfg, options.backbone, typed, notes.append)
    after = cfg.get('model', {}).get('backbone', {}).get('type')
    data = options.data
    if data is None and (loaders := [*loaders_of(cfg).values()]):
        data = inner_dataset(loaders[-1]).get('data_root')
    return RunKind(
        Path(cfg.filename or 'mmcnn').stem,
        None if after == before else str(after).removeprefix('mmcnn.'),
        'demo' if data == 'demo' else str(Path(data or 'data').resolve()),
    )


def _work_dir(cfg: Config, options: RunOptions, kind: RunKind, notes: list[str]) -> Path:
    if isinstance(options, TrainOptions):
        return work_dirs.for_training(
            kind,
            options.work_dir or cfg.get('work_dir'),
            options.resume or bool(cfg.get('resume')),
            cfg.filename,
            cfg.get('model', {}).get('backbone', {}).get('type', ''),
            notes.append,
        )
    source = Path(options.checkpoint)
    of = Path(cfg.filename).stem if cfg.filename else source.resolve().parent.name
    return work_dirs.for_test(f'{of}-{source.stem}', options.work_dir)


def _set_epochs(cfg: Config, epochs: int | None) -> None:
    """Set the length of the run, with about ten validations."""
    if epochs is not None:
        cfg.train_cfg.max_epochs = epochs
        cfg.train_cfg.val_interval = max(1, epochs // 10)
