"""The bundle: one folder with all that prediction needs beside the backbone.

Knows tokens, nothing of images: `icecore.live` brings the backbone and asks for probabilities.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import JsonValue
from safetensors.torch import load, save
from torch import Tensor

from icecore.store import Frozen, FrozenBackbone, IcecoreError, LayerSpec, Store, UsageError, write_atomic

from .adapter import Adapter, Scope, make_scope
from .adapters import get_adapter
from .forward import predictions
from .run import Run
from .seen import Reads, make_seen
from .selection import Selected, Selection
from .target import Target
from .targets import fitted

FORMAT = 1


class BundleFacts(Frozen):
    """bundle.json."""

    format: int
    backbone: dict[str, str | None]
    preprocessing: dict[str, JsonValue]
    tokens: str
    backbone_config: dict[str, JsonValue]
    layers: tuple[int, ...]
    specs: dict[int, LayerSpec]
    classes: tuple[str, ...]
    members: tuple[Selected, ...]
    metrics: dict[str, JsonValue]
    target: dict[str, JsonValue]


@dataclass(frozen=True)
class Bundle:
    """Trained adapters with their weights in the vote, ready for tokens.

    Members that are alike are one stack, as in training: `votes` has the weights of each stack's members.
    """

    facts: BundleFacts
    stacks: tuple[Adapter, ...]
    votes: tuple[tuple[float, ...], ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose tokens it needs."""
        return self.facts.layers

    @cached_property
    def target(self) -> Target:
        """What the predictions are of."""
        return fitted(self.facts.target)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.facts.classes

    @property
    def backbone(self) -> dict[str, str | None]:
        """The backbone that the tokens must come from: name, weights_sha256, compute_dtype, checkpoint."""
        return self.facts.backbone

    @property
    def preprocessing(self) -> dict[str, JsonValue]:
        """How images become the backbone's input."""
        return self.facts.preprocessing

    def to(self, device: torch.device | str) -> "Bundle":
        """Move to a device."""
        return replace(self, stacks=tuple(stack.to(device) for stack in self.stacks))

    @torch.no_grad()
    def predict(self, tokens: dict[int, Float[Tensor, "row token width"]]) -> Float[Tensor, "row classes"]:
        """Return the predictions for some rows, from the tokens of `layers`: probabilities, or numbers in their unit.

        Members that read the same layers share their normalised tokens, and one product of all queries with them.
        """
        found: list[Tensor] = []
        for layers in dict.fromkeys(stack.scope.layers for stack in self.stacks):
            mine = [one for one in zip(self.stacks, self.votes, strict=True) if one[0].scope.layers == layers]
            stacks = [stack for stack, _ in mine]
            reads = frozenset[Reads]().union(*(stack.reads for stack in stacks))
            seen = make_seen({k: tokens[k].float() for k in layers}, self.facts.specs, stacks[0].scope.eps, reads)
            for table, (_, vote) in zip(predictions(stacks, seen, self.target), mine, strict=True):
                found += [one * weight for one, weight in zip(table, vote, strict=True)]
        return self.target.in_data_unit(torch.stack(found).sum(0))


def load_bundle(path: str) -> Bundle:
    """Open a bundle; UsageError where there is none, IcecoreError where it cannot be read."""
    folder = Path(path)
    try:
        facts = BundleFacts.model_validate_json((folder / "bundle.json").read_bytes())
        tensors = load((folder / "adapters.safetensors").read_bytes())
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise UsageError(f"{path}: is not a bundle, it has no {missing}; make one with icecore select RUN") from None
    except Exception as error:
        raise IcecoreError(f"{path}: cannot be read ({str(error).splitlines()[0]}); run icecore select again") from None
    if facts.format != FORMAT:
        raise IcecoreError(f"{path}: has bundle format {facts.format}, this icecore reads {FORMAT}; select again")
    alike: dict[str, list[Selected]] = {}
    for member in facts.members:
        alike.setdefault(f"{member.adapter} {member.layers} {sorted(member.config.items())}", []).append(member)
    return Bundle(
        facts,
        tuple(_stack(facts, members, tensors) for members in alike.values()),
        tuple(tuple(member.weight for member in members) for members in alike.values()),
    )


def _stack(facts: BundleFacts, members: Sequence[Selected], tensors: Mapping[str, Tensor]) -> Adapter:
    first = members[0]
    family = get_adapter(first.adapter)
    scope = Scope(
        layers=first.layers,
        specs={layer: facts.specs[layer] for layer in first.layers},
        num_outputs=len(facts.classes),
        backbone=FrozenBackbone(facts.backbone_config, _under(tensors, "frozen")),
    )
    each = [_under(tensors, member.adapter_id) for member in members]
    stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    return family(family.recorded(first.config), scope, stacked)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def write_bundle(
    path: str, run: Run, store: Store, selection: Selection, trained: Mapping[str, dict[str, Tensor]]
) -> None:
    """Write the selected adapters as a bundle, bundle.json last."""
    flat: dict[str, Tensor] = {}
    for member in selection.selected:
        flat |= {f"{member.adapter_id}/{name}": value for name, value in trained[member.adapter_id].items()}
        scope = make_scope(store, member.layers, get_adapter(member.adapter))
        flat |= {f"frozen/{name}": value.contiguous() for name, value in scope.frozen.items()}
    layers = tuple(sorted({layer for member in selection.selected for layer in member.layers}))
    facts = BundleFacts(
        format=FORMAT,
        backbone=run.facts["backbone"],
        preprocessing=run.facts["preprocessing"],
        tokens=store.identity.tokens,
        backbone_config=store.backbone_config(),
        target=run.facts["target"],
        layers=layers,
        specs={layer: store.spec.layers[layer] for layer in layers},
        classes=store.classes,
        members=selection.selected,
        metrics=_metrics(selection),
    )
    Path(path).mkdir(parents=True, exist_ok=True)
    (Path(path) / "bundle.json").unlink(missing_ok=True)
    write_atomic(f"{path}/adapters.safetensors", save(flat))
    write_atomic(f"{path}/README.md", _card(facts).encode())
    write_atomic(f"{path}/bundle.json", facts.model_dump_json(indent=2).encode())


def _metrics(selection: Selection) -> dict[str, Any]:
    figures = {name: getattr(selection, name) for name in ("validation", "test", "honest", "cost")}
    return {name: json.loads(one.model_dump_json()) for name, one in figures.items() if one is not None}


def _figure(value: float | None) -> str:
    """Write a figure; one that is not defined, as a precision where no class occurs, is told so."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"


def _card(facts: BundleFacts) -> str:
    members = "\n".join(
        f"| {one.adapter} | {', '.join(map(str, one.layers))} | {one.weight:.3f} | `{json.dumps(one.config)}` |"
        for one in facts.members
    )
    target = fitted(facts.target)
    score, loss = target.score_name, target.loss_name
    figures = "\n".join(
        f"- {name}: {score} {_figure(value['score'])} ({_figure(value['low'])} to {_figure(value['high'])}), "
        f"{loss} {_figure(value['loss'])}, {value['num_rows']} rows"
        for name, value in facts.metrics.items()
        if name in ("validation", "test") and isinstance(value, dict)
    )
    if isinstance(honest := facts.metrics.get("honest"), dict):
        figures += f"\n- {score} of such a choice on validation rows that it did not see: {_figure(honest['score'])}"
    return f"""# Adapters for {facts.backbone["name"]}

Trained by icecore on the frozen backbone with weights sha256 `{facts.backbone["weights_sha256"]}`.
It needs the backbone up to block {max(facts.layers)}, and knows {len(facts.classes)} classes.

| adapter | layers | weight | configuration |
|---|---|---|---|
{members}

{figures}

Predict with `icecore predict BUNDLE IMAGE...`. The licences of the backbone and of the data that the adapters were
trained on apply.
"""
