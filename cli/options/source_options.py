"""The options about a source, the same in every command that reads one."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer


def _options(
    *,
    img_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Side of the square input image in pixels; without it, the size the backbone was trained at",
        ),
    ] = None,
    crop_pct: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Fraction of the resized image's side kept by the centre crop, where 1 keeps everything; without it, "
            "the backbone's own",
        ),
    ] = None,
    range: Annotated[
        str | None,
        typer.Option(
            metavar="auto|type|LOW,HIGH",
            help="Values that become black and white in images of more than 8 bits a channel: auto (from all images), "
            "type (the range of the number type), or two numbers LOW,HIGH.",
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|R,G,B",
            help="Colour behind transparent pixels: white, black, or three numbers from 0 to 255; without it, the "
            "colour recorded in STORE, else white.",
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N,N]",
            help="Bands of multi-band images read as grey (one) or as red, green, blue (three), counted from 1; "
            "without it, an image must be grey or RGB.",
        ),
    ] = None,
    path_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Column of image paths in csv: (without it, path) or imagefolder: (file_name)."
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,...]",
            help="Columns of csv: or parquet:, or field of the .json members of wds:, that hold labels; without it, "
            "label.",
        ),
    ] = None,
    split_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of csv: or parquet:, or field of the .json members of wds:, that holds train, validation or "
            "test; without it, the column split if there is one, else the names of files and folders.",
        ),
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of csv: or parquet:, or field of the .json members of wds:, whose equal values stay in one "
            "split, such as a patient; without it, the column group of csv: if there is one.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="KIND", help="Kind of label: one class, several classes, or numbers")
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="SIGN",
            help="Sign between the class names in a cell, with --target multilabel: ; | or a comma; "
            "without it, detected.",
        ),
    ] = None,
    unknown: Annotated[
        str | None,
        typer.Option(metavar="VALUE[,...]", help="Label values that mean unknown, such as -1; without it, none."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=FROM:PERCENT",
            help="New split taken out of another, such as validation=train:10%; without it, the splits of SOURCE.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of images to read, in proportion from every split and class; without it, all",
        ),
    ] = None,
) -> None:
    """Declare the options; each is None where the stage's own default holds."""


SOURCE_OPTIONS = tuple(inspect.signature(_options).parameters)


def with_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command so that its `**of_source` becomes one keyword parameter for each source option."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    source_parameters = inspect.signature(_options).parameters.values()

    @functools.wraps(command)
    def run(*words: Any, **options: Any) -> None:
        command(*words, **options)

    run.__annotations__ = command.__annotations__ | _options.__annotations__
    run.__signature__ = signature.replace(parameters=[*own, *source_parameters])  # pyright: ignore[reportAttributeAccessIssue]
    return run
