"""One time step of a recurrent layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aihw_torch.nn.base import AnalogLayerBase
from aihw_torch.nn.layer import check_bias, check_sizes
from aihw_torch.nn.linear import AnalogLinear


class LSTMState(NamedTuple):
    """Hidden state and cell state of an LSTM, [batch, hidden] each."""

    hx: Tensor
    cx: Tensor


class _Cell(AnalogLayerBase):
    """Two matrices, for the input and for the hidden state.

    Args:
        input_size, hidden_size, bias: as in torch.
        rpu_config: of both matrices; None makes them digital.
        tile_module_class: the module that holds a matrix, by default as its size needs.
    """

    IS_CONTAINER = True
    GATES = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        rpu_config: Any = None,
        tile_module_class: Any = None,
    ) -> None:
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        check_bias(bias)
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self.GATES * hidden_size
        self.weight_ih = _matrix(input_size, rows, bias, rpu_config, tile_module_class)
        self.weight_hh = _matrix(hidden_size, rows, bias, rpu_config, tile_module_class)

    def get_zero_state(self, batch_size: int) -> Any:
        """Return the state at the start of a sequence, [batch, hidden]."""
        tile = next(self.analog_tiles(), None)
        dtype = next(self.parameters()).dtype if tile is None else tile.edge_dtype
        return torch.zeros(batch_size, self.hidden_size, dtype=dtype, device="cpu")


def _matrix(columns: int, rows: int, bias: bool, rpu_config: Any, tile_module_class: Any) -> nn.Module:
    if rpu_config is None:
        return nn.Linear(columns, rows, bias)
    return AnalogLinear(columns, rows, bias, rpu_config, tile_module_class)


class AnalogVanillaRNNCell(_Cell):
    """h' = tanh(W_ih x + W_hh h)."""

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output [batch, hidden] and the new state, which is the same."""
        hidden = torch.tanh(self.weight_ih(input) + self.weight_hh(state))
        return hidden, hidden


class _LSTMCell(_Cell):
    """A cell with a hidden state and a cell state."""

    def get_zero_state(self, batch_size: int) -> LSTMState:
        """Return the state at the start of a sequence."""
        return LSTMState(super().get_zero_state(batch_size), super().get_zero_state(batch_size))


class AnalogLSTMCell(_LSTMCell):
    """c' = f c + i g, h' = o tanh(c'), with the gates i, f, g, o = W_ih x + W_hh h in this order."""

    GATES = 4

    def forward(self, input: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output [batch, hidden] and the new (hidden state, cell state)."""
        hidden, cell = state
        return _lstm_step(self.weight_ih(input) + self.weight_hh(hidden), cell)


def _lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    write, forget, new, read = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(write) * torch.tanh(new)
    hidden = torch.sigmoid(read) * torch.tanh(cell)
    return hidden, (hidden, cell)


class AnalogLSTMCellCombinedWeight(_LSTMCell):
    """`AnalogLSTMCell` with one matrix [4 hidden, input + hidden] for input and hidden state together."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        rpu_config: Any = None,
        tile_module_class: Any = None,
    ) -> None:
        AnalogLayerBase.__init__(self)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.weight = _matrix(input_size + hidden_size, 4 * hidden_size, bias, rpu_config, tile_module_class)

    def forward(self, input: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output [batch, hidden] and the new (hidden state, cell state)."""
        hidden, cell = state
        return _lstm_step(self.weight(torch.cat([input, hidden], dim=-1)), cell)


class AnalogGRUCell(_Cell):
    """h' = n + z (h - n) with n = tanh(i_n + r h_n), for the gates r, z, n of W_ih x and W_hh h in this order."""

    GATES = 3

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output [batch, hidden] and the new state, which is the same."""
        i_reset, i_update, i_new = self.weight_ih(input).chunk(3, dim=-1)
        h_reset, h_update, h_new = self.weight_hh(state).chunk(3, dim=-1)
        new = torch.tanh(i_new + torch.sigmoid(i_reset + h_reset) * h_new)
        hidden = new + torch.sigmoid(i_update + h_update) * (state - new)
        return hidden, hidden
