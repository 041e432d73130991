"""The names of the columns of a table (or fields of a JSON object) that describe a row, and how to read them."""

from dataclasses import dataclass
from typing import Literal

TargetKind = Literal["class", "multilabel", "regression"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns; None is the default name of a source. `label` may name several columns.

    `separator` separates the classes in one cell (None: it is detected). Values in `unknown` mean "not known".
    """

    label: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None
    target: TargetKind = "class"
    path: str | None = None
    separator: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def given(self) -> list[str]:
        """The command-line options that the user gave."""
        return [
            *(["--label-column"] if self.label else []),
            *(["--split-column"] if self.split else []),
            *(["--group-column"] if self.group else []),
            *([f"--target {self.target}"] if self.target != "class" else []),
            *(["--path-column"] if self.path else []),
            *(["--separator"] if self.separator is not None else []),
            *(["--unknown"] if self.unknown else []),
        ]


DEFAULT = Columns()
