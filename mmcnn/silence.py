"""Silence other libraries for a while."""

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def silenced(*, prints: bool = False) -> Iterator[None]:
    """Drop log records up to the level of warnings inside the ``with`` block, from every logger.

    Errors are still logged, and exceptions pass through.

    Args:
        prints: Drop what is printed to stdout, too. Default: False.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()) if prints else contextlib.nullcontext():
            yield
    finally:
        logging.disable(before)
