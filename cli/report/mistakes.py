"""The misclassified test rows that the selection is most confident of."""

from dataclasses import dataclass

from .findings import Findings, Tested
from .pictures import Look, as_data

NUM_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Mistake:
    """One misclassified test row: its picture if readable, its true class and its predicted class."""

    key: str
    picture: str | None
    label: str
    prediction: str
    probability: float


def mistakes(findings: Findings, look: Look | None) -> list[Mistake]:
    """Return up to NUM_SHOWN misclassified test rows, the most confident first."""
    wrong = [one for one in findings.tested if one.label != one.prediction]
    surest = sorted(wrong, key=lambda one: (-one.probability, one.row))[:NUM_SHOWN]
    return [_mistake(one, findings.run["classes"], look) for one in surest]


def _mistake(one: Tested, classes: list[str], look: Look | None) -> Mistake:
    image = look(one.row) if look else None
    picture = None if image is None else as_data(image)
    return Mistake(one.key, picture, classes[one.label], classes[one.prediction], one.probability)
