"""Recurrent layers whose matrices are on tiles."""

from __future__ import annotations

from aihw_torch.nn.rnn.cells import (
    AnalogGRUCell,
    AnalogLSTMCell,
    AnalogLSTMCellCombinedWeight,
    AnalogVanillaRNNCell,
    LSTMState,
)
from aihw_torch.nn.rnn.layers import AnalogBidirRNNLayer, AnalogReverseRNNLayer, AnalogRNNLayer
from aihw_torch.nn.rnn.rnn import AnalogRNN, ModularRNN
from aihw_torch.nn.rnn.torch_like import AnalogGRU, AnalogLSTM, AnalogVanillaRNN

__all__ = [
    "AnalogBidirRNNLayer",
    "AnalogGRU",
    "AnalogGRUCell",
    "AnalogLSTM",
    "AnalogLSTMCell",
    "AnalogLSTMCellCombinedWeight",
    "AnalogRNN",
    "AnalogRNNLayer",
    "AnalogReverseRNNLayer",
    "AnalogVanillaRNN",
    "AnalogVanillaRNNCell",
    "LSTMState",
    "ModularRNN",
]
