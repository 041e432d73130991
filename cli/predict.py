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

from .settings import require_effect
from .streams import is_heard
from .terminal import notes, print_line
from .wording import percent

if TYPE_CHECKING:
    from icecore.live import Prediction, Predictor

Show = Callable[["Prediction"], None]


def predict(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="RUN/bundle; several with commas between.")],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", help="Images, folders, .tar, .parquet; - reads paths.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write .csv, .parquet or .jsonl instead.")] = None,
    checkpoint: Annotated[str | None, typer.Option(metavar="FILE", help="The backbone's weights.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    compute_dtype: Annotated[str | None, typer.Option(metavar="NAME", help="float32 or bfloat16.")] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Images in a batch.")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line: key, label, probability.")] = False,
) -> None:
    """Name the class of raw images, with one forward pass for all bundles; exit 1 if any image could not be read.

    Example: icecore predict runs/photos/bundle holiday/ cat.jpg
    """
    from icecore.live.inputs import images_of

    if out is not None:
        require_effect({"json": as_json}, ["json"], "with --out, whose ending says the format")
    streams = [images_of(given) for given in images]  # what is not there is said before anything is loaded

    from icecore.live import Predictor

    predictor = Predictor(bundle.split(","), checkpoint, device, compute_dtype, batch_size)
    num_failed = 0
    with _show(out, as_json) as show:
        for prediction in predictor.predict(itertools.chain(*streams)):
            num_failed += prediction.error is not None
            show(prediction)
            if out is None and not is_heard():
                raise typer.Exit  # whoever read the answers has seen enough
    num_failed //= len(predictor.bundles)
    notes().print(_timing(predictor))
    if num_failed:
        notes().print(f"{num_failed} of {predictor.timing.num_images} images could not be read")
        raise typer.Exit(1)


@contextlib.contextmanager
def _show(out: Path | None, as_json: bool) -> Iterator[Show]:
    """Return what takes each prediction."""
    from icecore.live.answers import JsonLines, open_answers

    if out is not None:
        with open_answers(out) as answers:
            yield answers.add
    elif as_json:
        yield JsonLines(cast(TextIOBase, sys.stdout)).add
    else:
        yield lambda prediction: print_line(_line(prediction))


def _line(prediction: "Prediction") -> str:
    key = prediction.key if prediction.bundle is None else f"{prediction.key}\t{prediction.bundle}"
    if prediction.error is not None:
        return f"{key}\terror: {prediction.error}"
    if prediction.outputs is not None:
        return f"{key}\t{json.dumps({name: round(value, 4) for name, value in prediction.outputs.items()})}"
    return f"{key}\t{prediction.label}\t{percent(prediction.probability)} %"


def _timing(predictor: "Predictor") -> str:
    """Say where the time went; the share is of the forward's own time, and may pass 100 % of a tiny backbone's."""
    timing = predictor.timing
    num_adapters = sum(len(bundle.facts.members) for bundle in predictor.bundles.values())
    return (
        f"{timing.num_images} images, {timing.images_per_second:.0f} a second; backbone "
        f"{timing.backbone_seconds:.2f} s, then {num_adapters} adapter{'s' * (num_adapters > 1)} "
        f"{timing.adapter_seconds:.2f} s, {percent(timing.adapter_share)} % of the backbone's time"
    )
