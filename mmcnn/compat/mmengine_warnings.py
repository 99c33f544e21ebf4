"""Silences MMEngine's deprecation warnings about calls that it makes itself.

Its CheckpointHook creates a ``FileClient``, which creates a ``HardDiskBackend``; both warn in every run, and users
cannot change it (mmengine 0.10.7, ``hooks/checkpoint_hook.py`` and ``fileio/file_client.py``; the class became
deprecated with https://github.com/open-mmlab/mmengine/pull/533). Its MLflowVisBackend asks whether a server is
running for every address, even that of a file.
"""

from __future__ import annotations

from logging import LogRecord

_OWN = (
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Please make sure that the mlflow',
)


def concerns_users(record: LogRecord) -> bool:
    """Return whether a record is none of these warnings; a filter for handlers of a log."""
    return not record.getMessage().startswith(_OWN)
