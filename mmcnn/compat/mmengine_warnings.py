"""Silences MMEngine's deprecation warnings about calls that it makes itself.

Its CheckpointHook makes a ``FileClient``, and that a ``HardDiskBackend``; both warn in every run, and nobody who trains
can change it (mmengine 0.10.7, ``hooks/checkpoint_hook.py`` and ``fileio/file_client.py``; the class became
deprecated with https://github.com/open-mmlab/mmengine/pull/533). Its MLflowVisBackend asks whether a server is
running for every address, that of a file, too.
"""

from __future__ import annotations

from logging import LogRecord

_OWN = (
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Please make sure that the mlflow',
)


def concerns_users(record: LogRecord) -> bool:
    """Return a filter for handlers of a log: whether a record is none of these warnings."""
    return not record.getMessage().startswith(_OWN)
