"""Training every candidate that reads the same layers, in one pass over their tokens.

Knows batches, epochs and endings; nothing of where rows come from, nor of what is written. The order of the rows is
given and depends on no candidate, so each sees the same batches whoever trains beside it.
"""

import math
import time
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..adapters import get_adapter
from ..adapters.adapter import Adapter, Scope
from ..modules.device import with_float64
from ..runs.candidate import Candidate, alike
from ..runs.result import DIVERGED, OK, EpochResult
from ..targets.target import LossWeights, Scores, Target, loss_weights_of
from ..tokens.batch import TokenBatch
from ..tokens.feed import BLOCK_ROWS, Data
from ..tokens.order import Order, even_batches
from .closed_form import solve
from .forward import forward, predictions
from .halving import Halving
from .stack import Stack, gradients_of, start, tensors_of


class Group:
    """The training of some candidates that share layers and batch size."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        scopes: Callable[[Candidate], Scope],
        train: Data,
        validation: Data,
        target: Target,
        halving: Halving,
    ) -> None:
        self._target = target
        self._halving = halving
        self._train = train
        self._validation = validation
        self._batch_size = candidates[0].recipe.batch_size
        self._scopes = scopes
        self.results: list[EpochResult] = []
        self.trained: dict[str, dict[str, Tensor]] = {}
        solved = [get_adapter(candidate.adapter).closed_form for candidate in candidates]
        self._closed_form = [one for one, is_solved in zip(candidates, solved, strict=True) if is_solved]
        moved = [one for one, is_solved in zip(candidates, solved, strict=True) if not is_solved]
        self.stacks = [self.fresh(those) for those in alike(moved)]
        self.begin_epoch(1)

    def fresh(self, candidates: list[Candidate]) -> Stack:
        """Return a stack of candidates that are alike, as it is before its first step."""
        emphasis = self._emphasis(candidates, self._scopes(candidates[0]).num_outputs)
        return start(candidates, self._drawn(candidates), emphasis)

    def _drawn(self, candidates: list[Candidate]) -> Adapter:
        family = get_adapter(candidates[0].adapter)
        config = family.recorded(candidates[0].config)
        seeds = [candidate.init_seed for candidate in candidates]
        return family.build(config, self._scopes(candidates[0]), seeds).to(self._train.labels.device)

    def _emphasis(self, candidates: list[Candidate], num_outputs: int) -> LossWeights:
        recipes, labels = [candidate.recipe for candidate in candidates], self._train.labels
        balanced = [recipe.class_weights == "balanced" for recipe in recipes]
        weights = self._target.balance(labels, num_outputs) if any(balanced) else None
        return loss_weights_of([recipe.label_smoothing for recipe in recipes], balanced, weights, labels.device)

    def begin_epoch(self, epoch: int) -> None:
        """Stand before the first batch of an epoch, counted from 1."""
        device = self._train.labels.device
        self.epoch, self.num_batches = epoch, 0
        for stack in self.stacks:
            stack.begin_epoch(epoch)
        self.totals = [torch.zeros(len(stack.candidates), device=device) for stack in self.stacks]

    def run(self, order: Order, progress: Callable[[int], None], after_batch: Callable[[], None] | None = None) -> None:
        """Train all to their end; `progress` hears how many adapters each epoch had."""
        ended = {result.candidate.adapter_id for result in self.results}
        pending = [candidate for candidate in self._closed_form if candidate.adapter_id not in ended]
        if pending:
            self._solve(pending, order.num_views)
            progress(len(pending))
        while self.stacks:
            num_adapters = sum(len(stack.candidates) for stack in self.stacks)
            self._run_epoch(order, num_adapters, after_batch or (lambda: None))
            progress(num_adapters)

    def _solve(self, candidates: Sequence[Candidate], num_views: int) -> None:
        """Solve what has a closed form, from one walk through the train rows in all their views."""
        begin = time.perf_counter()
        adapters = [self._drawn([candidate]) for candidate in candidates]
        losses = solve(adapters, self._train, num_views, self._target)
        measured = [scores for (scores,) in evaluate(adapters, self._validation, self._target)]
        seconds = (time.perf_counter() - begin) / len(candidates)
        for candidate, adapter, loss, scores in zip(candidates, adapters, losses, measured, strict=True):
            status = self._status(loss, scores.loss, 1)
            figures = (loss, _score(scores, status), scores.loss, seconds, adapter.num_parameters, status)
            self.results.append(EpochResult(candidate, 1, *figures))
            if status == OK:
                self.trained[candidate.adapter_id] = tensors_of(adapter, 0)

    def _run_epoch(self, order: Order, num_adapters: int, after_batch: Callable[[], None]) -> None:
        begin, epoch = time.perf_counter(), self.epoch
        train_losses = self._pass(order, after_batch)
        measured = evaluate([stack.adapter for stack in self.stacks], self._validation, self._target)
        seconds = (time.perf_counter() - begin) / num_adapters
        statuses = self._statuses(epoch, train_losses, measured)
        survivors: list[Stack] = []
        for stack, loss, scores in zip(self.stacks, train_losses, measured, strict=True):
            staying = self._record(stack, epoch, loss, scores, seconds, statuses)
            if len(staying) == len(stack.candidates):
                survivors.append(stack)
            elif staying:
                survivors.append(stack.subset(staying))
        self.stacks = survivors
        self.begin_epoch(epoch + 1)

    def _pass(self, order: Order, after_batch: Callable[[], None]) -> list[Float[Tensor, " _adapter"]]:
        """Train on every row that is left of the epoch; return the mean loss of every adapter over all of it."""
        num_rows, device = len(self._train.labels), self._train.labels.device
        batches = even_batches(order.epoch(self.epoch).to(device), self._batch_size)
        fed = self._train.feed.batches(batches, self.num_batches)
        for batch, seen in zip(batches[self.num_batches :], fed, strict=True):
            step = (self.epoch - 1) * len(batches) + self.num_batches
            found = self._step(seen, self._train.labels[batch % num_rows], step, len(batches))
            for total, loss in zip(self.totals, found, strict=True):
                total += loss.detach() * len(batch)
            self.num_batches += 1
            after_batch()
        return [total / num_rows for total in self.totals]

    def _step(
        self, seen: TokenBatch, labels: Tensor, step: int, steps_per_epoch: int
    ) -> list[Float[Tensor, " _adapter"]]:
        for stack in self.stacks:
            stack.adapter.noise = stack.noise(step)
        outputs = forward([stack.adapter for stack in self.stacks], seen)
        found = [
            self._target.losses(mine, labels, stack.emphasis) for mine, stack in zip(outputs, self.stacks, strict=True)
        ]
        for stack, gradients in zip(self.stacks, gradients_of(found, self.stacks), strict=True):
            stack.adapter.noise = None
            stack.step(gradients, step, steps_per_epoch)
        return found

    def _statuses(self, epoch: int, train_losses: Sequence[Tensor], measured: Sequence[list[Scores]]) -> dict[str, str]:
        """Say of every adapter how it came out of an epoch: a number went wrong, a rung stopped it, or all is well."""
        candidates = [candidate for stack in self.stacks for candidate in stack.candidates]
        losses = [scores.loss for table in measured for scores in table]
        loss = torch.cat(list(train_losses)).tolist()
        found = {one.adapter_id: self._status(x, y, epoch) for one, x, y in zip(candidates, loss, losses, strict=True)}
        well = [(one, value) for one, value in zip(candidates, losses, strict=True) if found[one.adapter_id] == OK]
        return found | self._halving.stopped(well, epoch)

    def _status(self, train_loss: float, validation_loss: float, epoch: int) -> str:
        if not math.isfinite(train_loss):
            return f"{DIVERGED} in epoch {epoch}: train loss is {train_loss}"
        if self._validation.feed.num_rows and not math.isfinite(validation_loss):
            return f"{DIVERGED} in epoch {epoch}: validation loss is {validation_loss}"
        return OK

    def _record(
        self,
        stack: Stack,
        epoch: int,
        loss: Tensor,
        scores: list[Scores],
        seconds: float,
        statuses: dict[str, str],
    ) -> list[int]:
        """Write down an epoch, keep what is finished, and return who trains on."""
        staying: list[int] = []
        for index, candidate in enumerate(stack.candidates):
            status = statuses[candidate.adapter_id]
            found = (
                float(loss[index]),
                _score(scores[index], status),
                scores[index].loss,
                seconds,
                stack.adapter.num_parameters,
                status,
            )
            self.results.append(EpochResult(candidate, epoch, *found))
            if status == OK and epoch < candidate.recipe.epochs:
                staying.append(index)
            elif status == OK:
                self.trained[candidate.adapter_id] = stack.tensors(index)
        return staying


def _score(scores: Scores, status: str) -> float:
    return math.nan if status.startswith(DIVERGED) else scores.score


def evaluate(adapters: Sequence[Adapter], data: Data, target: Target) -> list[list[Scores]]:
    """Return score and loss of every adapter of every stack; NaN where there is no row."""
    if not data.feed.num_rows:
        return [[Scores(math.nan, math.nan)] * adapter.num_adapters for adapter in adapters]
    found: list[list[Tensor]] = [[] for _ in adapters]
    places = torch.arange(data.feed.num_rows, device=data.labels.device)
    for seen in data.feed.batches(places.split(BLOCK_ROWS)):
        for kept, part in zip(found, predictions(adapters, seen, target), strict=True):
            kept.append(part)
    stacked, labels = [with_float64(torch.cat(parts, 1)) for parts in found], with_float64(data.labels)
    return [[target.score(one, labels) for one in table] for table in stacked]
