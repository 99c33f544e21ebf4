"""Runs on an exported network: the options that the file already fixes."""

from __future__ import annotations

from mmcnn.errors import UsageError
from mmcnn.runs.options import Options

#: Options that would change the network or where PyTorch computes it, and why they have no meaning here.
WITHOUT_MEANING = {
    'config': 'the network is in the file',
    'backbone': 'the network is in the file',
    'cfg_options': 'there is no config',
    'imports': 'the network is in the file',
    'img_size': 'the file says which sizes it takes; mmcnn export --img-size makes one for another',
    'device': "it runs on the CPU; mmcnn.runtime.Detector(provider='cuda') runs it elsewhere",
    'workers': 'images are read as they are needed',
    'launcher': 'one process runs it',
}
#: A checkpoint's names, which a file has inside.
NAMES = 'the names of the classes are in the file'


def refuse_options(options: Options, without_meaning: dict[str, str]) -> None:
    """Refuse options that an exported network does not heed.

    Args:
        options: of an inference or an evaluation; ``checkpoint`` is the file.
        without_meaning: name -> why it has none.

    Raises:
        UsageError: names the option, the value and the reason.
    """
    fields = options.__dataclass_fields__
    for name, reason in without_meaning.items():
        value = getattr(options, name, None)
        if name in fields and value is not None and value not in ({}, fields[name].default):
            raise UsageError(f'{name}={value} has no meaning for {options.checkpoint}, an exported network: {reason}')
