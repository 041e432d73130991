"""The table row of one in-backbone method: its best configuration, with scores and costs."""

from collections.abc import Mapping, Sequence

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from icecore.store import write_atomic
from icecore.train import SelectSettings
from icecore.train.runs import STATUS_OK, Candidate, Outcome, best_first
from icecore.train.selection import Measure
from icecore.train.splits import groups_of

from ..finetune.attach import merge, trained
from ..finetune.methods import get_method
from ..finetune.study import FinetuneContext, Rows
from .comparison import Compared, Interval


def standing(
    study: FinetuneContext,
    asked: Sequence[Candidate],
    outcomes: Mapping[str, Outcome],
    peaks: Mapping[str, int | None],
    out: str,
) -> Compared:
    """Choose a method's learning rate on validation, and only then predict the test rows.

    `asked` are the candidates of one method, `outcomes` and `peaks` (bytes) by adapter id. A method that merges leaves
    its merged weights in `out`/METHOD.safetensors.
    """
    best = min(asked, key=lambda candidate: _rank(outcomes[candidate.adapter_id]))
    name, outcome, last = best.adapter, outcomes[best.adapter_id], outcomes[best.adapter_id].results[-1]
    model = _restored(study, best, outcome)
    validation = outcome.predictions.get(best.adapter_id)
    test_rows = study.store.rows("test")
    test = (
        study.predict(model, test_rows, best.recipe.batch_size) if last.status == STATUS_OK and len(test_rows) else None
    )
    if last.status == STATUS_OK and get_method(name).merges:
        merge(model)
        write_atomic(
            f"{out}/{name}.safetensors", save({k: v.cpu().contiguous() for k, v in model.state_dict().items()})
        )
    return Compared(
        name=name,
        kind="in-backbone",
        config=best.config,
        lr=best.recipe.lr,
        status=last.status,
        validation=_interval(study, study.split.validation, None if validation is None else validation.float()),
        test=_interval(study, test_rows, test),
        num_parameters=last.num_parameters,
        seconds=outcome.training_seconds,
        search_seconds=sum(outcomes[candidate.adapter_id].training_seconds for candidate in asked),
        peak_bytes=peaks.get(best.adapter_id),
        multiply_adds=_multiply_adds(study, model),
    )


def _rank(outcome: Outcome) -> tuple[bool, float, float]:
    last = outcome.results[-1]
    return last.status != STATUS_OK, *best_first(last.validation_score, last.validation_loss)


@torch.no_grad()
def _restored(study: FinetuneContext, candidate: Candidate, outcome: Outcome) -> nn.Module:
    model = study.model(candidate)
    kept = outcome.trained.get(candidate.adapter_id, {})
    for name, tensor in trained(model).items():
        tensor.copy_(kept.get(name, tensor))
    return model.eval()


def _interval(study: FinetuneContext, rows: Rows, table: Tensor | None) -> Interval | None:
    if table is None:
        return None
    found = Measure(study.target, SelectSettings()).known(table, study.labels(rows), groups_of(study.store, rows))
    return None if found is None else Interval(score=found.score, low=found.low, high=found.high)


def _multiply_adds(study: FinetuneContext, model: nn.Module) -> int:
    """Return the multiply-adds of one image through the model, merged if the method merges."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *study.loaded.transform.input_size, device=study.device))
    return counter.get_total_flops() // 2
