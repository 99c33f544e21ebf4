"""A Griffe extension for the API pages of the site; mkdocs.yml names it for ``make docs``.

It is for developers of mmcnn and not installed with it.
"""

import inspect
import re
from importlib import import_module
from typing import Any

import griffe

#: A Sphinx role in a docstring, such as ``:class:`~mmcnn.runs.results.TrainResult```.
ROLE = re.compile(r':\w+:`~?(?:[\w.]+\.)?(\w+)`')
#: ``Annotated[str | None, Option(...)]``; readers need only the type.
ANNOTATED = re.compile(r'Annotated\[(.*?), Option\(.*', re.DOTALL)
#: Decorator of functions that take the fields of an options class by name.
TAKES = 'takes('


class DocsExtension(griffe.Extension):
    """Writes Sphinx roles as code, and lists the options of functions that take an options class."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r'`\1`', obj.docstring.value)

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Replace the parameters and docstring of a decorated function by those of the imported function."""
        if not any(str(decorator.value).startswith(TAKES) for decorator in func.decorators):
            return
        function = getattr(import_module(func.module.path), func.name)
        func.parameters = griffe.Parameters(*map(_parameter, inspect.signature(function).parameters.values()))
        text, _, options = inspect.getdoc(function).partition('\n\nOptions:\n')
        said, _, raises = text.partition('\n\nRaises:\n')
        func.docstring.value = ROLE.sub(r'`\1`', f'{said}\n\nArgs:\n{options}\n\nRaises:\n{raises}')


def _parameter(parameter: inspect.Parameter) -> griffe.Parameter:
    default = None if parameter.default is parameter.empty else repr(parameter.default)
    return griffe.Parameter(
        parameter.name,
        # A string, because the module postpones the evaluation of annotations.
        annotation=ANNOTATED.sub(r'\1', str(parameter.annotation)),
        kind=griffe.ParameterKind(parameter.kind.description),
        default='{}' if default == '<factory>' else default,
    )
