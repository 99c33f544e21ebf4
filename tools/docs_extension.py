"""What the API pages of the site need of the docstrings: mkdocs.yml names this Griffe extension for ``make docs``.

For developers of mmcnn; it is not installed with it.
"""

import inspect
import re
from importlib import import_module
from typing import Any

import griffe

#: ``:class:`~mmcnn.runs.results.TrainResult``` in a docstring.
ROLE = re.compile(r':\w+:`~?(?:[\w.]+\.)?(\w+)`')
#: The decorator whose functions take the fields of an options class by name.
TAKES = 'takes('


class DocsExtension(griffe.Extension):
    """Writes Sphinx's roles as code, and lists the options of functions that take an options class."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r'`\1`', obj.docstring.value)

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Replaces parameters and docstring of a decorated function by those that it has when it is imported."""
        if not any(str(decorator.value).startswith(TAKES) for decorator in func.decorators):
            return
        function = getattr(import_module(func.module.path), func.name)
        func.parameters = griffe.Parameters(*map(_parameter, inspect.signature(function).parameters.values()))
        func.docstring.value = ROLE.sub(r'`\1`', inspect.getdoc(function).replace('\nOptions:\n', '\nArgs:\n'))


def _parameter(parameter: inspect.Parameter) -> griffe.Parameter:
    given, default = parameter.annotation, parameter.default
    annotation = str(given) if not isinstance(given, type) else given.__name__
    annotation = re.sub(r"typing\.|collections\.abc\.|pathlib\.|Annotated\[(.*), Option\(.*", r'\1', annotation)
    return griffe.Parameter(
        parameter.name,
        annotation=None if given is parameter.empty else annotation,
        kind=griffe.ParameterKind(parameter.kind.description.replace('keyword-only', 'keyword-only')),
        default=None if default is parameter.empty else 'dict()' if 'factory' in repr(default) else repr(default),
    )
