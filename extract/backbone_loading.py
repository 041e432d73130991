"""Loading a backbone by name: which weights, which device, which compute type, and is it one we can read layers of."""

import contextlib
import difflib
from typing import Any

import timm
import torch

from icecore.store import UsageError, choose

from . import backbone_nano  # noqa: F401  makes its name known to timm
from .backbone import Backbone
from .backbone_weights import fail_fast_offline, load_weights, local_weights, read_checkpoint, weights_sha256


def load_backbone(
    name: str, checkpoint: str | None = None, device: str = "auto", compute_dtype: str = "auto"
) -> Backbone:
    """Load a timm vision transformer, from a checkpoint, or else a file at hand, or else the hub.

    Raises:
        UsageError: unknown name, no weights, weights of another model, or a model that is no vision transformer.
    """
    device = _device(device)
    dtype = _compute_dtype(compute_dtype, device)
    path = checkpoint or local_weights(name)
    model = _create(name, pretrained=path is None)
    if not all(hasattr(model, part) for part in ("blocks", "patch_embed", "num_prefix_tokens", "norm")):
        raise UsageError(f"backbone {name!r}: is no plain vision transformer; expected a ViT, DeiT, DINOv2 or the like")
    classifier = model.pretrained_cfg.get("classifier") or ()
    classifier = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    if path is not None:
        load_weights(model, read_checkpoint(str(path)), classifier, f"checkpoint {str(path)!r}")
    model = model.float().eval().requires_grad_(False)
    return Backbone(name, model, weights_sha256(model, classifier), device, dtype)


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
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"backbone {name!r}: no weights ({reason}); pass --checkpoint FILE, or set ICECORE_SHARED to a folder "
            f"with weights/{name}.safetensors"
        ) from None


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"device {name!r}: cannot be used here ({reason}); choose auto, cpu or cuda") from None
    return name


def _compute_dtype(name: str, device: str) -> torch.dtype:
    """Return the compute type; `auto` is bfloat16 where the device multiplies it natively, else float32."""
    if name != "auto":
        return choose({"float32": torch.float32, "bfloat16": torch.bfloat16}, name, "compute dtype")
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities()
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32
