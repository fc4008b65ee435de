"""The record: what the backward passes leave for a pulsed tile until the optimizer's step.

A pulsed tile has no weight gradient, which would be a matrix that no crossbar ever forms: its update takes the factors,
the inputs x and the output gradients d, and fires pulse trains. The record keeps them, and stands in for the gradient
d^T x by its Frobenius norm, a gradient of one element. It is the gradient of the tile's token, a parameter of one
element, and so everything that acts on gradients (unscaling, clipping, `zero_grad`) acts on it. At the step, token.grad
divided by what was recorded says what became of the gradient in between.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aihw_torch.distributed import gather_samples
from aihw_torch.errors import StateError
from aihw_torch.kept import keep_rows
from aihw_torch.patches import Patches, rows_of, weight_gradient

if TYPE_CHECKING:
    from aihw_torch.parameters import PulseToken


Inputs = Tensor | Patches  # [samples, in], or what the positions of a kernel see in images
Entry = tuple[Inputs, Tensor]  # with the gradients of the outputs, [samples, out]

_numbers = itertools.count(1)
_records: weakref.WeakValueDictionary[int, UpdateRecord] = weakref.WeakValueDictionary()


def find_record(key: Tensor) -> UpdateRecord:
    """Return the record that has this key; compiled code knows records by their keys."""
    record = _records.get(int(key))
    if record is None:
        raise StateError("the analog layer of this graph does not exist any more; compile the model again")
    return record


def gradient_norm(x: Inputs, d: Tensor) -> Tensor:
    """Return the Frobenius norm of the weight gradient d^T x, shape [1].

    Args:
        x: inputs, [samples, in], or patches of images.
        d: gradients of the outputs, [samples, out].

    Of the two ways to compute it the one with fewer operations is taken: through the Gram matrices of the samples,
    ||d^T x||^2 = sum((x x^T) o (d d^T)), or through the gradient itself.
    """
    norm: Tensor
    if isinstance(x, Patches):
        norm = torch.linalg.vector_norm(weight_gradient(x, d)).view(1)
        return norm
    samples, n_in, n_out = x.shape[0], x.shape[1], d.shape[1]
    if samples == 1:
        norm = torch.linalg.vector_norm(x, dim=1) * torch.linalg.vector_norm(d, dim=1)
        return norm
    if samples * (n_in + n_out) < n_in * n_out:
        # Rounding can leave a small negative number where the samples cancel.
        norm = torch.dot((x @ x.T).view(-1), (d @ d.T).view(-1)).clamp_(min=0.0).sqrt_()
    else:
        norm = torch.linalg.vector_norm(x.T @ d)  # faster than d.T @ x where there are few outputs
    return norm.view(1)


def numbers(values: Sequence[Tensor | None]) -> list[float | None]:
    """Return tensors of one element as numbers; this waits once for each GPU."""
    found: list[float | None] = [None if value is None or not value.is_cpu else value.item() for value in values]
    elsewhere: dict[torch.device, list[int]] = {}
    for at, value in enumerate(values):
        if value is not None and not value.is_cpu:
            elsewhere.setdefault(value.device, []).append(at)
    for places in elsewhere.values():
        joined = torch.cat([value.detach().view(1) for at in places if (value := values[at]) is not None])
        for at, number in zip(places, joined.tolist(), strict=True):
            found[at] = number
    return found


def _joined(entries: list[Entry]) -> Entry:
    """Return the samples of all entries as one batch."""
    if len(entries) == 1:
        return entries[0]
    return torch.cat([rows_of(x) for x, _ in entries]), torch.cat([d for _, d in entries])


@dataclass
class _Pass:
    """What one backward pass records, until it is known that the pass reaches the token."""

    entries: list[Entry] = field(default_factory=list)
    norm: Tensor | None = None


class Recorded(NamedTuple):
    """What a record holds: samples (x, d), the norm of their weight gradient, and that gradient if it accumulates."""

    entries: list[Entry]
    norm: Tensor | None
    gradient: Tensor | None


class UpdateRecord:
    """The recorded (x, d) of one tile.

    A pass counts only once its gradient is in `token.grad`: `torch.autograd.grad` with respect to an input runs the
    same backward functions and must leave nothing behind. Hence the two hooks on the token.

    Attributes:
        key: names the record in compiled code, one int64.
        process_group: with a group every pass records the samples of all its processes (see `distributed`).
    """

    def __init__(self, token: PulseToken) -> None:
        self._token = weakref.ref(token)
        number = next(_numbers)
        self.key = torch.tensor(number, device="cpu")
        _records[number] = self
        self.process_group: Any = None
        self._entries: list[Entry] = []
        self._norm: Tensor | None = None
        self._gradient: Tensor | None = None  # only where gradients are accumulated over several passes
        self._passes: dict[int, _Pass] = {}
        # A hook can only be registered on a tensor that asks for a gradient; it stays when the token is frozen.
        frozen = not token.requires_grad
        token.requires_grad_(True)
        token.register_hook(self._before_accumulation)  # type: ignore[no-untyped-call]
        token.register_post_accumulate_grad_hook(self._after_accumulation)  # type: ignore[no-untyped-call]
        token.requires_grad_(not frozen)

    def __len__(self) -> int:
        """Return the number of recorded samples."""
        return sum(d.shape[0] for _, d in self._entries)

    def add(self, x: Inputs, d: Tensor) -> Tensor:
        """Record x [..., in] or patches, and d [..., out], in this backward pass; return the token's gradient."""
        x, d = x.kept() if isinstance(x, Patches) else keep_rows(x), keep_rows(d)
        task = torch._C._current_graph_task_id()
        if task == -1:  # no backward pass that could reach the token
            return gradient_norm(x, d)
        if task not in self._passes:
            self._passes[task] = _Pass()
            # Also a pass that never reaches the token ends, and its copies with it.
            torch.autograd.Variable._execution_engine.queue_callback(partial(self._end, task))
        self._passes[task].entries.append((x, d))
        return gradient_norm(x, d)

    def _end(self, task: int) -> None:
        self._passes.pop(task, None)

    def _before_accumulation(self, norm: Tensor) -> Tensor | None:
        token = self._token()
        running = self._passes.get(torch._C._current_graph_task_id())
        if token is None or running is None:
            return None
        if token.grad is None or not bool(token.grad.any()):  # what had been recorded before was discarded
            self.discard_entries()
        elif self._norm is not None:
            self._follow(token.grad)
        if self.process_group is None:
            running.norm = norm
            return None
        running.entries = [gather_samples(rows_of(x), d, self.process_group) for x, d in running.entries]
        running.norm = sum(gradient_norm(x, d) for x, d in running.entries)  # type: ignore[assignment]
        return running.norm

    def _after_accumulation(self, token: Tensor) -> None:
        done = self._passes.pop(torch._C._current_graph_task_id(), None)
        if done is None or done.norm is None:
            return
        before = self._entries
        self._entries = before + done.entries
        if not before and len(done.entries) == 1:
            self._norm = done.norm
            return
        # The gradients of several uses add up, their norms do not: the token's gradient becomes the norm of the sum.
        x, d = _joined(done.entries)
        if not before:
            self._norm = gradient_norm(x, d)
        else:
            if self._gradient is None:
                old_x, old_d = _joined(before)
                self._gradient = weight_gradient(old_x, old_d)
            self._gradient = self._gradient + weight_gradient(x, d)
            self._norm = torch.linalg.vector_norm(self._gradient).view(1)
        assert token.grad is not None
        token.grad.copy_(self._norm)

    def _follow(self, gradient: Tensor) -> None:
        """Do to what was recorded before this pass what was done to the token's gradient since."""
        assert self._norm is not None
        if torch.equal(gradient, self._norm):
            return
        ratio = float(gradient) / float(self._norm)
        self._entries = [(x, d * ratio) for x, d in self._entries]
        self._norm = gradient.detach().clone()
        self._gradient = None if self._gradient is None else self._gradient * ratio

    def copied_to(self, device: torch.device) -> Recorded:
        """Return what is recorded on a device; the record stays as it is."""
        entries: list[Entry] = [(rows_of(x).to(device), d.to(device)) for x, d in self._entries]
        norm, gradient = (None if held is None else held.to(device) for held in (self._norm, self._gradient))
        return Recorded(entries, norm, gradient)

    def continue_from(self, recorded: Recorded) -> None:
        """Take what this record, or that of another token, has held."""
        self._entries, self._norm, self._gradient = recorded

    def peek(self) -> tuple[Tensor, Tensor] | None:
        """Return what is recorded, (x [samples, in], d [samples, out]), without forgetting it."""
        if not self._entries:
            return None
        x, d = _joined(self._entries)
        return rows_of(x), d

    def discard_entries(self) -> None:
        """Forget what earlier passes recorded."""
        self._entries, self._norm, self._gradient = [], None, None

    def discard(self) -> None:
        """Forget everything."""
        self.discard_entries()
        self._passes.clear()

    @property
    def norm(self) -> Tensor | None:
        """The norm of the weight gradient that was recorded, [1]."""
        return self._norm

    def take(self, recorded: float | None, wanted: float | None) -> Entry | None:
        """Return what there is to update, (x [samples, in] or patches, d [samples, out]), and forget it.

        Args:
            recorded: `norm` as a number (see `numbers`).
            wanted: the token's gradient. d is multiplied by its ratio to the recorded norm; None and zero mean that
                the gradient was discarded.
        """
        entries = self._entries
        self.discard()
        if not recorded or not wanted:
            return None
        x, d = _joined(entries)
        return x, d if wanted == recorded else d * (wanted / recorded)  # d may be that of other records as well
