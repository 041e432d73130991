"""One candidate trained inside the backbone, from its last checkpoint to its end."""

from collections.abc import Callable
from dataclasses import dataclass

from icecore.train.runs import STATUS_OK, Candidate, Ledger, Outcome
from icecore.train.sweep import Clock

from .study import FinetuneContext
from .training import Training


@dataclass(frozen=True)
class FinetuneProgress:
    """Progress of a command that trains inside the backbone: epochs over all candidates, and the current training."""

    done: int
    total: int
    training: str


def finetune(
    study: FinetuneContext,
    candidate: Candidate,
    ledger: Ledger,
    checkpoint_seconds: float,
    report: Callable[[int], None],
) -> Outcome:
    """Train a candidate to its last epoch, resuming from the ledger's checkpoint of the candidate if there is one.

    A checkpoint is saved after the first batch that ends `checkpoint_seconds` after the last one, so that a killed
    process loses no more. `report` is called after each epoch with the number of epochs done. The outcome holds the
    trained tensors and the validation predictions; both are empty where training diverged.
    """
    training, clock = Training(study, candidate), Clock(checkpoint_seconds)
    for entry in ledger.checkpoints([candidate]):
        training.restore(entry)

    def after_batch() -> None:
        if clock.is_due():
            ledger.save([candidate], training.snapshot())

    training.run(after_batch, lambda: report(len(training.results)))
    seconds = sum(result.seconds for result in training.results)
    if training.results[-1].status != STATUS_OK:
        return Outcome(training.results, {}, {}, 0.0, seconds)
    predictions = study.predict(training.model, study.split.validation, candidate.recipe.batch_size)
    adapter_id = candidate.adapter_id
    return Outcome(training.results, {adapter_id: training.tensors}, {adapter_id: predictions}, 0.0, seconds)
