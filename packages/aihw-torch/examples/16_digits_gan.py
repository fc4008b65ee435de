"""A generative adversarial network: an analog generator of digits, trained by mixed precision, and a digital judge.

Two optimizers share one graph: each model's step uses only what its own backward pass recorded, and `zero_grad` throws
away what the other one's pass left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from aihw_torch.experiments import command_line, digits, format_table
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD
from aihw_torch.presets import MixedPrecisionEcRamMOPreset

NOISE = 16


def draw(images: Tensor, path: Path) -> None:
    """Write a row of images."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.imsave(path, torch.cat(list(images.view(-1, 8, 8)), dim=1).numpy(), cmap="gray_r", vmin=0, vmax=1)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Train, print a table, draw some images, and return the rows."""
    options = command_line(__doc__, arguments, epochs=40, output=(Path("results"), "folder of the figure"))

    images, _ = digits(flat=True)[0].tensors
    generator = nn.Sequential(nn.Linear(NOISE, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Sigmoid())
    generator = convert_to_analog(generator, MixedPrecisionEcRamMOPreset())
    judge = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    write = AnalogSGD(generator.parameters(), lr=0.05)
    train = torch.optim.Adam(judge.parameters(), lr=0.001)
    loss = nn.functional.binary_cross_entropy_with_logits

    def distance() -> float:
        """Mean distance between the mean of made images and that of the real ones."""
        with torch.no_grad():
            return float((generator(torch.randn(500, NOISE)).mean(0) - images.mean(0)).abs().mean())

    rows = [{"epoch": -1, "judge": 0.0, "generator": 0.0, "mean image off by": distance()}]
    for epoch in range(options.epochs):
        for real in DataLoader(images, batch_size=20, shuffle=True):
            ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            fake = generator(torch.randn(len(real), NOISE))
            train.zero_grad()
            judged = loss(judge(real), ones) + loss(judge(fake.detach()), zeros)
            judged.backward()
            train.step()
            write.zero_grad()
            fooled = loss(judge(fake), ones)
            fooled.backward()
            write.step()
        if epoch % max(1, options.epochs // 8) == 0 or epoch == options.epochs - 1:
            losses = {"judge": judged.item(), "generator": fooled.item()}
            rows.append({"epoch": epoch, **losses, "mean image off by": distance()})
    print(format_table(rows))
    with torch.no_grad():
        made = generator(torch.randn(12, NOISE))
    draw(made, options.output / "16_digits_gan.png")
    print(f"images: {options.output / '16_digits_gan.png'}")
    return rows


if __name__ == "__main__":
    main()
