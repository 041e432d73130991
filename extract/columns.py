"""Which columns of a table (or fields of a JSON member) say what about a row, and what kind of target they hold."""

from dataclasses import dataclass
from typing import Literal

TargetKind = Literal["class", "multilabel", "regression"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns, each a source's own default where it is None; `label` may name several."""

    label: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None
    target: TargetKind = "class"

    @property
    def given(self) -> list[str]:
        """What a user chose, as the options are called."""
        return [
            *(["--label-column"] if self.label else []),
            *(["--split-column"] if self.split else []),
            *(["--group-column"] if self.group else []),
            *([f"--target {self.target}"] if self.target != "class" else []),
        ]


DEFAULT = Columns()
