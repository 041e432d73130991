"""The options about a source, the same in every command that reads one."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer


def _options(
    *,
    img_size: Annotated[int | None, typer.Option(metavar="N", help="Pixels a side, where not as trained.")] = None,
    crop_pct: Annotated[float | None, typer.Option(metavar="SHARE", help="Of the side kept; 1: all.")] = None,
    range: Annotated[
        str | None, typer.Option(metavar="auto|type|LOW,HIGH", help="Values of deep images that are black and white.")
    ] = None,
    background: Annotated[
        str | None, typer.Option(metavar="NAME|R,G,B", help="Behind transparency: white (else as in STORE), black.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="N[,N,N]", help="The bands seen as grey or RGB, counted from 1.")
    ] = None,
    path_column: Annotated[str | None, typer.Option(metavar="NAME", help="Of csv: the images' paths.")] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME[,...]", help="Of csv, parquet; field of a wds .json.")
    ] = None,
    split_column: Annotated[str | None, typer.Option(metavar="NAME", help="The same for the split.")] = None,
    group_column: Annotated[str | None, typer.Option(metavar="NAME", help="The same for the group.")] = None,
    target: Annotated[str | None, typer.Option(metavar="KIND", help="class, multilabel or regression.")] = None,
    separator: Annotated[
        str | None, typer.Option(metavar="SIGN", help="Between the classes in a cell, where not found: ; | or a comma.")
    ] = None,
    unknown: Annotated[
        str | None, typer.Option(metavar="VALUE[,...]", help="Labels that say that nothing is known, such as -1.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME=FROM:PERCENT", help="A new split: validation=train:10%.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Only N images, every split and class in proportion.")
    ] = None,
) -> None:
    """Declare the options; each is None where the stage's own default holds."""


SOURCE_OPTIONS = tuple(inspect.signature(_options).parameters)


def with_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options about a source in the place of its `**of_source`."""
    signature = inspect.signature(command)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    added = inspect.signature(_options).parameters.values()

    @functools.wraps(command)
    def run(*words: Any, **options: Any) -> None:
        command(*words, **options)

    run.__annotations__ = command.__annotations__ | _options.__annotations__
    run.__signature__ = signature.replace(parameters=[*own, *added])  # pyright: ignore[reportAttributeAccessIssue]
    return run
