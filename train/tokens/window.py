"""Rows in memory as they are stored, and walking through them in any order while the next ones are read."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True)
class Window:
    """The stored arrays of some rows, by layer and name."""

    parts: dict[int, dict[str, np.ndarray]]

    @property
    def num_bytes(self) -> int:
        """The bytes it takes."""
        return sum(array.nbytes for parts in self.parts.values() for array in parts.values())

    @property
    def num_rows(self) -> int:
        """How many rows it has room for."""
        return min(len(array) for parts in self.parts.values() for array in parts.values())

    def part(self, start: int, stop: int) -> "Window":
        """Return a stretch of it, which copies nothing."""
        return Window(
            {k: {name: array[start:stop] for name, array in parts.items()} for k, parts in self.parts.items()}
        )

    def gather(self, slots: Int64[np.ndarray, " row"], into: "Window") -> "Window":
        """Return some of its rows: a stretch as it is, others copied, which faults no memory in."""
        first, num_rows = int(slots[0]), len(slots)
        if np.array_equal(slots, np.arange(first, first + num_rows)):
            return self.part(first, first + num_rows)
        gathered = into.part(0, num_rows)
        for k, parts in self.parts.items():
            for name, array in parts.items():
                array.take(slots, 0, gathered.parts[k][name], mode="clip")  # "raise" would copy twice
        return gathered


@runtime_checkable
class Reads(Protocol):
    """Whoever can read rows."""

    def borrow(self, num_rows: int) -> Window:
        """Return room for at least some rows."""
        ...

    def give_back(self, window: Window) -> None:
        """Take room back, for the next epoch."""
        ...

    def read(self, places: Int64[np.ndarray, " row"], into: Window, slots: Int64[np.ndarray, " row"]) -> Window:
        """Read rows, each into its slot of a window."""
        ...


@dataclass(frozen=True)
class Step:
    """What is read for some rows that are used together, and the slots of a window where those are then."""

    read: Int64[np.ndarray, " place"]
    read_slots: Int64[np.ndarray, " place"]
    used_slots: Int64[np.ndarray, " row"]


@dataclass(frozen=True)
class Plan:
    """Steps, and the slots they need: the most rows that are read and not yet used, those of two steps included."""

    steps: list[Step]
    num_slots: int


def steps_of(
    batches: Sequence[Int64[np.ndarray, " _row"]], step_rows: int, first: int = 0
) -> list[list[Int64[np.ndarray, " _row"]]]:
    """Part batches, from number `first` on, into steps of about `step_rows`, as they leave a pool.

    A batch is in the step with which its last row leaves, so that no step waits for rows of a later one.
    """
    steps: dict[int, list[np.ndarray]] = {}
    for batch, end in list(zip(batches, np.cumsum([len(batch) for batch in batches]).tolist(), strict=True))[first:]:
        if len(batch):
            steps.setdefault((end - 1) // step_rows, []).append(batch)
    return list(steps.values())


def plan(steps: Sequence[Int64[np.ndarray, " _row"]], chunks: Int64[np.ndarray, " row"]) -> Plan:
    """Read all rows of a chunk for the first step that uses one of them; `chunks` has the chunk of every row.

    Each step is read while the one before is used.
    """
    places, lengths = np.concatenate(steps), np.array([len(step) for step in steps])
    ends = np.cumsum(lengths)
    _, firsts, chunk = np.unique(chunks, return_index=True, return_inverse=True)
    needed = np.searchsorted(ends, firsts, side="right")[chunk]
    num_read = np.bincount(needed, minlength=len(steps))
    num_slots = int(np.max(np.cumsum(num_read) - np.append([0, 0], ends)[: len(steps)]))
    order = np.lexsort((places, needed))  # neighbours in the store to neighbouring slots
    slots, free, planned = np.empty_like(places), np.arange(num_slots), list[Step]()
    in_use = free[:0]
    for coming, end, length in zip(np.split(order, np.cumsum(num_read)[:-1]), ends, lengths, strict=True):
        slots[coming], free = np.split(free, [len(coming)])
        free, in_use = np.sort(np.append(free, in_use)), slots[end - length : end]
        planned.append(Step(places[coming], slots[coming], in_use))
    return Plan(planned, num_slots)


def read_ahead(source: Reads, planned: Plan) -> Iterator[tuple[Window, Int64[np.ndarray, " row"]]]:
    """Yield for each step the window and the slots of its rows, good until the next is asked for.

    The window is used epoch after epoch: memory stays flat, and is not faulted in again.
    """
    window = source.borrow(planned.num_slots)

    def fill(step: Step) -> None:
        source.read(step.read, window, step.read_slots)

    try:
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
            reading = thread.submit(fill, planned.steps[0])
            for number, step in enumerate(planned.steps, 1):
                reading.result()
                if number < len(planned.steps):
                    reading = thread.submit(fill, planned.steps[number])
                yield window, step.used_slots
    finally:
        source.give_back(window)
