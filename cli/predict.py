"""`icecore predict`: labels for raw images."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import notes, print_json, print_line
from .wording import percent

if TYPE_CHECKING:
    from icecore.live import Prediction


def predict(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="RUN/bundle, as `icecore select` leaves it.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files, and folders of them.")],
    checkpoint: Annotated[str | None, typer.Option(metavar="FILE", help="The backbone's weights.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    compute_dtype: Annotated[str | None, typer.Option(metavar="NAME", help="float32 or bfloat16.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line: key, label, probability.")] = False,
) -> None:
    """Name the class of raw images; exit 1 if any of them could not be read.

    Example: icecore predict runs/photos/bundle holiday/ cat.jpg
    """
    files = [(str(path), path) for given in images for path in _files(given)]

    from icecore.live import Predictor

    num_failed = 0
    for prediction in Predictor(bundle, checkpoint, device, compute_dtype).predict(files):
        num_failed += prediction.error is not None
        if as_json:
            print_json(_object(prediction), indent=None)
        else:
            print_line(_line(prediction))
    if num_failed:
        notes().print(f"{num_failed} of {len(files)} images could not be read")
        raise typer.Exit(1)


def _files(given: Path) -> Iterator[Path]:
    from icecore.extract.decoding import EXTENSIONS
    from icecore.store import UsageError

    if given.is_file():
        yield given
        return
    if not given.is_dir():
        raise UsageError(f"no image at {str(given)!r}: expected a file or a folder of images")
    found = sorted(path for path in given.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise UsageError(f"{given}: no images in this folder ({', '.join(sorted(EXTENSIONS))})")
    yield from found


def _object(prediction: "Prediction") -> dict[str, object]:
    fields = dataclasses.asdict(prediction)
    return {name: value for name, value in fields.items() if name != "error" or value is not None}


def _line(prediction: "Prediction") -> str:
    if prediction.error is not None:
        return f"{prediction.key}\terror: {prediction.error}"
    return f"{prediction.key}\t{prediction.label}\t{percent(prediction.probability)} %"
