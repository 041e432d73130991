"""Prepare a vision transformer for in-backbone training: freeze, attach a method, replace the classifier."""

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from icecore.store import UsageError

from .method import Method

CLASSIFIER_STD = 0.02


def attach(method: Method, model: nn.Module, num_outputs: int, seed: int) -> None:
    """Freeze a timm model and attach a method and a new classifier, in place; random draws depend on `seed` alone.

    Raises:
        UsageError: the model is not a timm VisionTransformer, or the method does not fit it.
    """
    if not isinstance(model, VisionTransformer):
        raise UsageError(
            f"{type(model).__name__}: expected a vision transformer of timm; in-backbone methods know no other model"
        )
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    method.attach(model, generator)
    model.reset_classifier(num_outputs)
    classifier: Any = model.head
    nn.init.normal_(classifier.weight, std=CLASSIFIER_STD, generator=generator)
    nn.init.zeros_(classifier.bias)


def trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the trained parameters by name; a shared parameter occurs once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def merge(model: nn.Module) -> None:
    """Add every change to its weight and remove the parametrizations: a plain model with the same outputs remains."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # pyright: ignore[reportArgumentType]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
