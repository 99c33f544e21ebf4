"""A model in a repository of NVIDIA's Triton Inference Server: config.pbtxt and the folder of its only version.

The fields are those of "Model Configuration" in Triton's user guide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmcnn.errors import UsageError
from mmcnn.runtime.metadata import Metadata

#: Triton's names of ONNX's types.
TYPES = dict(FLOAT='TYPE_FP32', FLOAT16='TYPE_FP16', UINT8='TYPE_UINT8', INT32='TYPE_INT32', INT64='TYPE_INT64')
#: Maximum number of images that Triton may batch if the file accepts any number.
MAX_BATCH = 8
LABELS = 'labels.txt'


def check_labels(classes: Sequence[str]) -> None:
    """Raise UsageError if a class name is empty or has a line break, which labels.txt cannot contain."""
    for each in classes:
        if each.splitlines() != [each]:
            raise UsageError(f'{LABELS} has one class per line, but {each!r} is not a single line')


def write_config(path: Path, name: str, metadata: Metadata) -> None:
    """Write config.pbtxt, and labels.txt with the class names, next to a model's folder.

    Args:
        path: the model, NAME/1/model.onnx.
        name: name of the model in the repository.
        metadata: its metadata.
    """
    folder = path.parent.parent
    if metadata.classes:
        (folder / LABELS).write_text('\n'.join(metadata.classes) + '\n', encoding='utf-8')
    (folder / 'config.pbtxt').write_text(config_of(path, name, metadata), encoding='utf-8')


def config_of(path: Path, name: str, metadata: Metadata) -> str:
    """Return the text of config.pbtxt of an ONNX file; its inputs and outputs are read from the file itself."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    batched = metadata.input.batch is None
    layout = f', layout {metadata.layout}' if metadata.form == 'nms' else ''
    about = [f'{metadata.network}: {metadata.task}, form {metadata.form}{layout}.']
    if metadata.form == 'logits' and metadata.classes:
        about.append(f'The classification extension of clients names the classes by {LABELS}.')
    elif metadata.classes:
        about.append(f'Label i is the class on line i + 1 of {LABELS}.')
    about.append('The preprocessing of images is described in the metadata of the file, entry mmcnn.')
    lines = [
        *(f'# {sentence}' for sentence in about),
        f'name: {json.dumps(name, ensure_ascii=False)}',
        'platform: "onnxruntime_onnx"',
        f'max_batch_size: {MAX_BATCH if batched else 0}',
    ]
    for kind, values in (('input', graph.input), ('output', graph.output)):
        for value in values:
            lines += _tensor(kind, value, batched, metadata)
    if batched:
        lines.append('dynamic_batching { }')
    return '\n'.join(lines) + '\n'


def _tensor(kind: str, value, batched: bool, metadata: Metadata) -> list[str]:
    """Return the lines of an input or output; Triton omits the batch axis."""
    import onnx

    of = value.type.tensor_type
    dims = [axis.dim_value if axis.HasField('dim_value') else -1 for axis in of.shape.dim][int(batched):]  # fmt: skip
    lines = [
        f'{kind} {{',
        f'  name: "{value.name}"',
        f'  data_type: {TYPES[onnx.TensorProto.DataType.Name(of.elem_type)]}',
        f'  dims: {dims or [1]}',
    ]
    if not dims:  # one number for each image, for which Triton has no shape
        lines.append('  reshape { shape: [ ] }')
    if kind == 'output' and metadata.form == 'logits' and metadata.classes:
        lines.append(f'  label_filename: "{LABELS}"')
    return [*lines, '}']
