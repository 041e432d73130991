"""Local intrinsic dimension: in how few random directions can one kind of weight learn a task (methods, inferred).

After Li et al. 2018, restricted to one submodule: its weights in all blocks are theta0 + P z with a fixed random P, and
z in R^d and the classifier alone are trained. d90 is the smallest d that reaches 90 % of the score of training the
submodule in full, interpolated in log d, where the classifier alone does not. The submodule of lowest d90 is the most
compressible, and the one to adapt.
"""

import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from icecore.store import IcecoreError, choose, require_destination
from icecore.train.runs import STATUS_OK, Candidate, Ledger

from ..finetune.finetune import finetune
from ..finetune.methods import get_method
from ..finetune.settings import IntrinsicSettings
from ..finetune.study import FinetuneContext, open_study
from ..finetune.subject import open_rows
from ..finetune.weight_location import SUBMODULES
from .curve import Curve, make_curve
from .curve_files import write_curves

FLOOR, METHOD = "linear", "subspace"
WHOLE = 0  # the dimension that means all of a submodule
Config = dict[str, str | int]


def intrinsic_dimension(
    where: str, out: str, settings: IntrinsicSettings, progress: Callable[[str, int], None] | None = None
) -> list[Curve]:
    """Measure the curve of every submodule on the rows of a store or a source; write the folder `out`.

    Each point is the best of the learning rates, by validation; no test row is looked at. Resumes as `compare` does.
    `progress` hears which submodule and dimension begins, 0 for all of it; first the classifier alone.

    Raises:
        IcecoreError: before any work is lost.
    """
    for module in settings.modules:
        choose(SUBMODULES, module, "submodule")
    require_destination(out, "study")
    store = open_rows(where, out, settings)
    Path(out).mkdir(parents=True, exist_ok=True)
    study = open_study(store, settings, out)
    ledger = study.ledger(f"{out}/training")
    curves: list[Curve] = []
    say = progress or (lambda *_: None)
    with ledger.held(store):
        say("classifier", WHOLE)
        floor = _score(study, ledger, settings, FLOOR, {})
        for module in settings.modules:
            scores: list[float] = []
            for dimension in (WHOLE, *settings.dimensions):
                say(module, dimension)
                scores.append(_score(study, ledger, settings, METHOD, {"module": module, "dimension": dimension}))
            curves.append(make_curve(module, settings.dimensions, scores[1:], floor, scores[0]))
            write_curves(out, curves)
    return curves


def _score(study: FinetuneContext, ledger: Ledger, settings: IntrinsicSettings, method: str, config: Config) -> float:
    """Return the validation score of a configuration: of its best learning rate, the mean over seeds."""
    layers, rates = (len(study.loaded.model.blocks),), settings.lr or get_method(method).lrs

    def trained(lr: float, seed: int) -> float:
        point = {"adapter": method, "layers": layers, "config": config, "recipe": settings.recipe(lr, seed)}
        return _trained(study, ledger, Candidate.model_validate(point), settings.checkpoint_seconds)

    def best(seed: int) -> float:
        scores = [score for lr in rates if math.isfinite(score := trained(lr, seed))]
        if not scores:
            raise IcecoreError(f"{method} {config}, seed {seed}: diverged at every learning rate {rates}; lower --lr")
        return max(scores)

    return mean(best(seed) for seed in range(settings.seed, settings.seed + settings.seeds))


def _trained(study: FinetuneContext, ledger: Ledger, candidate: Candidate, checkpoint_seconds: float) -> float:
    """Train one candidate, where the ledger does not know it yet; return its score, NaN if it diverged."""
    known = ledger.outcomes([candidate])
    outcome = known[0] if known else finetune(study, candidate, ledger, checkpoint_seconds, lambda _: None)
    if not known:
        ledger.finish([candidate], outcome)
    last = outcome.results[-1]
    return last.validation_score if last.status == STATUS_OK else math.nan
