"""`icecore predict`: labels for raw images."""

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..options.settings import require_effect
from ..options.shared_options import BUNDLE_CHECKPOINT, DEVICE
from ..show.source_lines import passed_lines
from ..show.streams import is_heard
from ..show.terminal import notes, print_line
from ..show.wording import percent

if TYPE_CHECKING:
    from icecore.live import Prediction, Predictor

ESCAPES = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})  # a line for each image, whatever names hold

Show = Callable[["Prediction"], None]


def predict(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="RUN/bundle of `icecore select`; several separated by commas.")
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Image files, folders, .tar, .tgz or .parquet files; - reads paths from standard input.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write instead of standard output, named *.csv, *.parquet or *.jsonl."
        ),
    ] = None,
    checkpoint: Annotated[str | None, BUNDLE_CHECKPOINT] = None,
    device: Annotated[str, DEVICE] = "auto",
    compute_dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Number type of matrix products: float32 or bfloat16; without it, the one recorded in BUNDLE.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of images in one forward pass; at least 1.")
    ] = 32,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, with key, label and probability.")
    ] = False,
) -> None:
    """Predict the class of raw images with the adapters of BUNDLE; exit with 1 if any image could not be read.

    Several bundles of the same backbone share one forward pass.

    Example: icecore predict runs/photos/bundle holiday/ cat.jpg
    """
    from icecore.extract.files import Tally
    from icecore.live.predict import images_of

    if out is not None:
        require_effect({"json": as_json}, ["json"], "with --out, whose ending says the format")
    tally = Tally()
    streams = [images_of(given, tally) for given in images]  # what is not there is said before anything is loaded
    num_failed = 0
    with _show(out, as_json) as show:
        from icecore.live import Predictor

        predictor = Predictor(_bundles(bundle), checkpoint, device, compute_dtype, batch_size, tally)
        _print_notes(predictor)
        for prediction in predictor.predict(itertools.chain(*streams)):
            num_failed += prediction.error is not None
            show(prediction)
            if out is None and not is_heard():
                raise typer.Exit  # whoever read the answers has seen enough
    num_failed //= len(predictor.bundles)
    for name, value in passed_lines(tally):
        notes().print(f"{name}  {value}", markup=False)
    notes().print(_timing(predictor))
    if num_failed:
        notes().print(f"{num_failed} of {predictor.timing.num_images} images could not be read")
        raise typer.Exit(1)


def _bundles(text: str) -> list[str]:
    """Part paths at commas; a comma in a path that is there parts nothing."""
    parts, found = text.split(","), list[str]()
    while parts:
        paths = [",".join(parts[:num]) for num in range(len(parts), 0, -1)]
        found.append(next((path for path in paths if path and Path(path).exists()), parts[0]))
        parts = parts[found[-1].count(",") + 1 :]
    return found


def _print_notes(predictor: "Predictor") -> None:
    """Say what is not as it may seem of the bundles that answer."""
    from icecore.train import trained_since

    for path, bundle in predictor.bundles.items():
        if bundle.document.files is None:
            notes().print(f"note: {path} has no checksum: it was made by an earlier version", markup=False)
        if run := trained_since(bundle, path):
            notes().print(
                f"note: {run} was trained further since {path} was chosen; icecore select {run}", markup=False
            )


@contextlib.contextmanager
def _show(out: Path | None, as_json: bool) -> Iterator[Show]:
    """Return what takes each prediction."""
    from icecore.live.predict import JsonLines, open_answers

    if out is not None:
        with open_answers(out) as answers:
            yield answers.add
    elif as_json:
        yield JsonLines(cast(TextIOBase, sys.stdout)).add
    else:
        yield lambda prediction: print_line(_line(prediction))


def _line(prediction: "Prediction") -> str:
    names = [prediction.key] if prediction.bundle is None else [prediction.key, prediction.bundle]
    if prediction.error is not None:
        said = [f"error: {prediction.error}"]
    elif prediction.outputs is not None:
        said = [json.dumps({name: _rounded(value) for name, value in prediction.outputs.items()})]
    else:
        said = [str(prediction.label), f"{percent(prediction.probability)} %"]
    return "\t".join(text.translate(ESCAPES) for text in (*names, *said))


def _rounded(value: float) -> float:
    """Keep as many digits as a float32 has to tell, whatever its unit."""
    return float(f"{value:.6g}")


def _timing(predictor: "Predictor") -> str:
    """Say where the time went; the share is of the forward's own time, and may pass 100 % of a tiny backbone's."""
    timing = predictor.timing
    num_adapters = sum(len(bundle.facts.members) for bundle in predictor.bundles.values())
    return (
        f"{timing.num_images} images, {timing.images_per_second:.0f} a second; backbone "
        f"{timing.backbone_seconds:.2f} s, then {num_adapters} adapter{'s' * (num_adapters > 1)} "
        f"{timing.adapter_seconds:.2f} s, {percent(timing.adapter_share)} % of the backbone's time"
    )
