"""A recurrent cell over the time steps of a sequence, forwards, backwards or both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.nn.base import AnalogLayerBase


def _select(new: Any, old: Any, active: Tensor) -> Any:
    """Return the new state of the sequences that are still running and the old one of the others."""
    if isinstance(new, Tensor):
        return torch.where(active, new, old)
    return tuple(torch.where(active, a, b) for a, b in zip(new, old, strict=True))


class AnalogRNNLayer(AnalogLayerBase):
    """A cell that walks along a sequence.

    Args:
        cell: class of the cell.
        cell_args: its arguments.
    """

    IS_CONTAINER = True
    REVERSE = False

    def __init__(self, cell: Any, *cell_args: Any) -> None:
        super().__init__()
        self.cell = cell(*cell_args)

    def get_zero_state(self, batch_size: int) -> Any:
        """Return the state at the start."""
        return self.cell.get_zero_state(batch_size)

    def forward(self, input: Tensor, state: Any, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the outputs [time, batch, hidden] and the last state.

        Args:
            input: [time, batch, features].
            state: at the start (a backward layer starts at the end of each sequence).
            lengths: of the sequences, [batch]; beyond them outputs are zero and the state stays.
        """
        steps = list(enumerate(input.unbind(0)))
        outputs = []
        for time, x in reversed(steps) if self.REVERSE else steps:
            output, new = self.cell(x, state)
            if lengths is not None:
                active = (time < lengths).unsqueeze(1)
                new, output = _select(new, state, active), torch.where(active, output, torch.zeros_like(output))
            state = new
            outputs.append(output)
        return torch.stack(outputs[::-1] if self.REVERSE else outputs), state


class AnalogReverseRNNLayer(AnalogRNNLayer):
    """A cell that walks along a sequence from its end."""

    REVERSE = True


class AnalogBidirRNNLayer(AnalogLayerBase):
    """A cell for each direction; outputs are side by side, [time, batch, 2 hidden], and the state is a list of both."""

    IS_CONTAINER = True

    def __init__(self, cell: Any, *cell_args: Any) -> None:
        super().__init__()
        self.directions = nn.ModuleList([AnalogRNNLayer(cell, *cell_args), AnalogReverseRNNLayer(cell, *cell_args)])

    def get_zero_state(self, batch_size: int) -> list[Any]:
        """Return the states at the start."""
        return [direction.get_zero_state(batch_size) for direction in self.directions]  # type: ignore[operator]

    def forward(self, input: Tensor, states: list[Any], lengths: Tensor | None = None) -> tuple[Tensor, list[Any]]:
        """Return the outputs [time, batch, 2 hidden] and the last states; arguments as in `AnalogRNNLayer`."""
        results = [direction(input, state, lengths) for direction, state in zip(self.directions, states, strict=True)]
        return torch.cat([output for output, _ in results], dim=-1), [state for _, state in results]
