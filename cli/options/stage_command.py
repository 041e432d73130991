"""A command whose help shows the defaults and the allowed values of the stage that it runs."""

import copy
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from ..show.wording import short

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}  # pydantic's names of a bound


def stage_command(module: str, model: str) -> type[TyperCommand]:
    """Return a command class whose help reads defaults and allowed values from the settings model `module.model`.

    The module is imported when help is asked for, never before: the stages import PyTorch, and `icecore --help` must
    not wait for it.
    """

    class StageCommand(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            fields = getattr(import_module(module), model).model_fields
            declared = self.params
            self.params = [_described(option, fields) for option in declared]
            try:
                super().format_help(ctx, formatter)
            finally:
                self.params = declared

    return StageCommand


def allowed_values(field: FieldInfo) -> str:
    """Return the allowed values of a settings field in words; empty where any value of its type is allowed.

    >>> from typing import Annotated
    >>> from pydantic import Field
    >>> allowed_values(FieldInfo.from_annotation(Annotated[float, Field(gt=0, le=1)]))
    'above 0, at most 1'
    >>> allowed_values(FieldInfo.from_annotation(tuple[Literal["cls", "mean"], ...] | None))
    'allowed: cls, mean'
    """
    choices = list(_leaves(field.annotation))
    if None not in choices:
        return f"allowed: {', '.join(map(str, choices))}"
    limits = [
        f"{words} {'2^32' if limit == 2**32 else short(limit)}"
        for bound in field.metadata
        for name, words in BOUNDS.items()
        if (limit := getattr(bound, name, None)) is not None
    ]
    return ", ".join(limits)


def _described(option: Any, fields: Mapping[str, FieldInfo]) -> Any:
    """Return a copy of an option whose help ends in the allowed values and the default of its settings field."""
    field = fields.get(option.name)
    if field is None:
        return option
    described = copy.copy(option)
    if not field.is_required() and field.default is not None and field.default != ():
        described.default = field.default if isinstance(field.default, bool) else short(field.default)
    if allowed := allowed_values(field):
        described.help = f"{option.help.removesuffix('.')}; {allowed}."
    return described


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the choices of every Literal in a type, and None for every other type in it."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif arguments := [each for each in get_args(annotation) if each not in (Ellipsis, type(None))]:
        for argument in arguments:
            yield from _leaves(argument)
    else:
        yield None
