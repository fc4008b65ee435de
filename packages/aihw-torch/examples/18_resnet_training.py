"""A small residual network is converted, trained with Tiki-Taka on coloured images, saved, and resumed.

A checkpoint holds plain tensors (`weights_only=True` loads it), and the resumed training has the bits of one that was
never interrupted. The images are synthetic stripes in the place of CIFAR-10, which would have to be downloaded.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from aihw_torch.experiments import command_line, format_table, resnet, textures, train_epoch
from aihw_torch.inference import accuracy
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD
from aihw_torch.presets import TikiTakaEcRamPreset


def main(arguments: Sequence[str] | None = None) -> tuple[float, bool]:
    """Train, save, resume; return the accuracy and whether the resumed run has the bits of the other one."""
    options = command_line(__doc__, arguments, epochs=6, samples=1000, width=(8, "channels of the first stage"))

    training, test = textures(options.samples, seed=0), textures(200, seed=1)
    loader = DataLoader(training, batch_size=20)
    model = convert_to_analog(resnet((1, 1), options.width), TikiTakaEcRamPreset())
    optimizer = AnalogSGD(model.parameters(), lr=0.2)
    rows = []
    for epoch in range(options.epochs - 1):
        loss = train_epoch(model, optimizer, loader)
        rows.append({"epoch": epoch, "last loss": loss, "accuracy": accuracy(model.eval(), DataLoader(test, 100))})

    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    twin = convert_to_analog(resnet((1, 1), options.width), TikiTakaEcRamPreset())
    resumed = AnalogSGD(twin.parameters(), lr=0.2)
    twin.load_state_dict(state["model"])
    resumed.load_state_dict(state["optimizer"])

    loss, again = train_epoch(model, optimizer, loader), train_epoch(twin, resumed, loader)
    rows.append(
        {"epoch": options.epochs - 1, "last loss": loss, "accuracy": accuracy(model.eval(), DataLoader(test, 100))}
    )
    print(format_table(rows))
    same = loss == again and all(
        torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True) if a.dim() > 1
    )
    print(f"resumed from the checkpoint: last loss {again:.4g}, the same bits: {same}")
    return float(rows[-1]["accuracy"]), same


if __name__ == "__main__":
    main()
