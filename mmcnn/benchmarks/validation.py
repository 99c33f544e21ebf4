"""The parts of a validation on the CPU, and their share of an epoch, ours and MMDetection's in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmcnn.benchmarks.comparison import Comparison, Say
from mmcnn.benchmarks.divided import NETWORK
from mmcnn.benchmarks.options import ValidationOptions
from mmcnn.benchmarks.pipeline import data_folder
from mmcnn.benchmarks.trainings import (
    OURS,
    PEER,
    comparison,
    measure_in_turn,
    our_training,
    peer_training,
)
from mmcnn.benchmarks.validation_parts import (
    BATCHES,
    BOXES,
    CHECKPOINTS,
    EPOCH,
    PARTS,
    STATISTICS,
    ValidatedMMEngineLoop,
    ValidatedTrainLoop,
)
from mmcnn.runs.data import demo_data
from mmcnn.runs.process_state import kept_process_state

#: Length of the demo's schedule, which is not run to its end.
EPOCHS = 30
#: Number of last epochs in which YOLOX trains without mosaics.
WITHOUT_MOSAICS = 15
#: The row of batches, letterboxes, boxes and NMS together.
AROUND_NETWORK = 'batches, boxes and NMS'


def measure(options: ValidationOptions, say: Say) -> list[Comparison]:
    """Measure elapsed milliseconds of epochs, and of the parts of the validation after each, on all threads.

    An epoch is its steps, with the loader and all hooks. BatchNorm's statistics, which are measured again before an
    early validation, and checkpoints have rows of their own. MMDetection's YOLOX-tiny runs in float32 in MMEngine's
    loop, with its own hooks, on the same data and in the same process.

    Raises:
        MmcnnError: as in a training; or the config's detector has more than one stage.
    """
    folder = demo_data() if options.data == 'demo' else options.data
    epochs = max(EPOCHS, options.runs + 1 + WITHOUT_MOSAICS)
    with tempfile.TemporaryDirectory() as work, data_folder(folder) as data, kept_process_state():
        runners = {
            PEER: peer_training(options, data, Path(work, 'peer'), ValidatedMMEngineLoop, epochs, validates=True),
            OURS: our_training(options, data, Path(work, 'ours'), ValidatedTrainLoop, epochs, validates=True),
        }
        rounds = measure_in_turn(runners, lambda division: division.measure, options.runs)
        say(f'an epoch has {data.num_train} images, a validation {data.num_val}')
    return comparisons(rounds)


def comparisons(rounds: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Comparison]:
    """Return the comparisons of the shares of an epoch, of the whole validation and of each part.

    Args:
        rounds: for each side the seconds of the epoch and of the parts in each round.
    """

    def seconds(*parts: str) -> dict[str, list[float]]:
        return {name: [sum(each[part] for part in parts) for each in values] for name, values in rounds.items()}

    def shares(*parts: str) -> dict[str, list[float]]:
        of_epoch = seconds(EPOCH)
        return {
            name: [a / b for a, b in zip(values, of_epoch[name], strict=True)]
            for name, values in seconds(*parts).items()
        }

    rows = {'validation': PARTS, AROUND_NETWORK: (BATCHES, BOXES), NETWORK: (NETWORK,)}
    found = [comparison(f'{row}, share of an epoch', '%', shares(*parts), 100) for row, parts in rows.items()]
    each = {part: (part,) for part in (*PARTS, STATISTICS, CHECKPOINTS)}
    rows = {EPOCH: (EPOCH,), 'validation': PARTS, **each}
    found += [comparison(row, 'ms', seconds(*parts), 1e3) for row, parts in rows.items()]
    return [each for each in found if each.figures]
