"""`icecore intrinsic`: in how few directions each kind of weight learns a task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..options.settings import settings_of
from ..options.shared_options import AS_JSON, BACKBONE, BATCH_SIZE, CHECKPOINT, COMPUTE_DTYPE, DEVICE, EPOCHS, LR
from ..options.source_options import with_source_options
from ..show.interrupt import interruptible
from ..show.progress import finetune_progress
from ..show.terminal import print_json, print_line, print_table
from ..show.wording import percent

if TYPE_CHECKING:
    from icecore.live import Curve

NUM_ADAPTED = 2  # of the submodules: as many as lora and kadaptation change where nothing is asked for


@with_source_options
def intrinsic(
    where: Annotated[
        str, typer.Argument(metavar="STORE|SOURCE", help="A store, or the images of a source, as KIND:PATH.")
    ],
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of results to create or to continue.")],
    modules: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Weights of every block to measure: query, key, value, projection, fc1, fc2."),
    ] = None,
    dimensions: Annotated[
        str | None,
        typer.Option(metavar="D,E", help="Dimensions of the random subspaces to try, in increasing order."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Number of random subspaces to average for each dimension")
    ] = None,
    backbone: Annotated[str | None, BACKBONE] = None,
    checkpoint: Annotated[str | None, CHECKPOINT] = None,
    lr: Annotated[str | None, LR] = None,
    epochs: Annotated[int | None, EPOCHS] = None,
    batch_size: Annotated[int | None, BATCH_SIZE] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the first subspace; each further one adds 1")
    ] = None,
    device: Annotated[str | None, DEVICE] = None,
    compute_dtype: Annotated[str | None, COMPUTE_DTYPE] = None,
    as_json: Annotated[bool, AS_JSON] = False,
    **of_source: Any,
) -> None:
    """Measure how many random directions each kind of weight needs to learn the task; the fewest is the one to adapt.

    Example: icecore intrinsic photos.ice --out runs/intrinsic --modules query,value,fc1 --epochs 5
    """
    given = locals() | of_source  # the words of the command, by name; None where the stage's own default holds
    with interruptible("what is trained is kept: the same command goes on"):
        from icecore.live import IntrinsicSettings
        from icecore.live.comparison import intrinsic_dimension

        settings = settings_of(IntrinsicSettings, given)
        with finetune_progress("intrinsic") as progress:
            curves = intrinsic_dimension(where, out, settings, progress)
    if as_json:
        print_json([curve.model_dump(mode="json") for curve in curves])
    else:
        _print(out, curves)


def _print(out: str, curves: Sequence["Curve"]) -> None:
    from icecore.live import most_compressible

    dimensions = [str(dimension) for dimension in curves[0].dimensions]
    rows = [
        [
            curve.module,
            "–" if curve.d90 is None else f"{curve.d90:.0f}",
            *(percent(score) for score in (curve.floor, *curve.scores, curve.reference)),
        ]
        for curve in curves
    ]
    print_table(["validation", "d90", "none of it", *dimensions, "all of it"], rows)
    print_line(f"{out}/intrinsic_dimension.svg shows it")
    if silent := [curve.module for curve in curves if curve.d90 is None]:
        print_line(f"no d90, as no dimension is enough or the classifier alone is: {', '.join(silent)}")
    if chosen := most_compressible(curves, NUM_ADAPTED):
        print_line(f"to adapt the most compressible: --option kadaptation.modules={','.join(chosen)}")
