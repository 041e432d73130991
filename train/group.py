"""Training every candidate that reads the same layers, in one pass over their tokens.

Knows batches, epochs and endings; nothing of where rows come from, nor of what is written. The order of the rows is a
function of the seed and the epoch alone, so a candidate sees the same batches whoever trains beside it.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .adapter import Adapter, Scope
from .adapters import get_adapter
from .candidate import Candidate
from .feed import Feed, blocks
from .forward import forward, probabilities
from .halving import Halving
from .stack import Stack, gradients_of, start
from .target import losses, score

OK = "ok"


@dataclass(frozen=True)
class EpochResult:
    """What one adapter did in one epoch, counted from 1; `seconds` is its share of the group's time."""

    candidate: Candidate
    epoch: int
    train_loss: float
    validation_top1: float
    validation_nll: float
    seconds: float
    num_parameters: int
    status: str


@dataclass(frozen=True)
class Data:
    """The rows of some layers, with their labels."""

    feed: Feed
    labels: Int64[Tensor, " row"]


class Group:
    """The training of some candidates that share layers and batch size."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        scopes: Callable[[Candidate], Scope],
        train: Data,
        validation: Data,
        halving: Halving,
    ) -> None:
        self._halving = halving
        self._train = train
        self._validation = validation
        self._batch_size = candidates[0].recipe.batch_size
        self._stacks = [_fresh(alike, scopes, train.labels.device) for alike in _alike(candidates)]
        self.results: list[EpochResult] = []
        self.trained: dict[str, dict[str, Tensor]] = {}

    def run(self, shuffle_seed: int, progress: Callable[[int], None]) -> None:
        """Train all to their end; `progress` hears how many adapters each epoch had."""
        for epoch in itertools.count(1):
            if not self._stacks:
                return
            num_adapters = sum(len(stack.candidates) for stack in self._stacks)
            self._epoch(epoch, shuffle_seed, num_adapters)
            progress(num_adapters)

    def _epoch(self, epoch: int, shuffle_seed: int, num_adapters: int) -> None:
        begin = time.perf_counter()
        train_losses = self._pass(epoch, shuffle_seed)
        measured = evaluate([stack.adapter for stack in self._stacks], self._validation)
        seconds = (time.perf_counter() - begin) / num_adapters
        statuses = self._statuses(epoch, train_losses, measured)
        survivors: list[Stack] = []
        for stack, loss, scores in zip(self._stacks, train_losses, measured, strict=True):
            staying = self._record(stack, epoch, loss, scores, seconds, statuses)
            if len(staying) == len(stack.candidates):
                survivors.append(stack)
            elif staying:
                survivors.append(stack.subset(staying))
        self._stacks = survivors

    def _pass(self, epoch: int, shuffle_seed: int) -> list[Float[Tensor, " _adapter"]]:
        """Train on every row once; return the mean loss of every adapter."""
        labels = self._train.labels
        steps_per_epoch = math.ceil(len(labels) / self._batch_size)
        totals = [torch.zeros(len(stack.candidates), device=labels.device) for stack in self._stacks]
        for number, places in enumerate(shuffled(len(labels), shuffle_seed, epoch).split(self._batch_size)):
            places = places.to(labels.device)
            found = self._step(places, (epoch - 1) * steps_per_epoch + number, steps_per_epoch)
            for total, loss in zip(totals, found, strict=True):
                total += loss.detach() * len(places)
        return [total / len(labels) for total in totals]

    def _step(self, places: Int64[Tensor, " row"], step: int, steps_per_epoch: int) -> list[Float[Tensor, " _adapter"]]:
        outputs = forward([stack.adapter for stack in self._stacks], self._train.feed.batch(places))
        found = [losses(logits, self._train.labels[places]) for logits in outputs]
        for stack, gradients in zip(self._stacks, gradients_of(found, self._stacks), strict=True):
            stack.step(gradients, step, steps_per_epoch)
        return found

    def _statuses(
        self, epoch: int, train_losses: Sequence[Tensor], measured: Sequence[list[tuple[float, float]]]
    ) -> dict[str, str]:
        """Say of every adapter how it came out of an epoch: a number went wrong, a rung stopped it, or all is well."""
        candidates = [candidate for stack in self._stacks for candidate in stack.candidates]
        nll = [scores[1] for table in measured for scores in table]
        loss = torch.cat(list(train_losses)).tolist()
        found = {one.adapter_id: _status(*numbers, epoch) for one, *numbers in zip(candidates, loss, nll, strict=True)}
        well = [(one, value) for one, value in zip(candidates, nll, strict=True) if found[one.adapter_id] == OK]
        return found | self._halving.stopped(well, epoch)

    def _record(
        self,
        stack: Stack,
        epoch: int,
        loss: Tensor,
        scores: list[tuple[float, float]],
        seconds: float,
        statuses: dict[str, str],
    ) -> list[int]:
        """Write down an epoch, keep what is finished, and return who trains on."""
        staying: list[int] = []
        for index, candidate in enumerate(stack.candidates):
            status = statuses[candidate.adapter_id]
            found = (float(loss[index]), *scores[index], seconds, stack.adapter.num_parameters, status)
            self.results.append(EpochResult(candidate, epoch, *found))
            if status == OK and epoch < candidate.recipe.epochs:
                staying.append(index)
            elif status == OK:
                self.trained[candidate.adapter_id] = stack.tensors(index)
        return staying


def shuffled(num_rows: int, seed: int, epoch: int) -> Int64[Tensor, " row"]:
    """Return the order of the rows in an epoch."""
    return torch.randperm(num_rows, generator=torch.Generator().manual_seed((seed << 32) + epoch))


def evaluate(adapters: Sequence[Adapter], data: Data) -> list[list[tuple[float, float]]]:
    """Return top-1 and mean NLL of every adapter of every stack."""
    found: list[list[Tensor]] = [[] for _ in adapters]
    for places in blocks(data.feed.num_rows, data.labels.device):
        for kept, part in zip(found, probabilities(adapters, data.feed.batch(places)), strict=True):
            kept.append(part)
    stacked = [torch.cat(parts, 1) for parts in found]
    return [[_measure(one, data.labels) for one in table] for table in stacked]


def _measure(table: Float[Tensor, "row classes"], labels: Int64[Tensor, " row"]) -> tuple[float, float]:
    scores = score(table, labels)
    return scores.top1, scores.mean_nll


def _status(train_loss: float, validation_nll: float, epoch: int) -> str:
    if not math.isfinite(train_loss):
        return f"diverged in epoch {epoch}: train loss is {train_loss}"
    if not math.isfinite(validation_nll):
        return f"diverged in epoch {epoch}: validation loss is {validation_nll}"
    return OK


def _alike(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Part candidates into those that fit one stack."""
    shapes: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        shapes.setdefault(f"{candidate.adapter} {sorted(candidate.config.items())}", []).append(candidate)
    yield from shapes.values()


def _fresh(candidates: list[Candidate], scopes: Callable[[Candidate], Scope], device: torch.device) -> Stack:
    family = get_adapter(candidates[0].adapter)
    config = family.Config.model_validate(candidates[0].config)
    seeds = [candidate.init_seed for candidate in candidates]
    return start(candidates, family.start(config, scopes(candidates[0]), seeds).to(device))
