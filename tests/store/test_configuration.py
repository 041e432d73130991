"""Configurations refuse what they do not know, when they are made and when they are copied."""

import re

import pytest
from pydantic import ValidationError

from icecore.store import Frozen, validation_message


class Point(Frozen):
    x: int = 0
    y: int = 0


def test_a_copy_changes_fields_that_exist_and_no_others() -> None:
    assert Point(x=1).model_copy(update={"y": 2}) == Point(x=1, y=2)
    assert Point(x=1).model_copy() == Point(x=1)
    with pytest.raises(ValueError, match="Point has no field 'z' to change"):
        Point().model_copy(update={"y": 2, "z": 3})


def test_an_unknown_field_and_a_change_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Point.model_validate({"z": 3})
    with pytest.raises(ValidationError, match="frozen"):
        Point().x = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": "far"}, r"--x: got 'far': expected a valid integer, .*"),
        ({"x": "far " * 99}, "--x: expected a valid integer, .*"),
        ({"z": 3}, "--z: unknown key"),
        (3, "the document: expected a valid dictionary or instance of Point"),
    ],
)
def test_a_fault_is_told_in_one_line(values: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Point.model_validate(values)
    assert re.fullmatch(message, validation_message(caught.value, lambda path: path and f"--{path}"))
