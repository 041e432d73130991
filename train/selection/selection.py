"""The result of a selection, as selection.json stores it."""

import math
from typing import Annotated

from pydantic import BeforeValidator, JsonValue

from icecore.store import Frozen

from .cost import Cost

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]  # JSON has no NaN


class Figures(Frozen):
    """Score and loss of predictions; `low` and `high` bound the score by bootstrap over rows, or over groups."""

    score: Number
    loss: Number
    low: Number
    high: Number
    num_rows: int
    num_groups: int | None


class OutOfBagEstimate(Frozen):
    """The mean of `num_choices` choices on bootstrap draws, measured out of bag; `low` and `high` bound their scores.

    `optimism` is the validation score of the final choice minus `score`.
    """

    score: Number
    loss: Number
    low: Number
    high: Number
    num_choices: int
    optimism: Number


class Selected(Frozen):
    """One selected adapter and its weight; the weights of a selection sum to one."""

    adapter: str
    layer: int
    layers: tuple[int, ...]
    config: dict[str, JsonValue]
    weight: float
    adapter_id: str


class TableRow(Frozen):
    """The best adapter, by validation, of one family at its layers; test figures are None without test rows."""

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
    """The selected adapters and their figures, by `score_name` and `loss_name`; `test` is None without test rows.

    `honest` is the out-of-bag estimate. `test_optimism` is validation score minus test score of the selection, and
    `winner_test_optimism` the same for the best single adapter, `winner`. `run_sha256` identifies the training
    (`Run.sha256`), `test_rows_sha256` everything that the store records about the test rows except tokens.
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
