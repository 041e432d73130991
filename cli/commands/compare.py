"""`icecore compare`: cached against live, and cached adapters against methods that train inside the backbone."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from ..options.method_options import method_options
from ..options.settings import require_effect, settings_of
from ..options.shared_options import AS_JSON, BACKBONE, BATCH_SIZE, CHECKPOINT, COMPUTE_DTYPE, DEVICE, EPOCHS, LR
from ..options.source_options import SOURCE_OPTIONS, with_source_options
from ..show.comparison import print_comparison, print_parity
from ..show.interrupt import interruptible
from ..show.progress import finetune_progress
from ..show.terminal import notes, print_json

ONLY_METHODS = ("out", "backbone", *SOURCE_OPTIONS, "option", "lr", "weight_decay", "epochs", "seed")


@with_source_options
def compare(
    where: Annotated[
        str,
        typer.Argument(
            metavar="STORE|SOURCE", help="A store; with --methods also the images of a source, as KIND:PATH."
        ),
    ],
    rows: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of images of STORE to run through the backbone again."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            show_default=False,
            help="In-backbone methods to train: full, linear, bitfit, layernorm, lora, adapter, compacter, "
            "vpt_shallow, vpt_deep, kadaptation, subspace; needs --out.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="With --methods: folder of results to create or to continue."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="With --methods: RUN whose selection is added to the table. With --rows: RUN whose bundle predicts.",
        ),
    ] = None,
    backbone: Annotated[str | None, BACKBONE] = None,
    checkpoint: Annotated[str | None, CHECKPOINT] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD.NAME=VALUE", help="Option of one method, such as lora.rank=8; may be given several times."
        ),
    ] = None,
    lr: Annotated[str | None, LR] = None,
    weight_decay: Annotated[float | None, typer.Option(metavar="X", help="Weight decay of AdamW")] = None,
    epochs: Annotated[int | None, EPOCHS] = None,
    batch_size: Annotated[int | None, BATCH_SIZE] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the initial weights of methods and classifiers")
    ] = None,
    device: Annotated[str | None, DEVICE] = None,
    compute_dtype: Annotated[str | None, COMPUTE_DTYPE] = None,
    as_json: Annotated[bool, AS_JSON] = False,
    **of_source: Any,
) -> None:
    """Compare stored tokens with live ones (--rows), or cached adapters with in-backbone methods (--methods).

    --rows N runs N images of STORE through the backbone again, in the number type that STORE was extracted in unless
    --compute-dtype is given, and prints the largest difference of each layer.

    --methods A,B trains methods that need the gradient through the backbone. Their learning rates are chosen on
    validation, then the test split is read once.

    Example: icecore compare photos.ice --methods full,lora,kadaptation --out runs/live --run runs/photos
    """
    given = locals() | of_source  # the words of the command, by name; None where the stage's own default holds
    from icecore.store import UsageError

    if (rows is None) == (methods is None):
        raise UsageError("icecore compare: expected --rows N, or --methods A,B with --out DIR, and not both")
    if methods is None:
        require_effect(given, ONLY_METHODS, "with --rows, which trains nothing")
        _compare_rows(where, rows or 0, given, as_json)
        return
    if out is None:
        raise UsageError("icecore compare --methods: expected --out DIR, a folder for what is trained")
    with interruptible("what is trained is kept: the same command goes on"):
        from icecore.live import CompareSettings
        from icecore.live import compare as run_compare

        settings = settings_of(CompareSettings, given | {"options": method_options(option)})
        with finetune_progress("compare") as progress:
            found = run_compare(where, out, settings, run, progress)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_comparison(found)


def _compare_rows(store: str, num_rows: int, given: dict[str, object], as_json: bool) -> None:
    from icecore.live import parity

    options = {key: given[key] for key in ("checkpoint", "device", "compute_dtype", "batch_size")}
    bundles = [str(Path(str(given["run"])) / "bundle")] if given["run"] else []
    with notes().status(f"running {num_rows} rows of {store} again"):
        found = parity(store, num_rows, bundles, **{key: value for key, value in options.items() if value is not None})  # pyright: ignore[reportArgumentType]
    if as_json:
        layers = [dataclasses.asdict(layer) for layer in found.layers]
        print_json(found.model_dump(mode="json") | {"layers": layers})
    else:
        print_parity(found)
