"""One candidate fine-tuned from wherever a ledger says that it stands, and written down on the way."""

from collections.abc import Callable

from icecore.train.runs import STATUS_OK, Candidate, Ledger, Outcome
from icecore.train.sweep import Clock

from .study import FinetuneContext
from .training import Training


def finetune(
    study: FinetuneContext,
    candidate: Candidate,
    ledger: Ledger,
    checkpoint_seconds: float,
    report: Callable[[int], None],
) -> Outcome:
    """Train one candidate to its end; `report` hears after each epoch how many are done. A kill costs a few batches."""
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
    table = study.predict(training.model, study.split.validation, candidate.recipe.batch_size)
    key = candidate.adapter_id
    return Outcome(training.results, {key: training.tensors}, {key: table}, 0.0, seconds)
