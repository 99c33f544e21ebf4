"""One JSON file, completely rewritten after every result, so that a time limit loses nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import UsageError

#: Version of the file; increased when entries change their meaning.
VERSION = 1
#: How a measurement can end; without one of these it was interrupted.
DONE, FAILED, LEFT_OUT = 'done', 'failed', 'left out'


class Results:
    """The results of a check, by stage and measurement.

    Args:
        path: path of the file, whose folder must exist.
        about: facts about the call.

    Raises:
        UsageError: the file cannot be written; raised before anything is measured.
    """

    def __init__(self, path: str | Path, about: dict[str, Any]) -> None:
        self.path = Path(path)
        self.content: dict[str, Any] = {'version': VERSION, 'about': about, 'stages': {}}
        try:
            self._write()
        except OSError as error:
            raise UsageError(f'out={path} cannot be written: {error.strerror or error}') from error

    def about(self, **values: Any) -> None:
        """Add facts about the call."""
        self.content['about'].update(values)
        self._write()

    def add(self, stage: str, name: str, **values: Any) -> None:
        """Add values to a measurement."""
        self.content['stages'].setdefault(stage, {}).setdefault(name, {}).update(values)
        self._write()

    def __getitem__(self, stage: str) -> dict[str, dict[str, Any]]:
        return self.content['stages'].get(stage, {})

    def _write(self) -> None:
        text = json.dumps(_plain(self.content), indent=1, allow_nan=False)
        write_whole(self.path, lambda file: file.write(text.encode()))


def read_results(path: str | Path) -> dict[str, Any]:
    """Return the content of a file of results.

    Raises:
        UsageError: the file does not exist or is not a file of results.
    """
    try:
        content = json.loads(Path(path).read_text())
    except OSError as error:
        raise UsageError(f'{path} cannot be read: {error.strerror}') from error
    except ValueError as error:
        raise UsageError(f'{path} is not a results file of gpu_check: {error}') from error
    if not isinstance(content, dict) or content.get('version') != VERSION or 'stages' not in content:
        raise UsageError(f'{path} is not a results file of gpu_check, version {VERSION}')
    return content


def _plain(value: Any) -> Any:
    """Return a value for JSON, which has no infinity and no NaN: they become texts."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
