"""Which forward call a recomputation repeats: activation checkpointing must draw the noise of the first one again."""

from __future__ import annotations

import itertools
import os
import sys
import weakref
from collections import OrderedDict, deque
from types import FrameType

import numpy as np
import torch
from torch import Tensor

_KEPT = 4096


def recomputing() -> bool:
    """Whether the running code is part of a backward pass, as the recomputed forward of a checkpoint is."""
    return torch._C._current_graph_task_id() != -1


def may_be_recomputed(training: bool) -> bool:
    """Whether a forward call could be repeated by a backward pass.

    The one kind of checkpoint sets hooks on saved tensors; the other (reentrant) runs without gradients, as an
    evaluation does, and is known by its place in the call stack.
    """
    if torch.is_grad_enabled():
        return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
    return training and not torch.is_inference_mode_enabled() and _below_a_checkpoint()


def _below_a_checkpoint() -> bool:
    """Whether a `forward` of a file about checkpoints, torch's or that of another library, is running."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "forward" and "checkpoint" in os.path.basename(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


_numbers = itertools.count(1)
_logs: weakref.WeakValueDictionary[int, StepLog] = weakref.WeakValueDictionary()


def find_log(key: Tensor) -> StepLog | None:
    """Return the log that has this key, None if its tile does not exist (in an exported program)."""
    return _logs.get(int(key))


class StepLog:
    """The steps of the latest forward calls that may be repeated, found by the bits of their input.

    Calls with equal inputs are repeated in the order in which they happened.

    Attributes:
        key: names the log in compiled code, one int64.
    """

    def __init__(self) -> None:
        number = next(_numbers)
        self.key = torch.tensor(number, device="cpu")
        _logs[number] = self
        self._steps: OrderedDict[bytes, deque[int]] = OrderedDict()

    def note(self, x: Tensor, step: int) -> None:
        """Remember the step of a call."""
        self._steps.setdefault(_fingerprint(x), deque()).append(step)
        while len(self._steps) > _KEPT:
            self._steps.popitem(last=False)

    def find(self, x: Tensor) -> int | None:
        """Return, and forget, the step of the first remembered call with this input; None if there is none."""
        if not self._steps:
            return None
        key = _fingerprint(x)
        steps = self._steps.get(key)
        if steps is None:
            return None
        step = steps.popleft()
        if not steps:
            del self._steps[key]
        return step

    def clear(self) -> None:
        """Forget everything: the graph of those calls is of the past."""
        self._steps.clear()


def _fingerprint(x: Tensor) -> bytes:
    """Return what tells inputs apart: shape, two sums over the bits, and the first and last numbers."""
    bits = x.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    words = bits.view(np.uint32) if bits.size % 4 == 0 else bits
    sums = int(words.sum(dtype=np.uint64)), int(words[::3].sum(dtype=np.uint64))
    return repr((tuple(x.shape), sums)).encode() + words[:16].tobytes() + words[-16:].tobytes()
