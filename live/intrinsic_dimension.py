"""Local intrinsic dimension: in how few random directions can one kind of weight learn a task (methods, inferred).

After Li et al. 2018, restricted to one submodule: its weights in all blocks are theta0 + P z with a fixed random P, and
z in R^d and the classifier alone are trained. d90 is the smallest d that reaches 90 % of the score of training the
submodule in full, interpolated in log d. The submodule of lowest d90 is the most compressible, and the one to adapt.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from icecore.store import Frozen, write_atomic
from icecore.train.candidate import Candidate, Recipe
from icecore.train.ledger import Ledger

from .finetune import finetune
from .methods import get_method
from .settings import CompareSettings
from .study import Study, open_study
from .subject import open_rows
from .submodules import SUBMODULES

REACHED = 0.9  # of the reference


DIMENSIONS = (4, 16, 64, 256, 1024)


class Curve(Frozen):
    """Of one submodule: its score by dimension, the mean over seeds; `d90` is None where no dimension is enough."""

    module: str
    dimensions: tuple[int, ...]
    scores: tuple[float, ...]
    reference: float
    d90: float | None


def intrinsic_dimension(
    where: str,
    out: str,
    settings: CompareSettings,
    modules: Sequence[str] = tuple(SUBMODULES),
    dimensions: Sequence[int] = DIMENSIONS,
    num_seeds: int = 1,
    progress: Callable[[str, int], None] | None = None,
) -> list[Curve]:
    """Measure the curve of every submodule on the rows of a store or a source; write the folder `out`.

    Each point is the best of the learning rates, by validation. Resumes as `compare` does.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    store = open_rows(where, out, settings)
    study = open_study(store, settings, out)
    ledger = Ledger(f"{out}/training", study.conditions, halving=False)
    curves: list[Curve] = []
    with ledger.held(store):
        for module in modules:
            scores: list[float] = []
            for dimension in (*dimensions, 0):
                seeds = range(settings.seed, settings.seed + num_seeds)
                points = [_point(study, ledger, settings, module, dimension, seed) for seed in seeds]
                scores.append(sum(points) / num_seeds)
                (progress or (lambda *_: None))(module, dimension)
            *below, reference = scores
            reached = d90(dimensions, below, reference)
            curve = {
                "module": module,
                "dimensions": dimensions,
                "scores": below,
                "reference": reference,
                "d90": reached,
            }
            curves.append(Curve.model_validate(curve))
    write_curves(out, curves)
    return curves


def _point(study: Study, ledger: Ledger, settings: CompareSettings, module: str, dimension: int, seed: int) -> float:
    """Return the best validation score of one dimension over the learning rates."""
    scores: list[float] = []
    for lr in settings.lr or get_method("subspace").lrs:
        recipe = Recipe(
            lr=lr,
            weight_decay=settings.weight_decay,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            seed=seed,
        )
        config = {"module": module, "dimension": dimension}
        layers = (len(study.loaded.model.blocks),)
        candidate = Candidate.model_validate(
            {"adapter": "subspace", "layers": layers, "config": config, "recipe": recipe}
        )
        known = ledger.outcomes([candidate])
        outcome = known[0] if known else finetune(study, candidate, ledger, settings.checkpoint_seconds, lambda _: None)
        if not known:
            ledger.finish([candidate], outcome)
        scores.append(outcome.results[-1].validation_score)
    return max(scores)


def d90(dimensions: Sequence[int], scores: Sequence[float], reference: float) -> float | None:
    """Return where a curve first reaches 90 % of the reference, interpolated in log d."""
    wanted = REACHED * reference
    for place, (dimension, score) in enumerate(zip(dimensions, scores, strict=True)):
        if score < wanted:
            continue
        if place == 0:
            return float(dimension)
        before, low = dimensions[place - 1], scores[place - 1]
        share = (wanted - low) / (score - low)
        return math.exp(math.log(before) + share * (math.log(dimension) - math.log(before)))
    return None


def most_compressible(curves: Sequence[Curve], num: int) -> tuple[str, ...]:
    """Return the submodules to adapt: those of lowest d90, the lowest first."""
    known = [(curve.d90, curve.module) for curve in curves if curve.d90 is not None]
    return tuple(module for _, module in sorted(known)[:num])


def write_curves(out: str, curves: Sequence[Curve]) -> None:
    """Write intrinsic_dimension.json and .svg into a folder."""
    text = json.dumps([curve.model_dump(mode="json") for curve in curves], indent=2)
    write_atomic(f"{out}/intrinsic_dimension.json", text.encode())
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        name = f"{curve.module} (d90 {'–' if curve.d90 is None else f'{curve.d90:.0f}'})"
        (line,) = axes.plot(curve.dimensions, curve.scores, marker="o", label=name)
        axes.axhline(REACHED * curve.reference, color=line.get_color(), linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="dimension of the subspace", ylabel="validation score")
    axes.legend()
    figure.savefig(f"{out}/intrinsic_dimension.svg")
