"""Hardware-aware training in bfloat16: `model.to(torch.bfloat16)` and images of the same type, nothing else.

Layers that are trained in software compute in the type of their parameters. Arrays of pulsed devices stay float32;
their inputs and outputs follow the layer. `torch.autocast` works as with torch's own layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from aihw_torch.config import InferenceRPUConfig, SingleRPUConfig, SoftBoundsDevice, WeightModifierType
from aihw_torch.experiments import command_line, digits, format_table, lenet5, train_epoch
from aihw_torch.inference import accuracy
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train in both types and kinds of layers, print a table, and return the accuracies."""
    options = command_line(__doc__, arguments, epochs=8, size=(16, "height and width of the images"))

    aware = InferenceRPUConfig()
    aware.modifier.type, aware.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.05
    pulsed = SingleRPUConfig(device=SoftBoundsDevice(w_min=-1.0, w_max=1.0))
    rows = []
    for name, config in (("hardware-aware", aware), ("pulsed", pulsed)):
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(options.seed)
            training, test = digits(options.size)
            loader = DataLoader(training, batch_size=20, shuffle=True)
            model = convert_to_analog(lenet5(options.size), config).to(dtype)
            optimizer = AnalogSGD(model.parameters(), lr=0.1)
            for _ in range(options.epochs):
                batches = ((images.to(dtype), labels) for images, labels in loader)
                train_epoch(model, optimizer, batches)
            images, labels = test.tensors
            right = accuracy(model.eval(), [(images.to(dtype), labels)])
            rows.append({"training": name, "type": str(dtype).removeprefix("torch."), "accuracy": right})
    print(format_table(rows))
    return {f"{row['training']} {row['type']}": row["accuracy"] for row in rows}


if __name__ == "__main__":
    main()
