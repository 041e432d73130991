"""`icecore score`: a ranking of the layers before anything is trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.settings import settings_of
from ..options.shared_options import AS_JSON, STORE
from ..show.terminal import notes, print_json, print_line, print_table
from ..show.wording import layers_in_words

if TYPE_CHECKING:
    from icecore.train import LayerScore


def score(
    store: Annotated[str, STORE],
    scores: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Training-free scores to compute: ridge, knn, logme, h_score, nleep, cka, fisher, gbc."
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            metavar="P,Q",
            help="Token poolings to score: cls (class token), mean (of the patch tokens), cls+mean; without it, all "
            "that STORE has.",
        ),
    ] = None,
    norm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Normalisation of tokens before scoring, final meaning the backbone's final norm"
        ),
    ] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Rank the layers of STORE without training, on its train split; a higher score is better, the best is starred.

    Example: icecore score photos.ice --scores ridge,knn
    """
    given = locals()  # the words of the command, by name; None where the stage's own default holds
    from icecore.train import ScoreSettings
    from icecore.train import score as run_score

    settings = settings_of(ScoreSettings, given)
    with notes().status("score: reading every layer once"):
        found = run_score(store, settings)
    if as_json:
        print_json({"layers": [one.model_dump() for one in found]})
    else:
        _print(found)


def _print(found: Sequence["LayerScore"]) -> None:
    """Print a column for every score and pooling, and how to go on."""
    columns: dict[str, dict[int, float]] = {}
    for one in found:
        columns.setdefault(f"{one.name} {one.pooling}", {})[one.layer] = one.score
    best = {name: max(column, key=lambda layer: column[layer]) for name, column in columns.items()}
    layers = list(dict.fromkeys(one.layer for one in found))
    rows = [
        [
            layers_in_words([layer]),
            *(f"{column[layer]:.4g}{' *' if best[name] == layer else '  '}" for name, column in columns.items()),
        ]
        for layer in layers
    ]
    print_table(["layer", *(f"{name}  " for name in columns)], rows, layers.index(next(iter(best.values()))))
    print_line(f"train on the best of them with --layers top:{min(5, len(layers))}")
