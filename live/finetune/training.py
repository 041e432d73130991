"""Training of one candidate through the backbone: AdamW, cosine schedule with warm-up, snapshots after any batch.

Row order, views and schedule are those of a sweep. Knows no file.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from icecore.train.modules import on_device
from icecore.train.runs import (
    STATUS_DIVERGED,
    STATUS_OK,
    Candidate,
    Entry,
    EpochResult,
    Recipe,
    result_from_row,
    result_to_row,
)
from icecore.train.sweep import rate
from icecore.train.targets import LossWeights
from icecore.train.tokens import even_batches

from .attach import trained
from .study import FinetuneContext

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Training:
    """A training that can be interrupted: `run` continues from a restored snapshot, or from the start."""

    def __init__(self, study: FinetuneContext, candidate: Candidate) -> None:
        self._study = study
        self._candidate = candidate
        self.model = study.model(candidate)
        self._trained = trained(self.model)
        self._optimizer = torch.optim.AdamW(
            self._trained.values(), lr=candidate.recipe.lr, weight_decay=candidate.recipe.weight_decay
        )
        self._order = study.order(candidate.recipe.batch_size)
        self._labels = on_device(study.labels(study.split.train), study.device)
        self.results: list[EpochResult] = []
        self._begin_epoch()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The trained tensors by name, on the CPU."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self._trained.items()}

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is done, or training diverged."""
        return bool(self.results) and (self.results[-1].status != STATUS_OK or len(self.results) == self._recipe.epochs)

    @property
    def _recipe(self) -> Recipe:
        return self._candidate.recipe

    def _begin_epoch(self) -> None:
        self._num_batches, self._total, self._seconds = 0, torch.zeros((), device=self._study.device), 0.0

    def run(self, after_batch: Callable[[], None], after_epoch: Callable[[], None]) -> None:
        """Train until the last epoch or a loss that is not finite; append an EpochResult to `results` each epoch."""
        while not self.is_over:
            self._pass(after_batch)
            begin = time.perf_counter()
            rows = self._study.split.validation
            table = self._study.predict(self.model, rows, self._recipe.batch_size)
            scores = self._study.target.score(table, self._study.labels(rows))
            train_loss = float(self._total) / len(self._labels)
            is_finite = math.isfinite(train_loss + scores.loss)
            status = STATUS_OK if is_finite else f"{STATUS_DIVERGED} in epoch {len(self.results) + 1}"
            num_parameters = sum(tensor.numel() for tensor in self._trained.values())
            seconds = self._seconds + time.perf_counter() - begin
            self.results.append(
                EpochResult(
                    self._candidate,
                    len(self.results) + 1,
                    train_loss,
                    scores.score if is_finite else math.nan,
                    scores.loss,
                    seconds,
                    num_parameters,
                    status,
                )
            )
            self._begin_epoch()
            after_epoch()

    def _pass(self, after_batch: Callable[[], None]) -> None:
        """Train on the remaining batches of the current epoch."""
        epoch = len(self.results) + 1
        batches = even_batches(self._order.epoch(epoch), self._recipe.batch_size)
        self.model.train()  # in every epoch, since validation switches to eval mode
        for batch in batches[self._num_batches :]:
            begin = time.perf_counter()
            self._step(batch, (epoch - 1) * len(batches) + self._num_batches, self._recipe.epochs * len(batches))
            self._num_batches += 1
            self._seconds += time.perf_counter() - begin
            after_batch()

    def _step(self, batch: Tensor, step: int, num_steps: int) -> None:
        study = self._study
        views, rows = np.divmod(batch.numpy(), len(self._labels))
        outputs = study.outputs(self.model, study.split.train[rows], views)
        loss = study.target.losses(outputs[None], self._labels[torch.from_numpy(rows).to(study.device)], LossWeights())[
            0
        ]
        self._optimizer.zero_grad()
        loss.backward()
        for group in self._optimizer.param_groups:
            group["lr"] = rate(self._recipe.lr, step, num_steps)
        self._optimizer.step()
        self._total += loss.detach() * len(batch)

    def snapshot(self) -> Entry:
        """Return the trained tensors, optimiser moments and counters after the last batch, for `restore`."""
        tensors = {f"value/{name}": tensor for name, tensor in self._trained.items()} | {"total": self._total}
        for name, parameter in self._trained.items():
            state = self._optimizer.state.get(parameter, {})
            tensors |= {f"{moment}/{name}": state[moment] for moment in MOMENTS if moment in state}
        facts = {
            "candidates": [self._candidate.model_dump(mode="json")],
            "results": [result_to_row(result) for result in self.results],
            "num_batches": self._num_batches,
            "seconds": self._seconds,
        }
        return Entry(facts, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})

    @torch.no_grad()
    def restore(self, entry: Entry) -> None:
        """Continue from a snapshot of the same candidate."""
        self.results = [result_from_row(row) for row in entry.facts["results"]]
        self._num_batches, self._seconds = entry.facts["num_batches"], entry.facts["seconds"]
        self._total.copy_(entry.tensors["total"])
        for name, parameter in self._trained.items():
            parameter.copy_(entry.tensors[f"value/{name}"])
            if f"step/{name}" in entry.tensors:
                moments = {moment: entry.tensors[f"{moment}/{name}"] for moment in MOMENTS}
                devices = {moment: "cpu" if moment == "step" else parameter.device for moment in MOMENTS}
                self._optimizer.state[parameter] = {key: moment.to(devices[key]) for key, moment in moments.items()}
