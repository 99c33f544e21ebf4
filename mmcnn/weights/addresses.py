"""Published weights by name: ``torchvision://resnet50``, ``open-mmlab://darknet53``, https://."""

from __future__ import annotations

import json
import re
import urllib.error
from pathlib import Path

import mmengine
import torch
from mmengine.dist import barrier, get_dist_info

from mmcnn.registry import nearest
from mmcnn.weights import mmdet, torchvision
from mmcnn.weights.checkpoint import CheckpointError
from mmcnn.weights.translate import World

#: Scheme -> MMEngine's list of names and addresses, and whose names the layers have.
SCHEMES: dict[str, tuple[str, World]] = {
    'torchvision': ('torchvision_0.12.json', torchvision.WORLD),
    'open-mmlab': ('openmmlab.json', mmdet.WORLD),
}


def is_address(checkpoint: str) -> bool:
    """Whether a checkpoint is named by an address and not by a path."""
    return '://' in checkpoint


def resolve(address: str) -> tuple[str, World | None]:
    """The https address of a file, and whose layer names it has (None: ours).

    Raises:
        CheckpointError: an unknown scheme or name; the known or nearest are listed.
    """
    scheme, _, name = address.partition('://')
    if scheme in ('http', 'https', 'file'):
        return address, None
    if scheme not in SCHEMES:
        known = ', '.join(f'{each}://' for each in (*SCHEMES, 'https'))
        raise CheckpointError(f"{address}: there is no '{scheme}://'; known: {known}")
    names = json.loads((Path(mmengine.__file__).parent / 'hub' / SCHEMES[scheme][0]).read_text())
    if name not in names:
        raise CheckpointError(f'{address}: no such name; {nearest(name, names, prefix=f"{scheme}://")}')
    return names[name], SCHEMES[scheme][1]


def fetch(address: str) -> tuple[Path, World | None]:
    """Downloads a file into torch's cache (``$TORCH_HOME/hub/checkpoints``), unless it is there.

    A file name with a hash in it (``resnet50-0676ba61.pth``) is held to it. The first process of a machine downloads,
    the others wait.

    Returns:
        where the file is, and whose layer names it has (None: ours).

    Raises:
        CheckpointError: an unknown name, or the download fails.
    """
    url, world = resolve(address)
    path = Path(torch.hub.get_dir()) / 'checkpoints' / url.rpartition('/')[2]
    if get_dist_info()[0] == 0 and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        hashed = re.search(r'-([a-f0-9]{8,})\.', path.name)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=hashed and hashed[1], progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise CheckpointError(f'{address} cannot be downloaded from {url}: {error}') from error
    barrier()
    return path, world
