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

#: Old names of models -> the new ones. The old ones are found for one release, with a warning.
RENAMED = {
    'faster_rcnn_resnet-fpn': 'faster_rcnn_resnet50_fpn',
    'faster_rcnn_resnet-fpn_2x': 'faster_rcnn_resnet50_fpn_2x',
}

NOTES = (
    'Write mmcnn://NAME as a checkpoint. Licence: as the publisher states it of the weights, empty where it does not; '
    "weights trained on ImageNet may be under that data set's terms, too (non-commercial research). Hash: what a "
    'download is held to.'
)


def find(name: str) -> Published:
    """Return an entry by its name, without ``mmcnn://``.

    Raises:
        CheckpointError: there is none; the nearest names are listed.
    """
    model, slash, version = name.partition('/')
    if model in RENAMED:
        name = RENAMED[model] + slash + version
        warnings.warn(f'{SCHEME}{model} is now called {SCHEME}{RENAMED[model]}', DeprecationWarning, stacklevel=2)
    if name not in CATALOG:
        raise CheckpointError(f"no published weights are called '{SCHEME}{name}'; {nearest(name, CATALOG, SCHEME)}")
    return CATALOG[name]


def of_model(model: str) -> list[Published]:
    """Return what fits a backbone row or a config: ``of_model('cspdarknet-s')`` gives YOLOv5s's files, too."""
    return [entry for entry in CATALOG.values() if model in (entry.model, entry.backbone)]


def of_file(name: str, sha256: str) -> Published | None:
    """Return the entry of a file by its name and hash; None: it has none, or another content than the catalog's."""
    for entry in CATALOG.values():
        stated = entry.sha256 or entry.hash_prefix
        if name in (entry.file, entry.urls[0].rpartition('/')[2]) and stated and sha256.startswith(stated):
            return entry
    return None


def as_text(only: str = '') -> str:
    """Return the table for a terminal: a line for each file, below it where it is, and a warning if there is one.

    Args:
        only: a model, a publisher's name or a part of the names.

    Raises:
        CheckpointError: nothing is listed for it; the nearest models are named.
    """
    entries = [entry for entry in CATALOG.values() if only in (entry.backbone, entry.library) or only in entry.name]
    if not entries:
        models = {
            model for entry in CATALOG.values() for model in (entry.model, entry.backbone, entry.library) if model
        }
        raise CheckpointError(f"no published weights are known for '{only}'; {nearest(only, models)}")
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
