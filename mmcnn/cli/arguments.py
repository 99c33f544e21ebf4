"""Command line arguments, built from the dataclasses of :mod:`mmcnn.runs.options`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import NoneType
from typing import Any

from mmcnn.config.files import own_configs
from mmcnn.config.values import parse_value
from mmcnn.errors import UsageError
from mmcnn.runs.options import Option, described, kinds_of


class KeyValues(argparse.Action):
    """Collects ``KEY=VALUE`` texts of one option or several; :func:`options_from` converts them to their types."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Add the texts to those of earlier uses of the option."""
        for value in values:
            if '=' not in value:
                raise argparse.ArgumentError(self, f"'{value}' is not KEY=VALUE")
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *values])


def check_png(path: str | os.PathLike | None) -> None:
    """Refuse a path of ``--plot`` that cannot become a PNG, before any work.

    Raises:
        UsageError: it is a folder or has another suffix, such as that of a photograph.
    """
    if path is None:
        return
    if not os.fspath(path) or os.path.isdir(path):
        raise UsageError(f"--plot '{path}': name a PNG file, such as {os.path.join(path, 'figure.png')}")
    if not os.fspath(path).lower().endswith('.png'):
        raise UsageError(f'--plot {path}: the figure is a PNG; name a file that ends in .png')


def add_config(parser: argparse.ArgumentParser, **keywords: Any) -> None:
    """Add CONFIG; shells complete it with the configs that come with mmcnn."""
    parser.add_argument('config', metavar='CONFIG', **keywords).completer = lambda **_: own_configs()


def add_options(parser: argparse.ArgumentParser, options: type, leave_out: tuple[str, ...] = ()) -> None:
    """Add an option for every described field of a dataclass: ``img_size`` becomes ``--img-size``.

    Args:
        parser: the parser that gets the options.
        options: the dataclass.
        leave_out: fields that the command does not offer.
    """
    for name, (kind, option) in described(options).items():
        if name not in leave_out:
            flag = option.flag or name.replace('_', '-')
            parser.add_argument(f'--{flag}', dest=name, **_keywords(kind, option))


def options_from(args: argparse.Namespace, options: type, **fixed: Any) -> Any:
    """Return the given options as the dataclass; all other fields keep its defaults.

    Raises:
        UsageError: a value is invalid, or an entry of ``--cfg-options`` cannot be read.
    """
    given = {name: getattr(args, name) for name in described(options) if getattr(args, name, None) is not None}
    if 'cfg_options' in given:
        given['cfg_options'] = parse_key_values(given['cfg_options'])
    return options(**given, **fixed)


def _keywords(kind: Any, option: Option) -> dict[str, Any]:
    """Return keywords of ``add_argument`` for a field of this type. The default is None: the dataclass has its own."""
    kinds = [each for each in kinds_of(kind) if each is not NoneType]
    keywords: dict[str, Any] = dict(help=option.help, default=None)
    if bool in kinds:
        # A switch, or one that takes a value (--resume [FILE]).
        if kinds == [bool]:
            return keywords | dict(action='store_true')
        return keywords | dict(nargs='?', const=True, metavar=option.metavar) | _named_only(option)
    if Sequence in kinds and str not in kinds:
        # argparse cannot check the choices, because values may be joined by commas.
        several = dict(action='append') if option.choices or option.flag else dict(nargs='+', action='extend')
        several |= dict(type=int) if int in kinds else {}
        return keywords | dict(metavar=option.metavar) | several
    keywords |= dict(metavar=option.metavar, choices=option.choices)
    if Mapping in kinds:
        return keywords | dict(nargs='+', action=KeyValues)
    number = next((each for each in (int, float) if each in kinds and str not in kinds), None)
    return keywords | (dict(type=number) if number else {})


class NamedOnly(argparse.Action):
    """A switch that also takes one of several names, the first of which means the same as the switch alone.

    Any other word after it is a separate argument (:func:`separated`).
    """

    def __init__(self, *args: Any, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names = names

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Store True for the first name, and any other name itself."""
        setattr(namespace, self.dest, True if values == self.names[0] else values)


def _named_only(option: Option) -> dict[str, Any]:
    return dict(action=NamedOnly, names=option.choices) if option.choices else {}


def separated(argv: Sequence[str], switches: Sequence[NamedOnly]) -> list[str]:
    """Return the arguments, with each switch separated from a following word that is not its value: ``--amp CONFIG``.

    argparse would take CONFIG for the value. A word that is similar to a value and is not a file counts as a typing
    error.
    """
    names = {flag: switch.names for switch in switches for flag in switch.option_strings}
    following = [*argv[1:], '-'][: len(argv)]
    return [
        word
        if word not in names or after.startswith('-') or _is_meant(after, names[word])
        else f'{word}={names[word][0]}'
        for word, after in zip(argv, following, strict=True)
    ]


def _is_meant(word: str, names: Sequence[str]) -> bool:
    return word in names or bool(get_close_matches(word, names, cutoff=0.5) and not os.path.exists(word))


def parse_key_values(pairs: Sequence[str]) -> dict[str, Any]:
    """Return ``['a.b=1', 'c=(2,3)']`` as ``{'a.b': 1, 'c': (2, 3)}`` (:func:`~mmcnn.config.values.parse_value`).

    Raises:
        UsageError: a value cannot be read.
    """
    values = {}
    for pair in pairs:
        key, text = pair.split('=', maxsplit=1)
        try:
            values[key.strip()] = parse_value(text)
        except UsageError as error:
            raise UsageError(f'--cfg-options {key}={error}') from error
    return values
