"""Recurrent networks of several layers, made of cells."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from aihw_torch.nn.base import AnalogLayerBase
from aihw_torch.nn.layer import check_sizes
from aihw_torch.nn.linear import AnalogLinear
from aihw_torch.nn.rnn.layers import AnalogBidirRNNLayer, AnalogRNNLayer


class ModularRNN(AnalogLayerBase):
    """A stack of recurrent layers with dropout between them.

    Args:
        num_layers: number of layers.
        layer: class of the layers.
        dropout: probability that an output of a layer, except of the last, is dropped.
        first_layer_args, other_layer_args: arguments of the layers.
    """

    IS_CONTAINER = True

    def __init__(
        self, num_layers: int, layer: Any, dropout: float, first_layer_args: Any, other_layer_args: Any
    ) -> None:
        check_sizes(num_layers=num_layers)
        super().__init__()
        if dropout > 0.0 and num_layers == 1:
            warnings.warn("dropout acts between layers and there is only one; set it to 0", stacklevel=3)
        arguments = [first_layer_args] + [other_layer_args] * (num_layers - 1)
        self.layers = nn.ModuleList(layer(*given) for given in arguments)
        self.num_layers = num_layers
        self.dropout_layer = nn.Dropout(dropout) if dropout > 0.0 and num_layers > 1 else None

    def get_zero_state(self, batch_size: int) -> list[Any]:
        """Return the state of each layer at the start."""
        return [layer.get_zero_state(batch_size) for layer in self.layers]  # type: ignore[operator]

    def forward(self, input: Tensor, states: list[Any], lengths: Tensor | None = None) -> tuple[Tensor, list[Any]]:
        """Return the outputs of the last layer [time, batch, features] and the last states of all."""
        output, last = input, []
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            output, state = layer(output, state, lengths)
            last.append(state)
            if self.dropout_layer is not None and number < self.num_layers - 1:
                output = self.dropout_layer(output)
        return output, last


class AnalogRNN(AnalogLayerBase):
    """A recurrent network of several layers, in one or both directions.

    Args:
        cell: class of the cells, such as `AnalogLSTMCell`.
        input_size, hidden_size, bias: as in torch.
        rpu_config: of all matrices; None makes them digital.
        tile_module_class: the module that holds a matrix, by default as its size needs.
        xavier: start from Xavier-uniform weights and zero biases instead of uniform ones in +-1/sqrt(hidden_size).
        num_layers: number of layers.
        bidir: whether each layer runs in both directions.
        dropout: probability that an output between two layers is dropped.
        batch_first: whether inputs and outputs are [batch, time, features] instead of [time, batch, features].
    """

    IS_CONTAINER = True

    def __init__(
        self,
        cell: Any,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        rpu_config: Any = None,
        tile_module_class: Any = None,
        xavier: bool = False,
        num_layers: int = 1,
        bidir: bool = False,
        dropout: float = 0.0,
        *,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        layer = AnalogBidirRNNLayer if bidir else AnalogRNNLayer
        width = 2 * hidden_size if bidir else hidden_size
        tail = (hidden_size, bias, rpu_config, tile_module_class)
        self.rnn = ModularRNN(num_layers, layer, dropout, (cell, input_size, *tail), (cell, width, *tail))
        self.hidden_size, self.bias, self.num_layers, self.bidir = hidden_size, bias, num_layers, bidir
        self.batch_first = batch_first
        self.reset_parameters(xavier)

    def get_zero_state(self, batch_size: int) -> list[Any]:
        """Return the state of each layer at the start."""
        return self.rnn.get_zero_state(batch_size)

    def forward(self, input: Any, states: list[Any] | None = None) -> tuple[Any, list[Any]]:
        """Return the outputs and the last state of each layer.

        Args:
            input: [time, batch, features], or with `batch_first` [batch, time, features], or a `PackedSequence`, which
                gives a `PackedSequence` of outputs.
            states: of each layer at the start, zero by default. Those of a `PackedSequence` are in the order of the
                batch before packing.
        """
        if isinstance(input, PackedSequence):
            padded, lengths = pad_packed_sequence(input)
            output, last = self.rnn(padded, states or self.get_zero_state(padded.shape[1]), lengths)
            return _pack(output, lengths, input), last
        time_first = input.transpose(0, 1) if self.batch_first else input
        output, last = self.rnn(time_first, states or self.get_zero_state(time_first.shape[1]))
        return output.transpose(0, 1) if self.batch_first else output, last

    def init_layers(
        self, weight_init_fn: Callable[[Tensor], Any], bias_init_fn: Callable[[Tensor], Any] | None = None
    ) -> None:
        """Initialise the weights, and the biases, of all matrices with functions that write into a tensor."""
        for module in self.modules():
            if isinstance(module, AnalogLinear):
                weight, bias = module.get_weights()
                weight_init_fn(weight)
                if bias is not None:
                    (bias_init_fn or weight_init_fn)(bias)
                module.set_weights(weight, bias)
            elif isinstance(module, nn.Linear):
                weight_init_fn(module.weight)
                if module.bias is not None:
                    (bias_init_fn or weight_init_fn)(module.bias)

    @torch.no_grad()
    def reset_parameters(self, xavier: bool = False) -> None:
        """Draw new weights and biases."""
        if xavier:
            self.init_layers(nn.init.xavier_uniform_, nn.init.zeros_)
        else:
            bound = 1.0 / math.sqrt(self.hidden_size)
            self.init_layers(lambda tensor: nn.init.uniform_(tensor, -bound, bound))


def _pack(output: Tensor, lengths: Tensor, like: PackedSequence) -> PackedSequence:
    """Return padded outputs, in the order of the batch before packing, packed as `like` is."""
    if like.sorted_indices is not None:
        return pack_padded_sequence(output, lengths, enforce_sorted=False)
    return pack_padded_sequence(output, lengths)
