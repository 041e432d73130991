"""The result of a selection, as selection.json holds it. Knows no store and no tensor."""

from pydantic import JsonValue

from icecore.store import Frozen


class Figures(Frozen):
    """How good predictions are, with a bootstrap interval of the score over the rows."""

    score: float
    loss: float
    low: float
    high: float
    num_rows: int


class Selected(Frozen):
    """One member of the selection; weights sum to one."""

    adapter: str
    layer: int
    layers: tuple[int, ...]
    config: dict[str, JsonValue]
    weight: float
    adapter_id: str


class TableRow(Frozen):
    """The best configuration, by validation, of one family at one layer."""

    adapter: str
    layer: int
    layers: tuple[int, ...]
    adapter_id: str
    config: dict[str, JsonValue]
    lr: float
    weight_decay: float
    validation_score: float
    validation_loss: float
    test_score: float | None


class Selection(Frozen):
    """What was chosen, how good it is by `score_name` and `loss_name`; `test` is None where there is no test row."""

    selector: str
    score_name: str
    loss_name: str
    selected: tuple[Selected, ...]
    validation: Figures
    test: Figures | None
    num_test_reads: int
    num_candidates: int
    table: tuple[TableRow, ...]
