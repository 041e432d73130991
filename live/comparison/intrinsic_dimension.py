"""Local intrinsic dimension: how many random directions one kind of weight needs to learn a task.

After Li et al. 2018, restricted to one submodule (inferred): its weights in all blocks are theta0 + P z with a fixed
random P, and only z in R^d and the classifier are trained. d90 is the smallest d that reaches 90 % of the score of
training the submodule in full, interpolated in log d; it is undefined where the classifier alone reaches as much. The
submodule of lowest d90 is the most compressible, and the one to adapt.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean

from icecore.store import IcecoreError, choose, require_destination
from icecore.train.runs import STATUS_OK, Candidate, Ledger

from ..finetune.finetune import FinetuneProgress, finetune
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
    where: str,
    out: str,
    settings: IntrinsicSettings,
    progress: Callable[[FinetuneProgress], None] | None = None,
) -> list[Curve]:
    """Measure the curve of every submodule of the settings, and write the curves and the trainings to the folder `out`.

    `where` is a store or a source. Each point is the validation score of the best learning rate, averaged over seeds;
    the test split is not read. A killed call resumes when it is made again. `progress` is called after each epoch.

    Raises:
        UsageError: an unknown submodule, or `out` holds something else.
        IcecoreError: every learning rate diverged at some point; finished trainings are kept.
    """
    for module in settings.modules:
        choose(SUBMODULES, module, "submodule")
    require_destination(out, "study")
    store = open_rows(where, out, settings)
    Path(out).mkdir(parents=True, exist_ok=True)
    study = open_study(store, settings, out)
    measurement = _Measurement(study, study.ledger(f"{out}/training"), settings, progress or (lambda _: None))
    curves: list[Curve] = []
    with measurement.ledger.held(store):
        floor = measurement.score(FLOOR, {})
        for module in settings.modules:
            scores = [
                measurement.score(METHOD, {"module": module, "dimension": dimension})
                for dimension in (WHOLE, *settings.dimensions)
            ]
            reference, *by_dimension = scores
            curves.append(make_curve(module, settings.dimensions, by_dimension, floor=floor, reference=reference))
            write_curves(out, curves)
    return curves


class _Measurement:
    """Validation scores of configurations, each trained at every learning rate and seed unless the ledger has it."""

    def __init__(
        self,
        study: FinetuneContext,
        ledger: Ledger,
        settings: IntrinsicSettings,
        progress: Callable[[FinetuneProgress], None],
    ) -> None:
        self.ledger = ledger
        self._study = study
        self._settings = settings
        self._progress = progress
        num_points = len(settings.modules) * (1 + len(settings.dimensions))
        num_trainings = len(self._rates(FLOOR)) + num_points * len(self._rates(METHOD))
        self._total = num_trainings * settings.seeds * settings.epochs
        self._done = 0  # epochs of finished trainings

    def score(self, method: str, config: Config) -> float:
        """Return the validation score of a configuration at its best learning rate, averaged over seeds.

        Raises:
            IcecoreError: the configuration diverged at every learning rate.
        """
        first = self._settings.seed
        return mean(self._best(method, config, seed) for seed in range(first, first + self._settings.seeds))

    def _rates(self, method: str) -> tuple[float, ...]:
        return self._settings.lr or get_method(method).lrs

    def _best(self, method: str, config: Config, seed: int) -> float:
        rates, layers = self._rates(method), (len(self._study.loaded.model.blocks),)
        candidates = [
            Candidate.model_validate(
                {"adapter": method, "layers": layers, "config": config, "recipe": self._settings.recipe(lr, seed)}
            )
            for lr in rates
        ]
        scores = [score for candidate in candidates if math.isfinite(score := self._trained(candidate))]
        if not scores:
            raise IcecoreError(f"{method} {config}, seed {seed}: diverged at every learning rate {rates}; lower --lr")
        return max(scores)

    def _trained(self, candidate: Candidate) -> float:
        """Train a candidate unless the ledger has it; return its validation score, NaN if it diverged."""
        known = self.ledger.outcomes([candidate])
        name = _name(candidate.config)

        def report(epochs: int) -> None:
            self._progress(FinetuneProgress(self._done + epochs, self._total, name))

        report(0)
        outcome = (
            known[0]
            if known
            else finetune(self._study, candidate, self.ledger, self._settings.checkpoint_seconds, report)
        )
        if not known:
            self.ledger.finish([candidate], outcome)
        self._done += candidate.recipe.epochs
        last = outcome.results[-1]
        return last.validation_score if last.status == STATUS_OK else math.nan


def _name(config: Mapping[str, object]) -> str:
    """Return a configuration in words for the progress bar."""
    if not config:
        return "classifier alone"
    dimension = config["dimension"]
    return f"{config['module']}, {f'dimension {dimension}' if dimension else 'all of it'}"
