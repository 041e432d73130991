"""Loading a backbone by name: which weights, what image size, device and compute type, and can its layers be read."""

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import huggingface_hub.errors as hub
import timm
import torch
from pydantic import JsonValue

from icecore.store import Finding, UsageError, resolve_compute_dtype, resolve_device

from . import nano as backbone_nano  # noqa: F401  makes its name known to timm
from .backbone import Backbone
from .transform import Preprocessing
from .weights import fail_fast_offline, load_weights, local_weights, read_checkpoint, weights_sha256


@dataclass(frozen=True)
class LoadedModel:
    """A timm model without its classifier, in eval mode and float32 on the CPU, for images of its input size."""

    model: Any
    weights_sha256: str
    transform: Preprocessing
    notes: tuple[Finding, ...] = ()  # prefixes taken off the names in the checkpoint, and tensors left over


def load_model(
    name: str, checkpoint: str | None = None, preprocessing: Mapping[str, JsonValue] | None = None
) -> LoadedModel:
    """Load a timm model with weights from a checkpoint, else from a local file (`local_weights`), else from the hub.

    Args:
        name: of the model in timm, or `hf-hub:REPOSITORY`.
        checkpoint: path of a .safetensors or .pth file.
        preprocessing: changes to the model's own, under timm's names. Another `img_size` than that of the training
            resamples position embeddings, as timm does; the digest is that of the weights before resampling.

    Raises:
        UsageError: the name is unknown, there are no weights or those of another model, or the model has no layers to
            read or cannot take images of this size.
    """
    path = checkpoint or local_weights(name)
    model = _create(name, pretrained=path is None)
    if not hasattr(model, "forward_intermediates"):
        raise UsageError(
            f"backbone {name!r}: has no layers to read; expected a model with timm's forward_intermediates"
        )
    classifier = model.pretrained_cfg.get("classifier") or ()
    classifier = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    notes: tuple[Finding, ...] = ()
    if path is not None:
        notes = load_weights(model, read_checkpoint(str(path)), classifier, f"checkpoint {str(path)!r}")
    model = model.float().eval().requires_grad_(False)
    digest = weights_sha256(model, classifier)
    transform = Preprocessing(model, preprocessing)
    with _as_usage_error(name, transform):
        _resize(model, transform.input_size)
    return LoadedModel(model, digest, transform, notes)


def load_backbone(
    name: str,
    checkpoint: str | None = None,
    device: str = "auto",
    compute_dtype: str = "auto",
    preprocessing: Mapping[str, JsonValue] | None = None,
    deepest: int | None = None,
) -> Backbone:
    """Load a frozen backbone as `load_model` does, and move it to a device in a compute type.

    Args:
        name: as in `load_model`.
        checkpoint: as in `load_model`.
        device: `auto`, or a device of PyTorch.
        compute_dtype: `auto`, `float32` or `bfloat16`.
        preprocessing: as in `load_model`.
        deepest: blocks after this layer are dropped once the digest is taken; None keeps all.

    Raises:
        UsageError: as in `load_model`, or the device or the compute type is not available.
    """
    where = resolve_device(device)
    dtype = resolve_compute_dtype(compute_dtype, where)
    loaded = load_model(name, checkpoint, preprocessing)
    with _as_usage_error(name, loaded.transform):
        backbone = Backbone(name, loaded.model, loaded.weights_sha256, loaded.transform, where, dtype, deepest)
    backbone.notes = loaded.notes
    return backbone


@contextlib.contextmanager
def _as_usage_error(name: str, transform: Preprocessing) -> Iterator[None]:
    """Turn an exception of a model into the error that it has no layers for images of this size."""
    try:
        yield
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        size = " x ".join(map(str, transform.input_size[1:]))
        raise UsageError(f"backbone {name!r}: gives no layers for images of {size} pixels ({reason})") from None


def _resize(model: Any, input_size: tuple[int, int, int]) -> None:
    """Make a model take images of another size than it was trained with, and check by a forward pass that it does."""
    if input_size == tuple(model.pretrained_cfg["input_size"]):
        return
    if hasattr(model, "set_input_size"):  # models without it take any size, or fail in the forward pass below
        model.set_input_size(img_size=input_size[1:])
    with torch.no_grad():
        model.forward_features(torch.zeros(1, *input_size))


def _create(name: str, pretrained: bool) -> Any:
    architecture = name.split(".")[0]
    if ":" not in name and not timm.is_model(architecture):
        names = timm.list_models()
        longer = [model for model in names if architecture in model]
        near = longer[:3] or difflib.get_close_matches(architecture, names, n=3)
        raise UsageError(f"unknown backbone {name!r}; nearest of timm's models: {', '.join(near) or 'none'}")
    try:
        with fail_fast_offline() if pretrained else contextlib.nullcontext():
            return timm.create_model(name, num_classes=0, pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"backbone {name!r}: no weights ({_reason(error)}); pass --checkpoint FILE, or set ICECORE_SHARED to a "
            f"folder with weights/{name}.safetensors"
        ) from None


def _reason(error: Exception) -> str:
    """Return in a few words why the hub gave no weights."""
    said = {
        hub.GatedRepoError: "the hub gives them to those alone who have asked: accept their terms there, and log in",
        hub.RepositoryNotFoundError: "the hub has no such repository, or it is private",
        hub.RevisionNotFoundError: "the hub's repository has no such revision",
        hub.LocalEntryNotFoundError: "the hub cannot be reached, and its cache here has none",
        hub.OfflineModeIsEnabled: "the hub is switched off, and its cache here has none",
        hub.EntryNotFoundError: "the hub's repository holds no file of weights or settings that timm reads",
    }
    known = next((words for kind, words in said.items() if isinstance(error, kind)), None)
    return known or (str(error).strip() or type(error).__name__).splitlines()[0][:200]
