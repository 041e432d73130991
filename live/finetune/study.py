"""The context that all candidates of a comparison share: split and labels, pixels, the pretrained model, the device."""

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
    """Everything that training a candidate needs besides the candidate; the pretrained model is never changed."""

    store: Store
    inputs: Inputs
    split: Split
    target: Target
    loaded: LoadedModel
    pixels: Pixels
    device: torch.device
    dtype: torch.dtype
    shuffle_seed: int
    laid_out: Store  # its shards and views determine the order of training rows

    @property
    def conditions(self) -> dict[str, Any]:
        """The facts, besides candidate and store, that a result depends on; a ledger holds results of equal facts."""
        order = {"shuffle_seed": self.shuffle_seed, "views": self.laid_out.identity.views}
        plain = {"shuffle_seed": 0, "views": 1}  # left out, so that ledgers written before these facts existed match
        return {
            "validation_sha256": self.split.rows_sha256,
            "num_train_rows": len(self.split.train),
            "weights_sha256": self.loaded.weights_sha256,
            "compute_dtype": str(self.dtype).removeprefix("torch."),
            **{name: value for name, value in order.items() if value != plain[name]},
        }

    def ledger(self, folder: str) -> Ledger:
        """Return the ledger, in `folder`, of candidates trained on these rows under these conditions."""
        return Ledger(folder, self.inputs, self.conditions, halving=False)

    def order(self, batch_size: int) -> Order:
        """Return the order in which a sweep over the same store visits the training rows, for one batch size."""
        return make_order(self.laid_out, self.laid_out.layers, self.split.train, batch_size, self.shuffle_seed)

    def model(self, candidate: Candidate) -> nn.Module:
        """Return a copy of the pretrained model, on the device, to which the candidate's method is attached."""
        model = copy.deepcopy(self.loaded.model)
        method = get_method(candidate.adapter).model_validate(candidate.config)
        attach(method, model, len(self.store.classes), candidate.recipe.seed)
        return model.to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which matrix products run in the compute dtype, and everything else in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def outputs(self, model: nn.Module, rows: Rows, views: Rows | None = None) -> Float[Tensor, "row outputs"]:
        """Return the model's outputs for `rows` in one forward pass; `views` None means view 0 of every row."""
        images = self.loaded.transform.normalise(self.pixels.of(rows, views).to(self.device))
        with self.autocast():
            return model(images).float()

    @torch.no_grad()
    def predict(self, model: nn.Module, rows: Rows, batch_size: int) -> Float[Tensor, "row outputs"]:
        """Return predictions in the target's unit, on the CPU, for any number of rows, `batch_size` rows at a time."""
        model.eval()
        parts = [self.outputs(model, rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
        return self.target.predictions(torch.cat(parts)[None])[0].cpu()

    def labels(self, rows: Rows) -> Tensor:
        """Return the labels of `rows`, in the unit of predictions."""
        return self.target.truth(self.store, rows)


def open_study(store: Store, settings: StudySettings, folder: str, laid_out: Store | None = None) -> FinetuneContext:
    """Split the rows as a sweep does, decode the images of all splits into a file in `folder`, and load the model.

    `laid_out` is the store that the cached adapters were trained from, where that is not `store`: it has the same rows,
    and its shards and views determine the order of training.

    Raises:
        IdentityError: the weights or the preprocessing are not those of `store`.
        IcecoreError: an image can no longer be decoded.
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
