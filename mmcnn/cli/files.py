"""Generated sections between marks in Markdown files."""

from __future__ import annotations

from pathlib import Path

from mmcnn.errors import UsageError


def write_between_marks(path: str, mark: str, text: str) -> None:
    """Replace the text of a Markdown file between ``<!-- MARK -->`` and ``<!-- end of MARK -->``.

    Raises:
        UsageError: the file does not exist or has no such marks.
    """
    begin, end = f'<!-- {mark} -->', f'<!-- end of {mark} -->'
    content = Path(path).read_text(encoding='utf-8') if Path(path).is_file() else ''
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(f'{path} is not a file with the marks {begin} and {end}')
    Path(path).write_text(f'{before}{begin}\n\n{text}\n\n{end}{after}', encoding='utf-8')
