"""What every method reaches on real images, from a store: one line a method and data set.

Four data sets, DeiT-Tiny, all layers in float16. A method's configurations train in one sweep; for every seed the one
of best validation score is chosen, layer included, and only then the test split is read. Told are mean and deviation
of the test accuracy over seeds, the layer that was chosen, numbers trained, and seconds of training an adapter.
`ensemble` is what `select` makes of all methods together. Families that read one layer and cost most (attentive,
efficient, Open-InCA) train on the three layers that rank best by ridge. `--methods` and `--seeds` do less; `--runs
DIR` keeps what is trained, so that a second call goes on. `--table FILE` writes the lines as Markdown. `--full` adds
full fine-tuning (`against_full.py`): it takes longer than all else together.
"""

import argparse
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from against_full import against_full
from harness import SOURCES, Figure, main, scratch, store_of

from icecore.store import open_store
from icecore.train import Run, SelectSettings, TrainSettings, train
from icecore.train.adapters import ClosedForm, get_adapter
from icecore.train.runs.prediction_tables import PredictionTables
from icecore.train.runs.validation_predictions import ValidationPredictions
from icecore.train.selection.choice import choose
from icecore.train.selection.cost import Costs
from icecore.train.selection.test_split import TestSplit

LAST = 12
LEAST = {
    ("gtsrb", "inca"): 0.90,
    ("gtsrb", "losa"): 0.84,
    ("gtsrb", "vqt"): 0.60,
    ("rsscn7", "vqt"): 0.92,
    ("rsscn7", "losa"): 0.91,
    ("rsscn7", "inca"): 0.90,
}
METHODS: dict[str, dict[str, object]] = {
    "linear last": {"layers": str(LAST)},
    "linear": {},
    "inca": {},
    "attentive": {"layers": "top:3"},
    "efficient": {"layers": "top:3"},
    "open_inca": {"layers": "top:3", "options": {"open_inca": {"scale": [8.0]}}},
    "vqt": {"lr": (0.1,), "batch_size": 128},
    "losa": {"lr": (3e-3,), "weight_decay": (0.01,), "epochs": 30},
    "lst": {"lr": (3e-3,), "weight_decay": (0.01,), "epochs": 30},
    "mist": {"lr": (3e-3,), "weight_decay": (0.01,), "epochs": 30},
    "head2toe": {},
    "synqt": {"lr": (1e-3,), "epochs": 50},
}


@dataclass(frozen=True)
class Line:
    """What one method reached on one data set."""

    method: str
    data: str
    scores: tuple[float, ...]
    layer: str
    num_parameters: int
    seconds: float

    @property
    def mean(self) -> float:
        """The mean test accuracy over seeds."""
        return statistics.mean(self.scores)

    @property
    def deviation(self) -> float:
        """Its deviation over seeds."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0

    def __str__(self) -> str:
        accuracy = f"{100 * self.mean:.1f} ± {100 * self.deviation:.1f}"
        return (
            f"| {self.method} | {self.data} | {accuracy} | {self.layer} | {self.num_parameters} | {self.seconds:.0f} |"
        )


def best_of_each_seed(kept: ValidationPredictions) -> list[int]:
    """Return the place of the best adapter by validation, of every seed."""
    ranks: dict[int, tuple[float, float, int]] = {}
    for place, (candidate, rank) in enumerate(zip(kept.candidates, kept.ranks, strict=True)):
        seed = candidate.recipe.seed
        ranks[seed] = min(ranks.get(seed, (0.0, 0.0, place)), (*rank, place))
    return [place for _, _, place in ranks.values()]


def line_of(name: str, data: str, run: Run, store: str) -> Line:
    """Choose by validation, then read the test split."""
    kept = run.validation_predictions()
    places = best_of_each_seed(kept)
    chosen = [kept.candidates[place] for place in places]
    test = TestSplit(open_store(store), kept.target).predict_once(chosen, run.tensors(), torch.device("cpu"))
    truth = test.labels[test.known]
    scores = [float(kept.target.scores(test.row_results[one.adapter_id].verdicts[None], truth)) for one in chosen]
    layers = sorted({one.layers for one in chosen})
    layer = ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in layers)
    cost = run.facts["cost"]
    each = cost["training_seconds"] / cost["num_adapters"]
    return Line(name, data, tuple(scores), layer, max(kept.num_parameters[place] for place in places), each)


def joined(parts: list[PredictionTables]) -> PredictionTables:
    """Return the tables of several runs as those of one."""
    read = {name: part.read for part in parts for name in part.names}
    names = tuple(name for part in parts for name in part.names)
    return replace(parts[0], names=names, read=lambda into, name, start: read[name](into, name, start))


def ensemble(data: str, runs: list[Run], store: str) -> Line:
    """Let the default selector choose among all methods' adapters of the first seed."""
    kept = [run.validation_predictions() for run in runs]
    first = [one.subset([k for k, of in enumerate(one.candidates) if of.recipe.seed == 0]) for one in kept]
    pool = replace(
        first[0],
        candidates=tuple(of for one in first for of in one.candidates),
        num_parameters=tuple(of for one in first for of in one.num_parameters),
        tables=joined([one.tables for one in first]),
        loss_terms=torch.cat([one.loss_terms for one in first]),
        verdicts=torch.cat([one.verdicts for one in first]),
    )
    opened, settings = open_store(store), SelectSettings()
    weights = choose(pool, [pool.every_row], settings, Costs(opened))[0]
    members = [of for of in pool.candidates if of.adapter_id in weights]
    tensors = {key: value for run in runs for key, value in run.tensors().items()}
    test = TestSplit(opened, pool.target).predict_once(members, tensors, torch.device("cpu"), [weights])
    score = pool.target.score(test.mixtures[0][test.known], test.labels[test.known]).score
    sizes = dict(zip((of.adapter_id for of in pool.candidates), pool.num_parameters, strict=True))
    return Line("ensemble", data, (score,), "all", sum(sizes[key] for key in weights), 0.0)


def measure(data: str, folder: Path, options: argparse.Namespace) -> list[Line]:
    """Train every method on one data set."""
    store, folder = store_of(data, folder, options), options.runs or folder
    lines: list[Line] = []
    runs: list[Run] = []
    for name in options.methods.split(","):
        family, changes = name.split()[0], dict(METHODS[name])
        if not issubclass(get_adapter(family), ClosedForm):
            changes |= {"seeds": options.seeds} | ({"epochs": 3} if options.quick else {})
        settings = TrainSettings(adapters=(family,), device=options.device)
        runs.append(train(store, str(folder / f"{data}.{name}"), settings.model_copy(update=changes)))
        lines.append(line_of(name, data, runs[-1], store))
        print(lines[-1], flush=True)
    lines.append(ensemble(data, runs, store))
    print(lines[-1], flush=True)
    return lines


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    names = ("rsscn7",) if options.quick else tuple(options.data.split(","))
    with scratch() as folder:
        lines = [line for name in names for line in measure(name, folder, options)]
        beside = against_full(options.runs or folder, options) if options.full else []
    if options.table:
        head = "| method | data | test accuracy, % | layers | trained numbers | seconds |\n|---|---|---|---|---|---|\n"
        options.table.write_text(head + "\n".join(map(str, lines)) + "\n")
    figures = []
    for line in lines:
        least = LEAST.get((line.data, line.method))
        figures.append(Figure(f"{line.data}: {line.method}", line.mean, f">= {least}" if least else ""))
    means = {key: statistics.mean(line.mean for line in lines if line.method == key) for key in names_of(lines)}
    return [*figures, *(Figure(f"mean: {key}", value) for key, value in means.items()), *beside]


def names_of(lines: list[Line]) -> list[str]:
    """Return the methods in their order."""
    return list(dict.fromkeys(line.method for line in lines))


def more(options: argparse.ArgumentParser) -> None:
    """Add what this script alone is asked."""
    options.add_argument("--methods", default=",".join(METHODS))
    options.add_argument("--data", default=",".join(SOURCES))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--runs", type=Path, help="a folder that keeps what is trained")
    options.add_argument("--full", action="store_true", help="full fine-tuning as well")
    options.add_argument("--table", type=Path, help="a Markdown file to write")


if __name__ == "__main__":
    main(run, __doc__, more)
