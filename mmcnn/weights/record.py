"""The record inside a converted file: the origin of its weights and what tensors do not show."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmcnn.compat.moved import renamed_arguments, renamed_attribute
from mmcnn.errors import CheckpointError
from mmcnn.image_format import in_words
from mmcnn.models.families import backbone_families
from mmcnn.version import __version__
from mmcnn.weights.recorded_config import recorded_config
from mmcnn.weights.sources.published import Published, activation_name

#: Entry in a checkpoint's ``meta``, and in the metadata of a safetensors file (as JSON).
KEY = 'mmcnn'
_LONGEST = 1_000  # characters of one entry: a record is short
_SHOWN = ('model', 'activation', 'norm_eps')  # entries that appear in sentences


@renamed_arguments(world='library')
@dataclass(frozen=True)
class Record:
    """The origin of weights and what tensors do not show, without which a network would give wrong results.

    Attributes:
        model: our backbone's row, or the name of a config.
        activation: activation of the trained network, ``LeakyReLU(0.1)``.
        norm_eps: epsilon of its BatchNorm.
        images: normalisation of the training images, in the words of :func:`~mmcnn.image_format.in_words`.
        source: name of the file that was converted, or the address of a published one.
        sha256: hash of that file.
        format: its format: 'pytorch', 'safetensors', 'keras', 'darknet', 'ultralytics'.
        library: library whose layer names it had: 'torchvision', 'timm', ...
        licence: licence of the weights according to their publisher; empty: unknown.
        date: date on which the record was written.
        version: of mmcnn.
    """

    model: str
    activation: str = ''
    norm_eps: str = ''
    images: str = ''
    source: str = ''
    sha256: str = ''
    format: str = ''
    library: str = ''
    licence: str = ''
    date: str = ''
    version: str = __version__

    world = renamed_attribute('world', 'library')

    def refuse_other(self, model: nn.Module, path: str | Path) -> None:
        """Raise CheckpointError if the model's activation or norm differs from what the weights were trained with."""
        own = describe(model)
        for what, theirs, ours in (
            ('activation', self.activation, own.activation),
            ('eps of the norm', self.norm_eps, own.norm_eps),
        ):
            if theirs and ours and theirs != ours:
                raise CheckpointError(
                    f'{path} holds weights of {self.model}, trained with the {what} {theirs}, but {own.model} has '
                    f'{ours}: they would load but give wrong results'
                )


def describe(model: nn.Module, name: str = '') -> Record:
    """Return the record of one of our models: a backbone, a classifier or a detector. ``name`` is that of a config."""
    backbone = getattr(model, 'backbone', model)
    variant = getattr(backbone, 'variant', '')
    activation = norm_eps = images = ''
    if variant:
        activation = activation_name(backbone.arch.act)
        norm_eps = f'{(backbone.norm_cfg or {}).get("eps", "")}'
        images = in_words(backbone.arch.image)
    return Record(
        model=name or variant or type(backbone).__name__,
        activation=activation,
        norm_eps=norm_eps,
        images=images,
        date=date.today().isoformat(),
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def to_json(record: Record) -> str:
    """Return a record as JSON text for :func:`from_json`."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False)


def from_json(text: str, path: str | Path) -> Record:
    """Return the record in a JSON text; raise CheckpointError if it is not one."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is only a ValueError
        raise CheckpointError(f'{path}: its record is not valid JSON') from error
    return from_dict(content, path)


def from_dict(content: Any, path: str | Path) -> Record:
    """Return the record in a dict; raise CheckpointError if it is not one. Entries of later versions are ignored."""
    fields = [field.name for field in dataclasses.fields(Record)]
    if not isinstance(content, dict) or 'model' not in content:
        raise CheckpointError(f'{path}: its record has no model')
    if 'world' in content:  # its name in release 0.1
        content = {'library': content['world'], **content}
    known = {key: content[key] for key in fields if key in content}
    for key, value in known.items():
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise CheckpointError(f'{path}: {key} of its record is not text of at most {_LONGEST} characters')
        if key in _SHOWN and not value.isprintable():
            raise CheckpointError(f'{path}: {key} of its record is not a single line of text')
    return Record(**known)


def record_of(checkpoint: dict, path: str | Path) -> Record | None:
    """Return the record in a checkpoint; for a run of ours, what its config says. None if the file has nothing.

    Raises:
        CheckpointError: the record is invalid.
    """
    meta = checkpoint.get('meta') if 'state_dict' in checkpoint else None
    if not isinstance(meta, dict):
        return None
    if KEY in meta:
        return from_dict(meta[KEY], path)
    with contextlib.suppress(CheckpointError, AttributeError, KeyError, TypeError):
        backbone = recorded_config(checkpoint, str(path)).model.backbone
        name = backbone.get('variant') or backbone.type.removeprefix('mmcnn.')
        if name in backbone_families() and not backbone.get('arch') and not backbone.get('norm_cfg'):
            return of_row(name)
    return None


def of_published(published: Published) -> Record:
    """Return a record of what the catalog knows about a file."""
    return Record(
        model=published.model,
        activation=published.activation,
        norm_eps='' if published.norm_eps is None else f'{published.norm_eps}',
        images=in_words(published.image),
        source=published.urls[0],
        library=published.library,
        licence=published.licence,
    )


def of_row(name: str) -> Record:
    """Return a record of how a network of the zoo is trained."""
    with torch.device('meta'):
        return describe(backbone_families()[name](variant=name))
