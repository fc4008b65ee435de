"""`torch.nn.RNN`, `LSTM` and `GRU` with their matrices on tiles."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from aihw_torch import seeds
from aihw_torch.config import SingleRPUConfig
from aihw_torch.errors import ConfigError, DtypeError, ShapeError
from aihw_torch.nn.rnn.cells import AnalogGRUCell, AnalogLSTMCell, AnalogVanillaRNNCell
from aihw_torch.nn.rnn.rnn import AnalogRNN


class _TorchRNN(AnalogRNN):
    """The arguments, inputs and outputs of a recurrent layer of torch around `AnalogRNN`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as in torch.
        rpu_config: of all matrices, `SingleRPUConfig()` by default.
        tile_module_class: the module that holds a matrix, by default as its size needs.
    """

    CELL: ClassVar[Any]
    DIGITAL: ClassVar[Any]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        rpu_config: Any = None,
        tile_module_class: Any = None,
    ) -> None:
        config = SingleRPUConfig() if rpu_config is None else rpu_config
        options: dict[str, Any] = {"num_layers": num_layers, "bidir": bidirectional, "dropout": dropout}
        head = (self.CELL, input_size, hidden_size, bias, config, tile_module_class)
        super().__init__(*head, **options, batch_first=batch_first)
        self.input_size, self.bidirectional, self.dropout = input_size, bidirectional, dropout

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Return the outputs and the last state; shapes as in torch, also without a batch."""
        self._check(input, hx)
        if isinstance(input, Tensor) and input.ndim == 2:
            batch = 0 if self.batch_first else 1
            state = None if hx is None else _map(hx, lambda t: t.unsqueeze(1))
            output, last = self.forward(input.unsqueeze(batch), state)
            return output.squeeze(batch), _map(last, lambda t: t.squeeze(1))
        output, last = super().forward(input, None if hx is None else self._to_states(hx))
        return output, self._from_states(last)

    def _check(self, input: Any, hx: Any) -> None:
        """Raise `ShapeError` or `DtypeError` before any tile computes unless input and state fit."""
        if isinstance(input, PackedSequence):
            batch: tuple[int, ...] = (int(input.batch_sizes[0]),)
        elif not isinstance(input, Tensor):
            raise DtypeError(f"a recurrent layer takes a tensor or a PackedSequence, not {type(input).__name__}")
        elif input.ndim not in (2, 3) or not input.shape[1 if self.batch_first and input.ndim == 3 else 0]:
            raise ShapeError(
                f"the input has the shape {tuple(input.shape)}, this layer takes [time, batch, features] or "
                "[time, features] with at least one time step"
            )
        else:
            batch = (input.shape[0 if self.batch_first else 1],) if input.ndim == 3 else ()
        shape = (self.num_layers * (2 if self.bidir else 1), *batch, self.hidden_size)
        is_pair = self.CELL is AnalogLSTMCell
        parts = hx if isinstance(hx, (tuple, list)) else (hx,)
        right = len(parts) == (2 if is_pair else 1) and all(isinstance(p, Tensor) and p.shape == shape for p in parts)
        if hx is not None and not right:
            raise ShapeError(f"hx must be {'a pair of tensors' if is_pair else 'a tensor'} of the shape {shape}")

    def _to_states(self, hx: Any) -> list[Any]:
        """Return the states of the layers of torch's tensor(s) [layers * directions, batch, hidden]."""
        parts = list(hx.unbind(0)) if isinstance(hx, Tensor) else list(zip(*(t.unbind(0) for t in hx), strict=True))
        return [parts[2 * i : 2 * i + 2] for i in range(self.num_layers)] if self.bidir else parts

    def _from_states(self, states: list[Any]) -> Any:
        parts = [part for pair in states for part in pair] if self.bidir else states
        if isinstance(parts[0], Tensor):
            return torch.stack(parts)
        return tuple(torch.stack(tensors) for tensors in zip(*parts, strict=True))

    def _cells(self) -> list[tuple[str, Any]]:
        """Return (suffix of torch's parameter names, cell) in torch's order."""
        found = []
        for number, layer in enumerate(self.rnn.layers):
            cells = [d.cell for d in layer.directions] if self.bidir else [layer.cell]  # type: ignore[union-attr]
            found += [(f"l{number}{suffix}", cell) for cell, suffix in zip(cells, ("", "_reverse"), strict=False)]
        return found

    @classmethod
    def from_digital(cls, module: Any, rpu_config: Any = None, tile_module_class: Any = None) -> Self:
        """Return an analog layer with the geometry, values, data type and training mode of a layer of torch."""
        if getattr(module, "proj_size", 0) or getattr(module, "nonlinearity", "tanh") != "tanh":
            raise ConfigError("proj_size and the nonlinearity 'relu' are not available on tiles")
        head = (module.input_size, module.hidden_size, module.num_layers, module.bias, module.batch_first)
        with seeds.from_seed(None):
            layer = cls(*head, module.dropout, module.bidirectional, rpu_config, tile_module_class)
        for suffix, cell in layer._cells():
            for name in ("ih", "hh"):
                bias = getattr(module, f"bias_{name}_{suffix}") if module.bias else None
                getattr(cell, f"weight_{name}").set_weights(getattr(module, f"weight_{name}_{suffix}"), bias)
        first = next(module.parameters())
        return layer.to(first.dtype).requires_grad_(first.requires_grad).train(module.training)

    def to_digital(self) -> Any:
        """Return the layer of torch with the logical weights, read without noise."""
        options = {"bias": self.bias, "batch_first": self.batch_first, "dropout": self.dropout}
        digital = self.DIGITAL(self.input_size, self.hidden_size, self.num_layers, bidirectional=self.bidir, **options)
        with torch.no_grad():
            for suffix, cell in self._cells():
                for name in ("ih", "hh"):
                    weight, bias = getattr(cell, f"weight_{name}").get_weights()
                    getattr(digital, f"weight_{name}_{suffix}").copy_(weight)
                    if bias is not None:
                        getattr(digital, f"bias_{name}_{suffix}").copy_(bias)
        return digital.to(next(self.analog_tiles()).edge_dtype).train(self.training)


def _map(state: Any, change: Any) -> Any:
    return change(state) if isinstance(state, Tensor) else tuple(change(part) for part in state)


class AnalogVanillaRNN(_TorchRNN):
    """`torch.nn.RNN` (tanh) on tiles; arguments as in torch without `nonlinearity`, then `rpu_config`."""

    CELL, DIGITAL = AnalogVanillaRNNCell, nn.RNN


class AnalogLSTM(_TorchRNN):
    """`torch.nn.LSTM` on tiles; arguments as in torch without `proj_size`, then `rpu_config`."""

    CELL, DIGITAL = AnalogLSTMCell, nn.LSTM


class AnalogGRU(_TorchRNN):
    """`torch.nn.GRU` on tiles; arguments as in torch, then `rpu_config`."""

    CELL, DIGITAL = AnalogGRUCell, nn.GRU
