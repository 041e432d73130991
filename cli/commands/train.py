"""`icecore train`: stage two from the command line."""

from typing import Annotated

import typer

from ..options.settings import settings_of
from ..show.interrupt import interruptible
from ..show.metrics import write_metrics
from ..show.tensorboard import TensorBoard
from ..show.terminal import print_json, print_line
from ..show.train_progress import train_progress
from ..show.wording import trained

LOGS = {"tensorboard": TensorBoard}


def train(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A complete store: a path or any fsspec URL.")],
    out: Annotated[str, typer.Option(metavar="RUN", help="The folder of results to make.")],
    adapters: Annotated[str | None, typer.Option(metavar="A,B", help="Adapter families.")] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="0,3,6-12", help="all, numbers, sum, or top:5 by score.")
    ] = None,
    lr: Annotated[str | None, typer.Option(metavar="X,Y", help="Learning rates, where not the families' own.")] = None,
    weight_decay: Annotated[str | None, typer.Option(metavar="X,Y", help="Weight decays, the same.")] = None,
    queries: Annotated[str | None, typer.Option(metavar="M,N", help="Numbers of learned queries.")] = None,
    heads: Annotated[str | None, typer.Option(metavar="H,I", help="Numbers of attention heads.")] = None,
    pooling: Annotated[str | None, typer.Option(metavar="P,Q", help="What linear probes look at.")] = None,
    label_smoothing: Annotated[str | None, typer.Option(metavar="X,Y", help="Shares of a label spread out.")] = None,
    dropout: Annotated[str | None, typer.Option(metavar="X,Y", help="Shares dropped before the classifier.")] = None,
    class_weights: Annotated[str | None, typer.Option(metavar="X,Y", help="none, balanced: how classes count.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the training rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="Rows in one optimiser step.")] = None,
    clip: Annotated[float | None, typer.Option(metavar="NORM", help="The largest gradient of an adapter.")] = None,
    halving: Annotated[bool | None, typer.Option(help="Stop the worst early, by validation loss.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Repeats of every configuration.")] = None,
    validation: Annotated[float | None, typer.Option(metavar="SHARE", help="Share of train held out.")] = None,
    folds: Annotated[int | None, typer.Option(metavar="K", help="Hold out each row once, at K + 1 trainings.")] = None,
    shuffle_seed: Annotated[
        int | None, typer.Option(metavar="N", help="Order of the rows, and the held-out ones.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    compute_dtype: Annotated[str | None, typer.Option(metavar="NAME", help="auto, float32 or bfloat16.")] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="4GB", help="The most that rows and adapters in training take.")
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Train in N processes of this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Train on a dask cluster.")] = None,
    extend: Annotated[str | None, typer.Option(metavar="RUN", help="Add classes to the best open_inca of RUN.")] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="new", help="new: those that RUN lacks; with --extend.")
    ] = None,
    log: Annotated[str | None, typer.Option(metavar="NAME", help="tensorboard: watch it from RUN/tensorboard.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The cost, for another program.")] = False,
) -> None:
    """Train adapters on every chosen layer of STORE, all of them at once; comma lists make a grid.

    Example: icecore train photos.ice --out runs/photos --adapters linear,inca --lr 1e-3,3e-3
    """
    given = locals()  # the words of the command, by name; None where the stage's own default holds
    with interruptible("what is trained is kept: the same command goes on"):
        from icecore.store import choose
        from icecore.train import TrainSettings
        from icecore.train import train as run_train

        settings = settings_of(TrainSettings, given)
        watcher = None if log is None else choose(LOGS, log, "log")(out)
        with train_progress(watcher.watch if watcher else None) as progress:
            run = run_train(store, out, settings, progress)
        if watcher:
            watcher.finish(run)
        write_metrics(out)
    if as_json:
        print_json({"run": out, **run.facts["cost"]})
    else:
        print_line(f"{out}: {trained(run.facts)}")
