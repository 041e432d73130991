"""Local intrinsic dimension: in how few random directions can one kind of weight learn a task (methods, inferred).

After Li et al. 2018, restricted to one submodule: its weights in all blocks are theta0 + P z with a fixed random P, and
z in R^d and the classifier alone are trained. d90 is the smallest d that reaches 90 % of the score of training the
submodule in full, interpolated in log d. The submodule of lowest d90 is the most compressible, and the one to adapt.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import mean

from icecore.store import choose
from icecore.train.candidate import Candidate
from icecore.train.ledger import Ledger

from .curve import Curve, make_curve
from .curve_files import write_curves
from .finetune import finetune
from .methods import get_method
from .settings import IntrinsicSettings
from .study import Study, open_study
from .subject import open_rows
from .submodules import SUBMODULES

METHOD = "subspace"
WHOLE = 0  # the dimension that means all of a submodule


def intrinsic_dimension(
    where: str, out: str, settings: IntrinsicSettings, progress: Callable[[str, int], None] | None = None
) -> list[Curve]:
    """Measure the curve of every submodule on the rows of a store or a source; write the folder `out`.

    Each point is the best of the learning rates, by validation; no test row is looked at. Resumes as `compare` does.
    `progress` hears which submodule and dimension begins, 0 for all of it.

    Raises:
        IcecoreError: before any work is lost.
    """
    for module in settings.modules:
        choose(SUBMODULES, module, "submodule")
    Path(out).mkdir(parents=True, exist_ok=True)
    store = open_rows(where, out, settings)
    study = open_study(store, settings, out)
    ledger = Ledger(f"{out}/training", study.conditions, halving=False)
    curves: list[Curve] = []
    with ledger.held(store):
        for module in settings.modules:
            scores: list[float] = []
            for dimension in (WHOLE, *settings.dimensions):
                (progress or (lambda *_: None))(module, dimension)
                scores.append(_score(study, ledger, settings, {"module": module, "dimension": dimension}))
            curves.append(make_curve(module, settings.dimensions, scores[1:], scores[0]))
            write_curves(out, curves)
    return curves


def _score(study: Study, ledger: Ledger, settings: IntrinsicSettings, config: dict[str, str | int]) -> float:
    """Return the validation score of one submodule in one dimension: of its best learning rate, the mean over seeds."""
    rates = settings.lr or get_method(METHOD).lrs
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return mean(max(_trained(study, ledger, settings, config, lr, seed) for lr in rates) for seed in seeds)


def _trained(
    study: Study, ledger: Ledger, settings: IntrinsicSettings, config: dict[str, str | int], lr: float, seed: int
) -> float:
    layers = (len(study.loaded.model.blocks),)
    point = {"adapter": METHOD, "layers": layers, "config": config, "recipe": settings.recipe(lr, seed)}
    candidate = Candidate.model_validate(point)
    if known := ledger.outcomes([candidate]):
        return known[0].results[-1].validation_score
    outcome = finetune(study, candidate, ledger, settings.checkpoint_seconds, lambda _: None)
    ledger.finish([candidate], outcome)
    return outcome.results[-1].validation_score
