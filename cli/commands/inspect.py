"""`icecore inspect`: what a store holds."""

from typing import TYPE_CHECKING, Annotated, Any

from ..options.shared_options import AS_JSON, STORE
from ..show.source_lines import passed_lines
from ..show.terminal import print_facts, print_json
from ..show.wording import layers_in_words, size

if TYPE_CHECKING:
    from icecore.store import Store


def inspect(
    store: Annotated[str, STORE],
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Print what STORE holds: backbone, layers, images of each split, size, and whether it is complete.

    Example: icecore inspect photos.ice
    """
    from icecore.store import open_store

    opened = open_store(store)
    if as_json:
        print_json(_facts(opened))
    else:
        print_facts(_lines(opened))


def _facts(store: "Store") -> dict[str, Any]:
    from icecore.store import SUM

    specs, config = store.spec.layers, store.backbone_config()
    spec, report = specs[store.layers[-1]], store.spec.source_report
    return {
        "complete": store.num_missing == 0,
        "backbone": store.identity.backbone,
        "weights_sha256": store.identity.weights_sha256,
        "source": store.spec.source,
        "layers": list(store.layers),
        "sum": SUM in store.layers,
        "tokens": spec.num_tokens,
        "width": spec.width,
        "shapes": {layer: specs[layer].model_dump() for layer in store.layers},
        "rebuild": config.get("rebuild") is not None,
        "why_not": config.get("why_not"),
        "dtype": store.identity.dtype,
        "views": store.identity.views,
        "classes": len(store.classes),
        "rows": store.splits,
        "num_rows": store.num_rows,
        "failed": len(store.failed),
        "failures": store.failures,
        "missing": store.num_missing,
        "bytes": store.num_bytes(),
        "source_report": report.model_dump() if report else None,
    }


def _lines(store: "Store") -> list[tuple[str, str]]:
    facts, identity = _facts(store), store.identity
    report = store.spec.source_report
    rows = ", ".join(f"{split} {count}" for split, count in facts["rows"].items())
    lines = [
        (
            "backbone",
            f"{identity.backbone}  weights {identity.weights_sha256[:12]}  computed in {identity.compute_dtype}",
        ),
        ("source", store.spec.source),
        ("layers", f"{_ranges(store.layers)}  ({len(store.layers)})"),
        ("tokens", f"{_shapes(store)}, {identity.tokens}, as {identity.dtype}"),
        ("blocks", "can be rebuilt" if facts["rebuild"] else f"cannot be rebuilt: {facts['why_not'] or 'not said'}"),
        ("classes", str(facts["classes"])),
        ("rows", f"{store.num_rows}  ({rows})"),
        *(passed_lines(report) if report else []),
        ("size", f"{size(facts['bytes'])}  ({size(facts['bytes'] / max(store.num_rows, 1))} a row)"),
        ("failed", _failures(store)),
    ]
    state = f"no: {store.num_missing} of {store.num_rows} rows are missing" if store.num_missing else "yes"
    lines.append(("complete", state))
    return [*lines, ("go on with", store.spec.command)] if store.num_missing else lines


def _shapes(store: "Store") -> str:
    """Write tokens x width of every layer; once where all are the same."""
    shapes = [f"{spec.num_tokens} x {spec.width}" for _, spec in sorted(store.spec.layers.items())]
    return shapes[0] if len(set(shapes)) == 1 else ", ".join(shapes)


def _failures(store: "Store") -> str:
    if not store.failed:
        return "0"
    row, cause = next(iter(store.failed.items()))
    key = store.samples["key"][row].as_py()
    reasons = "; ".join(f"{count} {reason}" for reason, count in store.failures.items())
    return f"{len(store.failed)}  ({reasons}; first: row {row}, {key}: {cause})"


def _ranges(numbers: tuple[int, ...]) -> str:
    """Write 0, 3, 6, 7, 8 as 0, 3, 6-8."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else layers_in_words(run) for run in runs)
