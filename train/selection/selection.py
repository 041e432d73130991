"""The result of a selection, as selection.json holds it. Knows no store and no tensor."""

import math
from typing import Annotated

from pydantic import BeforeValidator, JsonValue

from icecore.store import Frozen

from .cost import Cost

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]  # JSON has no NaN


class Figures(Frozen):
    """How good predictions are, with a bootstrap interval of the score over the rows, or over `num_groups` groups."""

    score: Number
    loss: Number
    low: Number
    high: Number
    num_rows: int
    num_groups: int | None


class OutOfBagEstimate(Frozen):
    """The choice made again `num_choices` times, measured where it had not looked; `low` and `high` hold its spread.

    `optimism` is by how much the validation score of the choice is better than `score`.
    """

    score: Number
    loss: Number
    low: Number
    high: Number
    num_choices: int
    optimism: Number


class Selected(Frozen):
    """One member of the selection; weights sum to one."""

    adapter: str
    layer: int
    layers: tuple[int, ...]
    config: dict[str, JsonValue]
    weight: float
    adapter_id: str


class TableRow(Frozen):
    """The best configuration, by validation, of one family at one layer; test figures are None without test rows."""

    adapter: str
    layer: int
    layers: tuple[int, ...]
    adapter_id: str
    config: dict[str, JsonValue]
    lr: float
    weight_decay: float
    num_parameters: int
    multiply_adds: int
    validation_score: Number
    validation_loss: Number
    validation_low: Number
    validation_high: Number
    test_score: float | None
    test_low: float | None
    test_high: float | None


class Selection(Frozen):
    """What was chosen, how good it is by `score_name` and `loss_name`; `test` is None where there is no test row.

    `honest` is what the choice is worth by validation alone. `test_optimism` is by how much validation was better than
    test, of what was chosen, and `winner_test_optimism` the same of the best adapter alone. `run_sha256` is the digest
    of the training that was chosen from (`Run.sha256`), and `test_rows_sha256` of all that is known of the test rows.
    """

    selector: str
    settings: dict[str, JsonValue]
    score_name: str
    loss_name: str
    selected: tuple[Selected, ...]
    validation: Figures
    honest: OutOfBagEstimate | None
    test: Figures | None
    test_optimism: float | None
    winner: TableRow
    winner_test_optimism: float | None
    cost: Cost
    num_test_reads: int
    num_candidates: int
    num_eligible: int
    table: tuple[TableRow, ...]
    run_sha256: str | None = None
    test_rows_sha256: str | None = None
