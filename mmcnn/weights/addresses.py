"""Published weights by name: ``mmcnn://vgg16/keras``, ``torchvision://resnet50``, ``open-mmlab://darknet53``, https."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
from pathlib import Path
from typing import NamedTuple

import mmengine
import torch
from mmengine.dist import barrier, get_dist_info

from mmcnn.compat.moved import renamed_attribute
from mmcnn.errors import CheckpointError
from mmcnn.nearest import nearest
from mmcnn.weights.sources import catalog
from mmcnn.weights.sources.published import Published

#: Scheme -> MMEngine's list of names and addresses, and the library whose layer names the files have.
SCHEMES = {
    'torchvision': ('torchvision_0.12.json', 'torchvision'),
    'open-mmlab': ('openmmlab.json', 'mmdet'),
}


class Address(NamedTuple):
    """The location of a file, and what is known about it."""

    urls: tuple[str, ...]  # the same file at each
    source: str | None  # whose layer names it has; None: detected when the file is read
    published: Published | None  # its entry in the catalog

    world = renamed_attribute('world', 'source')


class Download(NamedTuple):
    """A downloaded file, and what is known about it."""

    path: Path
    source: str | None
    published: Published | None

    world = renamed_attribute('world', 'source')


def is_address(checkpoint: str) -> bool:
    """Return whether a checkpoint is given as an address rather than a path."""
    return '://' in checkpoint


def resolve(address: str) -> Address:
    """Return the location of an address's file, without accessing it.

    Raises:
        CheckpointError: the scheme or name is unknown; the message lists the known or the nearest ones.
    """
    scheme, _, name = address.partition('://')
    if scheme in ('http', 'https', 'file'):
        return Address((address,), None, None)
    if address.startswith(catalog.SCHEME):
        published = catalog.find(name)
        return Address(published.urls, published.library, published)
    if scheme not in SCHEMES:
        known = ', '.join((catalog.SCHEME, *(f'{each}://' for each in SCHEMES), 'https://'))
        raise CheckpointError(f"{address}: unknown scheme '{scheme}://'; known: {known}")
    file, source = SCHEMES[scheme]
    listed = json.loads((Path(mmengine.__file__).parent / 'hub' / file).read_text())
    names = {each: url for each, url in listed.items() if url}  # null where the library has no weights
    if name not in names:
        raise CheckpointError(f'{address}: unknown name; {nearest(name, names, prefix=f"{scheme}://")}')
    url = names[name]
    return Address((url,), source, next((each for each in catalog.CATALOG.values() if url in each.urls), None))


def fetch(address: str) -> Download:
    """Download a file into torch's cache (``$TORCH_HOME/hub/checkpoints``), unless it is there.

    Downloads are verified against the hash in the catalog or in the file's name (``resnet50-0676ba61.pth``) and deleted
    if they do not match. The first process of a machine downloads, the others wait.

    Raises:
        CheckpointError: the name is unknown, or the download fails.
    """
    urls, source, published = resolve(address)
    name = published.file if published else urls[0].rpartition('/')[2]
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    if get_dist_info()[0] == 0 and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(address, urls, path, published)
    barrier()
    return Download(path, source, published)


def _download(address: str, urls: tuple[str, ...], path: Path, published: Published | None) -> None:
    """Download from the first address that provides the right file."""
    if published:
        sha256, md5 = published.sha256 or published.hash_prefix, published.md5
    else:
        hashed = re.search(r'-([a-f0-9]{8,})\.', path.name)
        sha256, md5 = hashed[1] if hashed else '', ''
    unchecked, failures = path.with_name(f'{path.name}.unchecked'), []
    for url in urls:
        try:
            torch.hub.download_url_to_file(url, str(unchecked), hash_prefix=sha256 or None, progress=False)
            _check_md5(unchecked, md5)
            unchecked.replace(path)
            return
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            failures.append(f'{url}: {error}')
        finally:
            unchecked.unlink(missing_ok=True)
    raise CheckpointError(f'{address} cannot be downloaded: {"; ".join(failures)}')


def _check_md5(path: Path, expected: str) -> None:
    with path.open('rb') as file:
        found = hashlib.file_digest(file, 'md5').hexdigest() if expected else ''
    if found != expected:
        raise RuntimeError(f'invalid hash value (expected MD5 "{expected}", got "{found}")')
