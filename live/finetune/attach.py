"""A vision transformer made ready to train by a method: all frozen, what the method trains, and a new classifier."""

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from icecore.store import UsageError

from .method import Method

CLASSIFIER_STD = 0.02


def attach(method: Method, model: nn.Module, num_outputs: int, seed: int) -> None:
    """Change a model in place; what is drawn depends on `seed` alone. UsageError for another kind of model."""
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
    """Return all that is trained, by name; what several places share is there once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def merge(model: nn.Module) -> None:
    """Put every change of a weight into the weight: the model is then a plain one that says the same."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # pyright: ignore[reportArgumentType]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
