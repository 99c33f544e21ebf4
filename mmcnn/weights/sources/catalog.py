"""The catalog of published weights: their addresses, and what their files do not tell. One table per publisher."""

from __future__ import annotations

import textwrap
import warnings

from mmcnn.errors import CheckpointError
from mmcnn.nearest import nearest
from mmcnn.weights.sources import darknet, keras, mmdet, timm, torchvision, ultralytics
from mmcnn.weights.sources.published import SCHEME, Published, activation_name

__all__ = ['CATALOG', 'SCHEME', 'Published', 'activation_name', 'as_text', 'find', 'of_file', 'of_model']

#: Name -> entry, sorted.
CATALOG: dict[str, Published] = {
    entry.name: entry
    for entry in sorted(
        [
            *darknet.ENTRIES,
            *keras.ENTRIES,
            *mmdet.ENTRIES,
            *timm.ENTRIES,
            *torchvision.ENTRIES,
            *ultralytics.ENTRIES,
        ],
        key=lambda entry: entry.name,
    )
}

#: Old names of models -> new names. The old ones work for one release, with a warning.
RENAMED = {
    'faster_rcnn_resnet-fpn': 'faster_rcnn_resnet50_fpn',
    'faster_rcnn_resnet-fpn_2x': 'faster_rcnn_resnet50_fpn_2x',
}

NOTES = (
    'Write mmcnn://NAME as a checkpoint. Licence: the licence of the weights as stated by the publisher, empty if none '
    "is; weights trained on ImageNet may also be subject to that data set's terms (non-commercial research). Hash: "
    'downloads are verified against it.'
)


def find(name: str) -> Published:
    """Return an entry by its name, without ``mmcnn://``.

    Raises:
        CheckpointError: there is none; the message lists the nearest names.
    """
    model, slash, version = name.partition('/')
    if model in RENAMED:
        name = RENAMED[model] + slash + version
        warnings.warn(f'{SCHEME}{model} is now called {SCHEME}{RENAMED[model]}', DeprecationWarning, stacklevel=2)
    if name not in CATALOG:
        raise CheckpointError(
            f"there are no published weights named '{SCHEME}{name}'; {nearest(name, CATALOG, SCHEME)}"
        )
    return CATALOG[name]


def of_model(model: str) -> list[Published]:
    """Return the entries for a backbone row or a config: ``of_model('cspdarknet-s')`` includes YOLOv5s's files."""
    return [entry for entry in CATALOG.values() if model in (entry.model, entry.backbone)]


def of_file(name: str, sha256: str) -> Published | None:
    """Return the entry of a file by its name and hash; None if there is none, or its content differs."""
    for entry in CATALOG.values():
        stated = entry.sha256 or entry.hash_prefix
        if name in (entry.file, entry.urls[0].rpartition('/')[2]) and stated and sha256.startswith(stated):
            return entry
    return None


def as_text(only: str = '') -> str:
    """Return the table for a terminal: a line for each file, then its address, and a warning if there is one.

    Args:
        only: a model, a publisher's name or a part of a name.

    Raises:
        CheckpointError: nothing matches; the message lists the nearest models.
    """
    entries = [entry for entry in CATALOG.values() if only in (entry.backbone, entry.library) or only in entry.name]
    if not entries:
        models = {
            model for entry in CATALOG.values() for model in (entry.model, entry.backbone, entry.library) if model
        }
        raise CheckpointError(f"there are no published weights for '{only}'; {nearest(only, models)}")
    head = ('name', 'source', 'holds', 'image', 'published', 'trained on', 'licence', 'hash')
    rows = [head, *map(_cells, entries)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ['  '.join(f'{cell:<{width}}' for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    text = lines[:1]
    for entry, line in zip(entries, lines[1:], strict=True):
        text += [line, *(f'    {url}' for url in entry.urls)]
        if entry.warning:
            text.append(f'    WARNING: {entry.warning}')
    return '\n'.join([*text, '', textwrap.fill(NOTES, 120)])


def _cells(entry: Published) -> tuple[str, ...]:
    kind = next((kind for kind in ('sha256', 'hash_prefix', 'md5') if getattr(entry, kind)), '')
    return (
        entry.name,
        entry.library,
        'all' if entry.top else 'trunk',
        f'{entry.image.size} {entry.image.order}',
        entry.metric,
        entry.trained_on,
        entry.licence,
        kind.replace('hash_prefix', 'sha256[:8]'),
    )
