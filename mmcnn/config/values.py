"""Parsing of values from the command line: the text after ``=`` in ``--cfg-options``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from mmcnn.errors import UsageError

_CLOSES = {'[': ']', '(': ')', '{': '}'}
_QUOTES = ('"', "'")
_WORDS = {'true': True, 'false': False, 'True': True, 'False': False, 'None': None}
#: Words before the bracket of a dict in a config; any other word before a bracket is part of a text.
_DICT = re.compile(r'dict\s*\(')


def parse_value(text: str) -> Any:
    """Return a value, written as a literal of Python or in a short form of MMEngine.

    ``1e-3``, ``None`` and ``true``; ``1,2``, ``[a, 'b, c']`` and ``(640,640)``, where words need no quotes and a single
    entry in round brackets is a tuple, too; ``dict(type='AdamW', lr=0.001)`` and ``{'type': 'AdamW'}``, nested to any
    depth. Quoted text is kept literally, and so is anything else: ``a/b (1).py``, ``key=value``.

    Raises:
        UsageError: brackets or quotes do not match, or an entry of a dict is malformed; the message says which.
    """
    text = text.strip()
    if opened := _opening(text):
        return _bracketed(text, *opened)
    if text.startswith(_QUOTES):
        end = _end_of_quotes(text, 0)
        if end == len(text):
            return _unquoted(text)
    pieces = list(_pieces(text, ','))
    return [parse_value(piece) for piece in pieces if piece.strip()] if len(pieces) > 1 else _plain(text)


def _opening(text: str) -> tuple[str, int] | None:
    """Return the bracket at the start of a text and its position, if its partner is the last character."""
    called = _DICT.match(text)
    start = called.end() - 1 if called else 0
    if not text or text[start] not in _CLOSES:
        return None
    end = _end_of_brackets(text, start)
    if end < len(text):
        return None  # (1,2),(3,4)
    return ('dict' if called else text[start]), start


def _bracketed(text: str, kind: str, start: int) -> Any:
    pieces = [piece for piece in _pieces(text[start + 1 : -1], ',') if piece.strip()]
    if kind == '[':
        return [parse_value(piece) for piece in pieces]
    if kind == '(':
        return tuple(parse_value(piece) for piece in pieces)
    sign, form = ('=', 'KEY=VALUE') if kind == 'dict' else (':', 'KEY: VALUE')
    found: dict[Any, Any] = {}
    for piece in pieces:
        key, *value = _pieces(piece, sign)
        if not value:
            raise UsageError(f"'{piece.strip()}' in {text} is not {form}")
        name = key.strip() if kind == 'dict' else parse_value(key)
        if isinstance(name, list | dict):
            raise UsageError(f"'{key.strip()}' in {text} cannot be a key")
        if name in found:
            raise UsageError(f"{text} has '{name}' twice")
        found[name] = parse_value(sign.join(value))
    return found


def _plain(text: str) -> Any:
    """Return a number, a constant, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _unquoted(text: str) -> str:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):  # C:\new in quotes is a path
        return text[1:-1]


def _pieces(text: str, separator: str) -> Iterator[str]:
    """Yield the pieces between the separators outside of brackets and quotes."""
    start = position = 0
    while position < len(text):
        if text[position] in _CLOSES:
            position = _end_of_brackets(text, position)
        elif text[position] in _QUOTES and not text[start:position].strip():
            position = _end_of_quotes(text, position)
        elif text[position] in _CLOSES.values():
            raise UsageError(f'{text}: the brackets do not match')
        else:
            if text[position] == separator:
                yield text[start:position]
                start = position + 1
            position += 1
    yield text[start:]


def _end_of_brackets(text: str, start: int) -> int:
    """Return the position after a bracket's partner."""
    wanted, position = [_CLOSES[text[start]]], start + 1
    while position < len(text):
        sign = text[position]
        if sign in _QUOTES and text[:position].rstrip().endswith((*_CLOSES, ',', ':', '=')):
            position = _end_of_quotes(text, position)
            continue
        if sign in _CLOSES:
            wanted.append(_CLOSES[sign])
        elif sign in _CLOSES.values():
            if sign != wanted.pop():
                break
            if not wanted:
                return position + 1
        position += 1
    raise UsageError(f'{text}: the brackets do not match')


def _end_of_quotes(text: str, start: int) -> int:
    """Return the position after a quotation."""
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == '\\' else 1
    if position >= len(text):
        raise UsageError(f'{text}: the quotes do not match')
    return position + 1
