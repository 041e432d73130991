"""What all methods of a comparison share: rows with labels, pixels, the pretrained model, and the machine."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from icecore.extract.backbone_loading import LoadedModel
from icecore.store import Store, resolve_compute_dtype, resolve_device
from icecore.train.candidate import Candidate
from icecore.train.inputs import Inputs, inputs_of
from icecore.train.ledger import Ledger
from icecore.train.split import Split, hold_out
from icecore.train.target import Target
from icecore.train.targets import get_target

from .attach import attach
from .methods import get_method
from .pixels import Pixels
from .settings import StudySettings
from .subject import open_model

Rows = Int64[np.ndarray, " row"]


@dataclass(frozen=True)
class Study:
    """Everything a training needs beside its candidate; the pretrained model is never changed."""

    store: Store
    inputs: Inputs
    split: Split
    target: Target
    loaded: LoadedModel
    pixels: Pixels
    device: torch.device
    dtype: torch.dtype
    shuffle_seed: int = 0

    @property
    def conditions(self) -> dict[str, Any]:
        """What every result depends on beside its candidate and the rows' store."""
        return {
            "validation_sha256": self.split.rows_sha256,
            "num_train_rows": len(self.split.train),
            "weights_sha256": self.loaded.weights_sha256,
            "compute_dtype": str(self.dtype).removeprefix("torch."),
            **({"shuffle_seed": self.shuffle_seed} if self.shuffle_seed else {}),  # absent where it is the usual one
        }

    def ledger(self, folder: str) -> Ledger:
        """Return the ledger of what is trained on these rows."""
        return Ledger(folder, self.inputs, self.conditions, halving=False)

    def model(self, candidate: Candidate) -> nn.Module:
        """Return a fresh model with what a candidate trains in it."""
        model = copy.deepcopy(self.loaded.model)
        method = get_method(candidate.adapter).model_validate(candidate.config)
        attach(method, model, len(self.store.classes), candidate.recipe.seed)
        return model.to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which products are in the compute type, and everything else in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def outputs(self, model: nn.Module, rows: Rows) -> Float[Tensor, "row outputs"]:
        """Run some rows at once."""
        images = self.loaded.transform.normalise(self.pixels.of(rows).to(self.device))
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


def open_study(store: Store, settings: StudySettings, folder: str) -> Study:
    """Part the rows as a sweep does, decode all that will be needed, and load the model."""
    split = hold_out(store, settings.validation, settings.shuffle_seed)
    unfitted = get_target(store.spec.target)
    device = resolve_device(settings.device)
    loaded = open_model(store, settings.checkpoint)
    wanted = np.concatenate([split.train, split.validation, store.rows("test")])
    return Study(
        store=store,
        inputs=inputs_of(store, np.concatenate([split.train, split.validation])),
        split=split,
        target=unfitted.fitted(unfitted.labels(store, split.train)),
        loaded=loaded,
        pixels=Pixels(store, wanted, loaded.transform, folder),
        device=device,
        dtype=resolve_compute_dtype(settings.compute_dtype, device),
        shuffle_seed=settings.shuffle_seed,
    )
