"""Which columns of a table (or fields of a JSON member) say what about a row, and how their values are read."""

from dataclasses import dataclass
from typing import Literal

TargetKind = Literal["class", "multilabel", "regression"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns, each a source's own default where it is None; `label` may name several.

    `separator` parts the classes in one cell (found where None); values of `unknown` say that nothing is known.
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
        """What a user chose, as the options are called."""
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
