"""A command whose help shows the defaults of the stage that it runs."""

from importlib import import_module
from typing import Any

from typer.core import TyperCommand

from ..show.wording import short


def stage_command(module: str, model: str) -> type[TyperCommand]:
    """Make a command class that takes its defaults, when help is asked for, from a settings model.

    Nothing is imported before: the stages bring PyTorch with them, and `icecore --help` must not wait for it.
    """

    class StageCommand(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            fields = getattr(import_module(module), model).model_fields
            for option in self.params:
                field = fields.get(option.name)
                if field is not None and not field.is_required() and field.default is not None:
                    option.default = short(field.default)
            super().format_help(ctx, formatter)

    return StageCommand
