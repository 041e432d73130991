"""What all methods of a comparison share: rows with labels, pixels, the pretrained model, and the machine."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from icecore.extract.backbone import LoadedModel
from icecore.store import Store, resolve_compute_dtype, resolve_device
from icecore.train.runs import Candidate, Inputs, Ledger, inputs_of
from icecore.train.splits import Split, hold_out
from icecore.train.targets import Target, get_target
from icecore.train.tokens import Order, make_order

from .attach import attach
from .methods import get_method
from .pixels import Pixels
from .settings import StudySettings
from .subject import open_model

Rows = Int64[np.ndarray, " row"]


@dataclass(frozen=True)
class FinetuneContext:
    """Everything a training needs beside its candidate; the pretrained model is never changed."""

    store: Store
    inputs: Inputs
    split: Split
    target: Target
    loaded: LoadedModel
    pixels: Pixels
    device: torch.device
    dtype: torch.dtype
    shuffle_seed: int
    laid_out: Store  # whose layout and views decide the order of the rows

    @property
    def conditions(self) -> dict[str, Any]:
        """What every result depends on beside its candidate and the rows' store."""
        order = {"shuffle_seed": self.shuffle_seed, "views": self.laid_out.identity.views}
        plain = {"shuffle_seed": 0, "views": 1}  # not said, so that what was trained before they were known counts
        return {
            "validation_sha256": self.split.rows_sha256,
            "num_train_rows": len(self.split.train),
            "weights_sha256": self.loaded.weights_sha256,
            "compute_dtype": str(self.dtype).removeprefix("torch."),
            **{name: value for name, value in order.items() if value != plain[name]},
        }

    def ledger(self, folder: str) -> Ledger:
        """Return the ledger of what is trained on these rows."""
        return Ledger(folder, self.inputs, self.conditions, halving=False)

    def order(self, batch_size: int) -> Order:
        """Return the order in which a sweep trains on the same rows in batches of that size."""
        return make_order(self.laid_out, self.laid_out.layers, self.split.train, batch_size, self.shuffle_seed)

    def model(self, candidate: Candidate) -> nn.Module:
        """Return a fresh model with what a candidate trains in it."""
        model = copy.deepcopy(self.loaded.model)
        method = get_method(candidate.adapter).model_validate(candidate.config)
        attach(method, model, len(self.store.classes), candidate.recipe.seed)
        return model.to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which products are in the compute type, and everything else in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def outputs(self, model: nn.Module, rows: Rows, views: Rows | None = None) -> Float[Tensor, "row outputs"]:
        """Run some rows at once, each in its view; all plain where none is asked for."""
        images = self.loaded.transform.normalise(self.pixels.of(rows, views).to(self.device))
        with self.autocast():
            return model(images).float()

    @torch.no_grad()
    def predict(self, model: nn.Module, rows: Rows, batch_size: int) -> Float[Tensor, "row outputs"]:
        """Return predictions for any number of rows."""
        model.eval()
        parts = [self.outputs(model, rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
        return self.target.predictions(torch.cat(parts)[None])[0].cpu()

    def labels(self, rows: Rows) -> Tensor:
        """Return the labels of some rows, in the unit of predictions."""
        return self.target.truth(self.store, rows)


def open_study(store: Store, settings: StudySettings, folder: str, laid_out: Store | None = None) -> FinetuneContext:
    """Part the rows as a sweep does, decode all that will be needed, and load the model.

    `laid_out` is another store of the same rows, on which the sweep to compare with was trained.
    """
    laid_out = laid_out or store
    split = hold_out(store, settings.validation, settings.shuffle_seed)
    unfitted = get_target(store.spec.target)
    device = resolve_device(settings.device)
    loaded = open_model(store, settings.checkpoint)
    plain = np.concatenate([split.train, split.validation, store.rows("test")])
    return FinetuneContext(
        store=store,
        inputs=inputs_of(store, np.concatenate([split.train, split.validation])),
        split=split,
        target=unfitted.fitted(unfitted.labels(store, split.train)),
        loaded=loaded,
        pixels=Pixels(laid_out, plain, split.train, loaded.transform, folder),
        device=device,
        shuffle_seed=settings.shuffle_seed,
        laid_out=laid_out,
        dtype=resolve_compute_dtype(settings.compute_dtype, device),
    )
