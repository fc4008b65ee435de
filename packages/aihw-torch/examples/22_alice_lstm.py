"""An LSTM reads a text character by character and learns what comes next, by pulses on soft-bounds devices.

Each gate matrix of the cell is one tile (`--combined` puts both into one); a second linear layer, also analog,
gives the logits. The text is the first chapter of Alice's Adventures in Wonderland. Beside the pulsed network the same
one is trained in floating point and hardware-aware; a perplexity of 59, the number of characters, would be no knowledge
at all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    WeightModifierType,
)
from aihw_torch.experiments import Characters, command_line, format_table, perplexity
from aihw_torch.nn import AnalogLinear, AnalogLSTMCell, AnalogLSTMCellCombinedWeight, AnalogRNN, AnalogSequential
from aihw_torch.optim import AnalogSGD


class Reader(AnalogSequential):
    """Characters as one-hot vectors, an LSTM, and logits of the next character."""

    def __init__(self, characters: int, hidden: int, cell: type[nn.Module], config: Any) -> None:
        super().__init__()
        self.characters = characters
        self.rnn = AnalogRNN(cell, characters, hidden, rpu_config=config, batch_first=True)
        self.logits = AnalogLinear(hidden, characters, rpu_config=config)

    def forward(self, codes: Tensor) -> Tensor:
        """[batch, time] -> [batch, time, characters]."""
        one_hot = nn.functional.one_hot(codes, self.characters).float()
        return self.logits(self.rnn(one_hot)[0])


def configurations() -> dict[str, Any]:
    """The three kinds of weights."""
    aware = InferenceRPUConfig()
    aware.mapping.weight_scaling_omega = 1.0
    aware.modifier.type, aware.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.05
    return {
        "floating point": FloatingPointRPUConfig(),
        "pulsed": SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.0005, w_min=-2.0, w_max=2.0)),
        "hardware-aware": aware,
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train all of them, print a table, and return the perplexities on the end of the chapter."""
    options = command_line(
        __doc__,
        arguments,
        steps=600,
        hidden=64,
        length=(32, "characters of a piece"),
        lr=2.0,
        combined=(False, "one matrix for both inputs of a cell"),
    )

    text = Characters()
    cell = AnalogLSTMCellCombinedWeight if options.combined else AnalogLSTMCell
    rows = []
    for name, config in configurations().items():
        torch.manual_seed(options.seed)
        model = Reader(len(text.alphabet), options.hidden, cell, config)
        optimizer = AnalogSGD(model.parameters(), lr=options.lr)
        start = time.process_time()
        for _ in range(options.steps):
            x, y = text.batch(options.length, 16)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        seconds = (time.process_time() - start) / options.steps
        found = perplexity(model.eval(), text.test_batches(options.length))
        rows.append({"weights": name, "last loss": loss.item(), "perplexity": found, "CPU ms per step": 1e3 * seconds})
    print(format_table(rows))
    return {row["weights"]: row["perplexity"] for row in rows}


if __name__ == "__main__":
    main()
