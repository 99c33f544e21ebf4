"""The errors of mmcnn; each message says what is wrong and how to fix it.

All derive from :class:`MmcnnError`, so that one ``except`` catches them, and from the matching built-in exception.
Faults in the program itself are not among them and keep their traceback.
"""

from __future__ import annotations

import copyreg
from typing import Any


class MmcnnError(Exception):
    """Base class of all errors that mmcnn raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with the message alone, but some constructors require more.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__


class DependencyError(MmcnnError, ImportError):
    """A package that mmcnn needs is missing or too old; the message has the command that installs it."""


class UsageError(MmcnnError, ValueError):
    """An argument, an option or a config entry is invalid; the message says which value would be valid."""


class MissingLevelError(UsageError):
    """A backbone does not have a requested level.

    Attributes:
        level: the first missing level.
    """

    def __init__(self, message: str, level: int) -> None:
        super().__init__(message)
        self.level = level


class DataError(MmcnnError, ValueError):
    """The data cannot be used; the message says where and why.

    Attributes:
        path: the file at fault, if it is a single one.
    """

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class CheckpointError(MmcnnError, ValueError):
    """A file of weights is missing, unreadable or unsafe, does not fit the model, or cannot be written."""


class ExportError(MmcnnError, RuntimeError):
    """A network cannot be exported, or the file's output would differ from PyTorch's."""


class TrainingError(MmcnnError, RuntimeError):
    """A training cannot continue, for a reason outside the program."""


class StoppedError(MmcnnError):
    """A run was stopped early by a signal; its checkpoint is complete.

    Attributes:
        signum: the number of the signal.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum
