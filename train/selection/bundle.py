"""The bundle: a folder with everything that prediction needs besides the backbone; read and written only here.

A bundle predicts from tokens. `icecore.live` computes the tokens of images with the backbone.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import JsonValue, ValidationError, model_validator
from safetensors.torch import load, save
from torch import Tensor

from icecore.store import Frozen, FrozenBackbone, LayerSpec, Store, UsageError, layer_name, validation_message

from ..adapters import get_adapter
from ..adapters.adapter import Adapter, Scope, make_scope
from ..runs.run import Run
from ..runs.sealed_folder import Document, document_bytes, load_document
from ..sweep.forward import predictions
from ..targets import recorded_target
from ..targets.target import Target
from ..tokens.batch import Reads, make_batch
from .selection import Selected, Selection

BUNDLE_FILES = DOCUMENT, ADAPTERS, CARD = "bundle.json", "adapters.safetensors", "README.md"
REMEDY = "make it anew with icecore select RUN"


class BundleFacts(Frozen):
    """The content of bundle.json; `run_sha256` is the digest of the run from which the members were chosen."""

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
    run_sha256: str | None = None

    @model_validator(mode="after")
    def _is_a_vote(self) -> "BundleFacts":
        weights = [member.weight for member in self.members]
        if not all(weight > 0 for weight in weights) or not math.isclose(sum(weights), 1, abs_tol=1e-4):
            raise ValueError(f"weights {weights}: expected positive numbers that sum to 1")
        return self


@dataclass(frozen=True)
class Bundle:
    """Trained adapters and their ensemble weights, ready to predict from tokens.

    Members with the same adapter, layers and configuration form one stack; `votes` holds the weights of its members.
    """

    facts: BundleFacts
    stacks: tuple[Adapter, ...]
    votes: tuple[tuple[float, ...], ...]
    document: Document

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose tokens `predict` needs."""
        return self.facts.layers

    @cached_property
    def target(self) -> Target:
        """The target of the predictions."""
        return recorded_target(self.facts.target)

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
        """The settings that turn an image into the backbone's input."""
        return self.facts.preprocessing

    def to(self, device: torch.device | str) -> "Bundle":
        """Return the bundle with its adapters on `device`."""
        return replace(self, stacks=tuple(stack.to(device) for stack in self.stacks))

    @torch.no_grad()
    def predict(self, tokens: dict[int, Float[Tensor, "row token width"]]) -> Float[Tensor, "row classes"]:
        """Return the weighted mean of the members' predictions, given the tokens of every layer in `layers`.

        Predictions are probabilities, or for regression values in the unit of the data set. Members that read the same
        layers share the normalised tokens and one matrix product of those tokens with all queries.
        """
        found: list[Tensor] = []
        for layers in dict.fromkeys(stack.scope.layers for stack in self.stacks):
            mine = [one for one in zip(self.stacks, self.votes, strict=True) if one[0].scope.layers == layers]
            stacks = [stack for stack, _ in mine]
            reads = frozenset[Reads]().union(*(stack.reads for stack in stacks))
            seen = make_batch({k: tokens[k].float() for k in layers}, self.facts.specs, stacks[0].scope.eps, reads)
            for table, (_, vote) in zip(predictions(stacks, seen, self.target), mine, strict=True):
                found += [one * weight for one, weight in zip(table, vote, strict=True)]
        return self.target.in_data_unit(torch.stack(found).sum(0))


def load_bundle(path: str) -> Bundle:
    """Open the bundle at `path`, which is a bundle or a RUN folder that holds a bundle.

    Raises:
        UsageError: `path` holds no bundle.
        IntegrityError: a file differs from the file that was written, or the files do not fit together.
    """
    document = _document(path)
    weights = document.read(ADAPTERS)
    try:
        bundle = _assembled(document, BundleFacts.model_validate(document.content), load(weights))
        _require_answer(bundle)
    except ValidationError as error:
        raise document.broken(DOCUMENT, validation_message(error)) from None
    except Exception as error:  # bundles of earlier versions have no checksum: any error is possible
        what = " ".join(str(error).split()) or type(error).__name__
        raise document.broken(DOCUMENT, f"does not fit {ADAPTERS} ({what})") from None
    return bundle


def _document(path: str) -> Document:
    for folder in (Path(path), Path(path) / "bundle"):
        with contextlib.suppress(FileNotFoundError):
            return load_document(folder / DOCUMENT, REMEDY)
    raise UsageError(f"{path}: is not a bundle, it has no {DOCUMENT}; make one with icecore select RUN")


def _assembled(document: Document, facts: BundleFacts, tensors: Mapping[str, Tensor]) -> Bundle:
    alike: dict[str, list[Selected]] = {}
    for member in facts.members:
        alike.setdefault(f"{member.adapter} {member.layers} {sorted(member.config.items())}", []).append(member)
    return Bundle(
        facts,
        tuple(_stack(facts, members, tensors) for members in alike.values()),
        tuple(tuple(member.weight for member in members) for members in alike.values()),
        document,
    )


def _require_answer(bundle: Bundle) -> None:
    """Raise ValueError unless zero tokens of the recorded shapes give finite predictions of the right shape."""
    specs = {layer: bundle.facts.specs[layer] for layer in bundle.layers}
    answer = bundle.predict({k: torch.zeros(1, spec.num_tokens, spec.width) for k, spec in specs.items()})
    if answer.shape != (1, len(bundle.classes)) or not bool(answer.isfinite().all()):
        raise ValueError(f"its answer is of shape {tuple(answer.shape)}, expected finite (1, {len(bundle.classes)})")


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


def bundle_files(
    run: Run, store: Store, selection: Selection, trained: Mapping[str, dict[str, Tensor]]
) -> dict[str, bytes]:
    """Return the files of a bundle of the selected adapters, by name; bundle.json holds the digests of the others."""
    flat: dict[str, Tensor] = {}
    for member in selection.selected:
        flat |= {f"{member.adapter_id}/{name}": value for name, value in trained[member.adapter_id].items()}
        scope = make_scope(store, member.layers, get_adapter(member.adapter))
        flat |= {f"frozen/{name}": value.contiguous() for name, value in scope.frozen.items()}
    layers = tuple(sorted({layer for member in selection.selected for layer in member.layers}))
    facts = BundleFacts(
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
        run_sha256=selection.run_sha256,
    )
    weights = save(flat)
    document = document_bytes(json.loads(facts.model_dump_json()), {ADAPTERS: hashlib.sha256(weights).hexdigest()})
    return {DOCUMENT: document, ADAPTERS: weights, CARD: _card(facts).encode()}


def _metrics(selection: Selection) -> dict[str, Any]:
    figures = {name: getattr(selection, name) for name in ("validation", "test", "honest", "cost")}
    return {name: json.loads(one.model_dump_json()) for name, one in figures.items() if one is not None}


def _figure(value: object) -> str:
    """Format a figure; NaN, such as a precision where no class occurs, becomes "undefined"."""
    return f"{value:.4f}" if isinstance(value, int | float) and not math.isnan(value) else "undefined"


def _card(facts: BundleFacts) -> str:
    members = "\n".join(
        f"| {one.adapter} | {', '.join(map(layer_name, one.layers))} | {one.weight:.3f} | `{json.dumps(one.config)}` |"
        for one in facts.members
    )
    target = recorded_target(facts.target)
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
