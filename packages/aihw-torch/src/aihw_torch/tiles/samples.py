"""Noise that is addressed by the sample of a data set, so that it does not depend on the batches it comes in."""

from __future__ import annotations


class SampleCount:
    """Numbers the forward calls of a tile within a batch, and the samples of each of those calls over all batches.

    Args:
        first_step: the step of the first call.
    """

    def __init__(self, first_step: int) -> None:
        self._first_step = first_step
        self._seen = list[int]()  # samples so far, of each call within a batch
        self._call = 0

    def next_batch(self) -> None:
        """Begin a batch: its calls have the steps of those of the batch before."""
        self._call = 0

    def next_pass(self) -> None:
        """Begin a pass through the data, with steps of its own."""
        self._first_step += len(self._seen)
        self._seen.clear()
        self._call = 0

    def next_step(self) -> int:
        """Count a call; return its step."""
        if self._call == len(self._seen):
            self._seen.append(0)
        self._call += 1
        return self._first_step + self._call - 1

    def add(self, samples: int) -> int:
        """Count the samples of the present call; return how many it had in the batches before."""
        before = self._seen[self._call - 1]
        self._seen[self._call - 1] = before + samples
        return before
