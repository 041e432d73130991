"""Training of all candidates that read the same layers, in one pass over their tokens.

The module knows batches, epochs and how training ends; not where rows come from, nor what is written to disk. The order
of the rows is given and depends on no candidate, so that a candidate sees the same batches whatever trains beside it.
"""

import math
import time
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..adapters import get_adapter
from ..adapters.adapter import Adapter, Scope
from ..adapters.optional import ClosedForm
from ..modules.device import with_float64
from ..runs.candidate import Candidate, alike
from ..runs.result import STATUS_DIVERGED, STATUS_OK, EpochResult
from ..targets.target import Labels, LossWeights, Scores, Target, loss_weights_of
from ..tokens.batch import TokenBatch
from ..tokens.feed import BLOCK_ROWS, Data
from ..tokens.order import Order, even_batches
from .forward import forward, predictions
from .halving import Halving
from .stack import Stack, gradients_of, start, tensors_of


class AdapterSource:
    """How a group makes its adapters and reads its labels; this one draws every adapter afresh.

    `icecore.train.sweep.extend` overrides all four methods, to train new classes on a trained adapter.
    """

    def scope(self, scope: Scope) -> Scope:
        """Return the scope that the group's adapters have, given the scope of the store."""
        return scope

    def labels(self, labels: Labels) -> Labels:
        """Return the labels that the group's adapters predict, given the labels of the store."""
        return labels

    def build(self, candidates: Sequence[Candidate], scope: Scope) -> Adapter:
        """Return the stack of some candidates of one family and configuration, before the first step."""
        family = get_adapter(candidates[0].adapter)
        config = family.recorded(candidates[0].config)
        return family.build(config, scope, [candidate.init_seed for candidate in candidates])

    def trained(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors to keep of an adapter that has been trained to its end."""
        return tensors


class Group:
    """The training of some candidates that share layers and batch size, as far as it has come.

    `results` has one entry for each adapter and epoch, `trained` the tensors of the adapters that are finished, by
    adapter id; `stacks` are the adapters in training, `epoch` (from 1) and `num_batches` the position in the order,
    and `totals` the losses summed over the epoch's rows so far.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        *,
        scopes: Callable[[Candidate], Scope],
        train: Data,
        validation: Data,
        target: Target,
        halving: Halving,
        source: AdapterSource | None = None,
    ) -> None:
        self._target = target
        self._halving = halving
        self._source = source or AdapterSource()
        self._train_feed, self._train_labels = train.feed, self._source.labels(train.labels)
        self._train_groups = train.groups
        self._validation = Data(validation.feed, self._source.labels(validation.labels))
        self._batch_size = candidates[0].recipe.batch_size
        self._scopes = scopes
        self.results: list[EpochResult] = []
        self.trained: dict[str, dict[str, Tensor]] = {}
        closed_form = [issubclass(get_adapter(candidate.adapter), ClosedForm) for candidate in candidates]
        self._closed_form = [one for one, is_closed in zip(candidates, closed_form, strict=True) if is_closed]
        by_gradient = [one for one, is_closed in zip(candidates, closed_form, strict=True) if not is_closed]
        self.stacks = [self.fresh(members) for members in alike(by_gradient)]
        self.begin_epoch(1)

    def fresh(self, candidates: list[Candidate]) -> Stack:
        """Return the stack of some candidates of one family and configuration, before its first step."""
        adapter = self._build(candidates)
        return start(candidates, adapter, self._loss_weights(candidates, adapter.scope.num_outputs))

    def _build(self, candidates: Sequence[Candidate]) -> Adapter:
        scope = self._source.scope(self._scopes(candidates[0]))
        return self._source.build(candidates, scope).to(self._train_labels.device)

    def _loss_weights(self, candidates: list[Candidate], num_outputs: int) -> LossWeights:
        recipes, labels = [candidate.recipe for candidate in candidates], self._train_labels
        balanced = [recipe.class_weights == "balanced" for recipe in recipes]
        weights = self._target.balance(labels, num_outputs) if any(balanced) else None
        return loss_weights_of([recipe.label_smoothing for recipe in recipes], balanced, weights, labels.device)

    def begin_epoch(self, epoch: int) -> None:
        """Move to the first batch of an epoch, counted from 1, and enter the phases that begin with the epoch."""
        device = self._train_labels.device
        self.epoch, self.num_batches = epoch, 0
        for stack in self.stacks:
            stack.begin_epoch(epoch)
        self.totals = [torch.zeros(len(stack.candidates), device=device) for stack in self.stacks]

    def run(self, order: Order, progress: Callable[[int], None], after_batch: Callable[[], None] | None = None) -> None:
        """Train all candidates to their end.

        `progress` is called after every epoch with the number of adapters that it trained, `after_batch` after every
        batch; an exception of `after_batch` leaves the group where a snapshot may be taken.
        """
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
        """Solve the candidates that have a closed form, from one pass over the train rows in all their views."""
        begin = time.perf_counter()
        built = [self._build([candidate]) for candidate in candidates]
        adapters = [adapter for adapter in built if isinstance(adapter, ClosedForm)]
        losses = self._solve_all(adapters, num_views)
        measured = [scores for (scores,) in evaluate(adapters, self._validation, self._target)]
        seconds = (time.perf_counter() - begin) / len(candidates)
        for candidate, adapter, loss, scores in zip(candidates, adapters, losses, measured, strict=True):
            status = self._status(loss, scores.loss, 1)
            self.results.append(_result(candidate, 1, loss, scores, seconds, adapter.num_parameters, status))
            if status == STATUS_OK:
                self.trained[candidate.adapter_id] = self._source.trained(tensors_of(adapter, 0))

    def _solve_all(self, adapters: Sequence[ClosedForm], num_views: int) -> list[float]:
        """Solve stacks of one on the CPU, and return the loss of each on left-out rows.

        The regressors of all rows are held in memory. All views of a row are left out together.
        """
        num_rows, labels = len(self._train_labels), self._train_labels
        gathered: list[list[Tensor]] = [[] for _ in adapters]
        sample_indices = torch.arange(num_rows * num_views, device=labels.device)
        for batch in self._train_feed.batches(sample_indices.split(BLOCK_ROWS)):
            for parts, adapter in zip(gathered, adapters, strict=True):
                parts.append(adapter.regressors(batch).detach().cpu())
        labels = labels.cpu().repeat(num_views, *[1] * (labels.ndim - 1))
        groups = (torch.arange(num_rows) if self._train_groups is None else self._train_groups).repeat(num_views)
        return [
            adapter.solve(torch.cat(parts), labels, groups, self._target)
            for adapter, parts in zip(adapters, gathered, strict=True)
        ]

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
        """Train on the rest of the epoch; return each adapter's mean loss over the rows of the whole epoch."""
        num_rows, device = len(self._train_labels), self._train_labels.device
        batches = even_batches(order.epoch(self.epoch).to(device), self._batch_size)
        fed = self._train_feed.batches(batches, self.num_batches)
        for sample_indices, batch in zip(batches[self.num_batches :], fed, strict=True):
            step = (self.epoch - 1) * len(batches) + self.num_batches
            labels = self._train_labels[sample_indices % num_rows]  # all views of a row have its label
            for total, loss in zip(self.totals, self._step(batch, labels, step, len(batches)), strict=True):
                total += loss.detach() * len(sample_indices)
            self.num_batches += 1
            after_batch()
        return [total / num_rows for total in self.totals]

    def _step(
        self, batch: TokenBatch, labels: Tensor, step: int, steps_per_epoch: int
    ) -> list[Float[Tensor, " _adapter"]]:
        for stack in self.stacks:
            stack.adapter.noise = stack.noise(step)
        outputs = forward([stack.adapter for stack in self.stacks], batch)
        losses = [
            self._target.losses(output, labels, stack.loss_weights)
            for output, stack in zip(outputs, self.stacks, strict=True)
        ]
        for stack, gradients in zip(self.stacks, gradients_of(losses, self.stacks), strict=True):
            stack.adapter.noise = None
            stack.step(gradients, step, steps_per_epoch)
        return losses

    def _statuses(self, epoch: int, train_losses: Sequence[Tensor], measured: Sequence[list[Scores]]) -> dict[str, str]:
        """Return the status of every adapter after an epoch, by id: diverged, stopped by a rung, or STATUS_OK."""
        candidates = [candidate for stack in self.stacks for candidate in stack.candidates]
        validation_losses = [scores.loss for table in measured for scores in table]
        triples = list(zip(candidates, torch.cat(list(train_losses)).tolist(), validation_losses, strict=True))
        statuses = {
            candidate.adapter_id: self._status(train_loss, validation_loss, epoch)
            for candidate, train_loss, validation_loss in triples
        }
        standing = [(candidate, loss) for candidate, _, loss in triples if statuses[candidate.adapter_id] == STATUS_OK]
        return statuses | self._halving.stopped(standing, epoch)

    def _status(self, train_loss: float, validation_loss: float, epoch: int) -> str:
        if not math.isfinite(train_loss):
            return f"{STATUS_DIVERGED} in epoch {epoch}: train loss is {train_loss}"
        if self._validation.feed.num_rows and not math.isfinite(validation_loss):
            return f"{STATUS_DIVERGED} in epoch {epoch}: validation loss is {validation_loss}"
        return STATUS_OK

    def _record(
        self,
        stack: Stack,
        epoch: int,
        loss: Tensor,
        scores: list[Scores],
        seconds: float,
        statuses: dict[str, str],
    ) -> list[int]:
        """Append the results of an epoch, keep finished adapters, and return the indices of those that train on."""
        staying: list[int] = []
        for index, candidate in enumerate(stack.candidates):
            status = statuses[candidate.adapter_id]
            size = stack.adapter.num_parameters
            self.results.append(_result(candidate, epoch, float(loss[index]), scores[index], seconds, size, status))
            if status == STATUS_OK and epoch < candidate.recipe.epochs:
                staying.append(index)
            elif status == STATUS_OK:
                self.trained[candidate.adapter_id] = self._source.trained(stack.tensors(index))
        return staying


def _result(
    candidate: Candidate,
    epoch: int,
    train_loss: float,
    scores: Scores,
    seconds: float,
    num_parameters: int,
    status: str,
) -> EpochResult:
    score = math.nan if status.startswith(STATUS_DIVERGED) else scores.score
    return EpochResult(candidate, epoch, train_loss, score, scores.loss, seconds, num_parameters, status)


def evaluate(adapters: Sequence[Adapter], data: Data, target: Target) -> list[list[Scores]]:
    """Return score and loss of every adapter of every stack on all rows of a feed; NaN for a feed without rows."""
    if not data.feed.num_rows:
        return [[Scores(math.nan, math.nan)] * adapter.num_adapters for adapter in adapters]
    by_stack: list[list[Tensor]] = [[] for _ in adapters]
    sample_indices = torch.arange(data.feed.num_rows, device=data.labels.device)
    for batch in data.feed.batches(sample_indices.split(BLOCK_ROWS)):
        for parts, part in zip(by_stack, predictions(adapters, batch, target), strict=True):
            parts.append(part)
    tables, labels = [with_float64(torch.cat(parts, 1)) for parts in by_stack], with_float64(data.labels)
    return [[target.score(of_adapter, labels) for of_adapter in table] for table in tables]
