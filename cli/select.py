"""`icecore select`: choose on validation, read the test split once."""

from typing import Annotated, Any

import typer

from .settings import settings_of
from .terminal import output, print_facts, print_json
from .wording import configuration, percent


def select(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A folder made by `icecore train`.")],
    selector: Annotated[str | None, typer.Option(metavar="NAME", help="How to choose.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For another program.")] = False,
) -> None:
    """Choose among the adapters of RUN by validation, read the test split once, write RUN/bundle.

    Example: icecore select runs/photos
    """
    from icecore.train import SelectSettings
    from icecore.train import select as run_select

    selection = run_select(run, settings_of(context, SelectSettings)).as_dict()
    if as_json:
        print_json({key: selection[key] for key in ("selected", "validation", "test")})
