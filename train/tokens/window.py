"""A buffer of rows as the store encodes them, and a plan to walk through rows in any order while it is filled ahead.

Sample index and buffer index: see the package's docstring.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True)
class Window:
    """Encoded arrays of a number of rows, by layer and by array name; the first axis of each is the buffer index."""

    parts: dict[int, dict[str, np.ndarray]]

    @property
    def num_bytes(self) -> int:
        """The bytes of all arrays."""
        return sum(array.nbytes for parts in self.parts.values() for array in parts.values())

    @property
    def num_rows(self) -> int:
        """The number of rows that the arrays have room for."""
        return min(len(array) for parts in self.parts.values() for array in parts.values())

    def part(self, start: int, stop: int) -> "Window":
        """Return the buffer indices `start` to `stop` as views of the same memory."""
        return Window(
            {k: {name: array[start:stop] for name, array in parts.items()} for k, parts in self.parts.items()}
        )

    def gather(self, buffer_indices: Int64[np.ndarray, " row"], into: "Window") -> "Window":
        """Return the rows at `buffer_indices`, at least one: a view if they are contiguous, else a copy into `into`.

        `into` is reused from call to call, so that copying maps no new pages of memory.
        """
        first, num_rows = int(buffer_indices[0]), len(buffer_indices)
        if np.array_equal(buffer_indices, np.arange(first, first + num_rows)):
            return self.part(first, first + num_rows)
        gathered = into.part(0, num_rows)
        for k, parts in self.parts.items():
            for name, array in parts.items():
                array.take(buffer_indices, 0, gathered.parts[k][name], mode="clip")  # "raise" would copy twice
        return gathered


@runtime_checkable
class RowSource(Protocol):
    """An object that lends buffers and reads rows into them."""

    def borrow(self, num_rows: int) -> Window:
        """Return a buffer for at least `num_rows` rows."""
        ...

    def give_back(self, window: Window) -> None:
        """Take back a buffer, to lend it in the next epoch."""
        ...

    def read(
        self,
        sample_indices: Int64[np.ndarray, " row"],
        into: Window,
        buffer_indices: Int64[np.ndarray, " row"],
    ) -> Window:
        """Read each sample to its buffer index in `into`; return `into`."""
        ...


@dataclass(frozen=True)
class Step:
    """Some batches that are used together: which samples are read for them, and where all of their rows lie then."""

    sample_indices: Int64[np.ndarray, " read"]
    buffer_indices: Int64[np.ndarray, " read"]  # where those are read to
    used_buffer_indices: Int64[np.ndarray, " row"]  # of the rows of the batches, some of which earlier steps read


@dataclass(frozen=True)
class Plan:
    """The steps of an epoch, and the number of rows that a buffer must hold for them."""

    steps: list[Step]
    buffer_rows: int


def steps_of(
    batches: Sequence[Int64[np.ndarray, " _row"]], step_rows: int, first: int = 0
) -> list[list[Int64[np.ndarray, " _row"]]]:
    """Group batches, from number `first` on, into steps of about `step_rows` rows, as the rows leave a pool.

    A batch belongs to the step with which its last row leaves, so that no step waits for rows of a later step.
    """
    steps: dict[int, list[np.ndarray]] = {}
    for batch, end in list(zip(batches, np.cumsum([len(batch) for batch in batches]).tolist(), strict=True))[first:]:
        if len(batch):
            steps.setdefault((end - 1) // step_rows, []).append(batch)
    return list(steps.values())


def plan(steps: Sequence[Int64[np.ndarray, " _row"]], chunks: Int64[np.ndarray, " row"]) -> Plan:
    """Plan to read every chunk once, for the first step that uses one of its rows, while the step before is used.

    `steps` holds the sample indices of each step, `chunks` the chunk number of every sample of all steps.
    """
    sample_indices, lengths = np.concatenate(steps), np.array([len(step) for step in steps])
    ends = np.cumsum(lengths)
    _, firsts, chunk = np.unique(chunks, return_index=True, return_inverse=True)
    needed_in = np.searchsorted(ends, firsts, side="right")[chunk]  # the step for which each sample is read
    num_read = np.bincount(needed_in, minlength=len(steps))
    # While a step is used the next is read: rows read so far, less those that were used up before the current step.
    buffer_rows = int(np.max(np.cumsum(num_read) - np.append([0, 0], ends)[: len(steps)]))
    order = np.lexsort((sample_indices, needed_in))  # neighbours in the store to neighbouring buffer indices
    buffer_index_of, free, planned = np.empty_like(sample_indices), np.arange(buffer_rows), list[Step]()
    in_use = free[:0]
    for coming, end, length in zip(np.split(order, np.cumsum(num_read)[:-1]), ends, lengths, strict=True):
        buffer_index_of[coming], free = np.split(free, [len(coming)])
        # The rows of the step before are free only now: they were in use while this step was read.
        free, in_use = np.sort(np.append(free, in_use)), buffer_index_of[end - length : end]
        planned.append(Step(sample_indices[coming], buffer_index_of[coming], in_use))
    return Plan(planned, buffer_rows)


def read_ahead(source: RowSource, planned: Plan) -> Iterator[tuple[Window, Int64[np.ndarray, " row"]]]:
    """Yield for each step the buffer and the buffer indices of the step's rows, valid until the next is asked for.

    The source lends the same buffer epoch after epoch, so that memory stays flat and is mapped once.
    """
    window = source.borrow(planned.buffer_rows)

    def fill(step: Step) -> None:
        source.read(step.sample_indices, window, step.buffer_indices)

    try:
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
            reading = thread.submit(fill, planned.steps[0])
            for number, step in enumerate(planned.steps, 1):
                reading.result()
                if number < len(planned.steps):
                    reading = thread.submit(fill, planned.steps[number])
                yield window, step.used_buffer_indices
    finally:
        source.give_back(window)
