"""Recurrent networks predict a sine with a changing amplitude: vanilla, LSTM and GRU, in one or both directions.

They are trained hardware-aware; then the LSTM is programmed and read over time. `AnalogLSTM` and `AnalogGRU` have the
arguments of torch's layers; `AnalogRNN` takes the class of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aihw_torch.config import InferenceRPUConfig, WeightModifierType
from aihw_torch.experiments import command_line, format_table
from aihw_torch.inference import drift_analog_weights
from aihw_torch.nn import AnalogGRUCell, AnalogLinear, AnalogLSTMCell, AnalogRNN, AnalogSequential, AnalogVanillaRNNCell


class Predictor(AnalogSequential):
    """A recurrent layer and a linear one that reads it."""

    def __init__(self, cell: type[nn.Module], hidden: int, bidir: bool, config: InferenceRPUConfig) -> None:
        super().__init__()
        self.rnn = AnalogRNN(cell, 1, hidden, bias=True, rpu_config=config, xavier=True, num_layers=1, bidir=bidir)
        self.read = AnalogLinear(2 * hidden if bidir else hidden, 1, rpu_config=config)

    def forward(self, x: Tensor) -> Tensor:
        """[time, batch, 1] -> [time, batch, 1]."""
        return self.read(self.rnn(x)[0])


def waves(n: int, length: int) -> tuple[Tensor, Tensor]:
    """Sequences, and the same one step later, [length, n, 1]."""
    t = torch.arange(length + 1).view(-1, 1, 1) * 0.5
    phase = 2 * math.pi * torch.rand(1, n, 1)
    wave = torch.sin(t + phase) * (0.6 + 0.3 * torch.sin(0.2 * t + phase))
    return wave[:-1], wave[1:]


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train all of them, print the errors, and return those of the trained ones."""
    options = command_line(__doc__, arguments, steps=300, hidden=16, length=20)

    config = InferenceRPUConfig()
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.05
    config.mapping.weight_scaling_omega = 1.0
    rows = []
    cells = {"vanilla": AnalogVanillaRNNCell, "GRU": AnalogGRUCell, "LSTM": AnalogLSTMCell}
    for name, bidir in (("vanilla", False), ("GRU", False), ("LSTM", True), ("LSTM", False)):
        torch.manual_seed(options.seed)
        model = Predictor(cells[name], options.hidden, bidir, config)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(options.steps):
            x, y = waves(8, options.length)
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            x, y = waves(50, options.length)
            error = nn.functional.mse_loss(model.eval()(x), y).sqrt().item()
        rows.append({"network": name + (", both directions" if bidir else ""), "rms error": error})
    for t in (1.0, 86400.0, 2592000.0):  # the last one is the LSTM of one direction
        drift_analog_weights(model, t)
        with torch.no_grad():
            error = nn.functional.mse_loss(model(x), y).sqrt().item()
        rows.append({"network": f"LSTM, {t:g} s after programming", "rms error": error})
    print(format_table(rows))
    return {row["network"]: row["rms error"] for row in rows}


if __name__ == "__main__":
    main()
