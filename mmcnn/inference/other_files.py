"""Files among images that are not images: counted by kind, because naming each one would hide what matters."""

from __future__ import annotations

import mimetypes
import os
from collections import Counter
from pathlib import Path

from mmcnn.image_file import IMAGE_SUFFIXES
from mmcnn.inference import video


class OtherFiles:
    """Counts the files of a folder that obviously are not images, instead of naming each.

    Args:
        where: the folder or pattern, for the sentence.
    """

    # Without those that the system adds, so that the same files are listed everywhere.
    _kinds = mimetypes.MimeTypes()

    def __init__(self, where: str | os.PathLike) -> None:
        self.where = where
        self._counts: Counter[str] = Counter()

    def is_plain(self, path: Path) -> bool:
        """Return whether a file's name shows that it is not an image or video: hidden, text, archive; it is counted."""
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES or suffix in video.SUFFIXES:
            kind = 'hidden' if path.name.startswith('._') else None  # macOS stores attributes in these
        elif path.name.startswith('.'):
            kind = 'hidden'
        else:
            guess = self._kinds.guess_type(f'x{suffix}')[0]
            kind = suffix if guess and not guess.startswith(('image/', 'video/')) else None
        if kind is not None:
            self._counts[kind] += 1
        return kind is not None

    def lines(self) -> list[str]:
        """Return one sentence, if there were any."""
        total = self._counts.total()
        if not total:
            return []
        kinds = ', '.join(f'{count} {kind}' for kind, count in sorted(self._counts.items()))
        return [f'{total} {"file" if total == 1 else "files"} in {self.where} {"is" if total == 1 else "are"} neither '
                f'an image nor a video: {kinds}']  # fmt: skip
