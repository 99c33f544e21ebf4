"""Runs on an exported network: options that the file already fixes."""

from __future__ import annotations

from mmcnn.errors import UsageError
from mmcnn.runs.options import Options

#: Options that would change the network or PyTorch's device, and the reasons why they have no effect here.
WITHOUT_MEANING = {
    'config': 'the network is in the file',
    'backbone': 'the network is in the file',
    'cfg_options': 'there is no config',
    'imports': 'the network is in the file',
    'img_size': 'the file determines its input sizes; for another size, use mmcnn export --img-size',
    'amp': 'the file has its precision; for another one, use mmcnn export --precision',
    'device': "it runs on the CPU; for a GPU, use mmcnn.runtime.Detector(provider='cuda')",
    'workers': 'images are read when they are needed',
    'launcher': 'it runs in one process',
}
#: Reason for class names, which the file contains.
NAMES = 'the class names are in the file'


def refuse_options(options: Options, without_meaning: dict[str, str]) -> None:
    """Refuse options that have no effect on an exported network.

    Args:
        options: options of an inference or an evaluation; ``checkpoint`` is the file.
        without_meaning: name -> the reason why it has no effect.

    Raises:
        UsageError: names the option, the value and the reason.
    """
    fields = options.__dataclass_fields__
    for name, reason in without_meaning.items():
        value = getattr(options, name, None)
        is_off = value is False or value == 'off'  # not 0, which is a GPU
        if name in fields and not is_off and value not in (None, {}, fields[name].default):
            raise UsageError(f'{name}={value} has no effect on {options.checkpoint}, an exported network: {reason}')
