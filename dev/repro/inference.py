"""Two published effects of phase-change memory on inference: the error of a product, and accuracy over a year.

`nox -s repro -- inference` prints both and writes the figure of the documentation.

1. The relative error of a matrix-vector product with a 512 x 512 array at t = 1 s is 13 % (APL Machine Learning 2023;
   with 8-bit converters and output noise 13.8 %).
2. A LeNet for handwritten digits: digital, programmed directly, and trained hardware-aware before, with and without
   compensation of the drift, on 25 chips. At one month, compensated, hardware-aware training wins by more than three
   combined standard errors.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from aihw_torch.config import (
    InferenceRPUConfig,
    IOParameters,
    NoiseManagementType,
    WeightClipType,
    WeightModifierType,
)
from aihw_torch.inference import DriftTable, accuracy, calibrate, evaluate_over_time, inference_tiles
from aihw_torch.nn import AnalogLinear, convert_to_analog

TIMES = (1.0, 3600.0, 86400.0, 2592000.0, 31536000.0)  # 1 s, 1 h, 1 day, 1 month, 1 year
N_TRAIN = 1200  # of 1797 images; the rest is the test set


def converters() -> IOParameters:
    """8-bit DAC and ADC, output bound 10 and output noise 0.04."""
    return IOParameters(inp_res=1 / 254, out_res=1 / 254, out_bound=10.0, out_noise=0.04)


def inference_config() -> InferenceRPUConfig:
    """8-bit converters, weights mapped to the full range of each output, and PCM with global compensation."""
    config = InferenceRPUConfig(forward=converters())
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    return config


# ---- 1. the error of a product


def product_error(perfect: bool, seed: int = 0) -> float:
    """Mean over 1000 inputs of the relative L2 error of a 512 x 512 product at 1 s."""
    torch.manual_seed(seed)
    weight = torch.clamp(0.246 * torch.randn(512, 512), -1.0, 1.0)
    x = torch.randn(1000, 512) * (torch.rand(1000, 512).argsort(1) < 256)  # half of the inputs are zero
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True) if perfect else converters())
    layer = AnalogLinear(512, 512, False, config, seed=seed).eval()
    layer.set_weights(weight)
    layer.drift_analog_weights(1.0)
    exact = x @ weight.T
    with torch.no_grad():
        return float(((layer(x) - exact).norm(dim=1) / exact.norm(dim=1)).mean())


# ---- 2. accuracy over time


def digits() -> tuple[TensorDataset, list[tuple[Tensor, Tensor]]]:
    """Training images, and the test images as one batch; [n, 1, 8, 8] in 0..1."""
    from sklearn import datasets

    data = datasets.load_digits()
    images = torch.tensor(data.images / 16.0, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    return TensorDataset(images[train], labels[train]), [(images[test], labels[test])]


def lenet() -> nn.Sequential:
    """A LeNet for 8 x 8 images."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


def train(model: nn.Module, data: TensorDataset, *, epochs: int, lr: float, seed: int) -> nn.Module:
    """Train with Adam and a cosine schedule."""
    torch.manual_seed(seed)
    loader = DataLoader(data, batch_size=50, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def hardware_aware(digital: nn.Module, data: TensorDataset, *, epochs: int) -> nn.Module:
    """Train a converted copy further, with clipped weights, additive weight noise and learned input ranges."""
    config = inference_config()
    config.forward.noise_management = NoiseManagementType.NONE
    config.pre_post.input_range.enable = True
    config.clip.type, config.clip.sigma = WeightClipType.LAYER_GAUSSIAN, 2.0
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.15
    model = convert_to_analog(copy.deepcopy(digital), config)
    return train(model, data, epochs=epochs, lr=0.003, seed=2)


def without_compensation(model: nn.Module) -> nn.Module:
    """A copy whose outputs are not compensated for drift."""
    twin = copy.deepcopy(model)
    for _, tile in inference_tiles(twin):
        tile.reconfigure(drift_compensation=None)
    return twin


def drift_tables(chips: int, epochs: int) -> tuple[float, dict[str, DriftTable]]:
    """Accuracy of the digital network, and the tables of the programmed ones."""
    data, test = digits()
    digital = train(lenet(), data, epochs=epochs, lr=0.005, seed=1)
    direct = convert_to_analog(copy.deepcopy(digital), inference_config()).eval()
    calibrate(direct, [(data.tensors[0], None)])
    trained = hardware_aware(digital, data, epochs=2 * epochs)
    models = {
        "direct": without_compensation(direct),
        "direct, compensated": direct,
        "hardware-aware": without_compensation(trained),
        "hardware-aware, compensated": trained,
    }
    tables = {name: evaluate_over_time(model, test, TIMES, chips, seed=3) for name, model in models.items()}
    return accuracy(digital, test), tables


def draw(path: Path, digital: float, tables: dict[str, DriftTable]) -> None:
    """Write the figure."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "inference"  # the same file for the same numbers
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(6.4, 4.0), layout="constrained")
    ax = figure.add_subplot()
    ax.axhline(digital, color="black", linewidth=1, label="digital")
    for name, table in tables.items():
        color = "C0" if name.startswith("direct") else "C1"
        table.plot(ax, label=name, color=color, linestyle="-" if name.endswith("compensated") else ":", capsize=2)
    ax.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print everything, write the figure, and exit with an error if hardware-aware training does not win."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=25, help="number of chips (default: %(default)s)")
    parser.add_argument(
        "--epochs",
        type=int,
        default=40,
        help="of the digital training; twice as many hardware-aware (default: %(default)s)",
    )
    figure = Path(__file__).parents[2] / "docs" / "figures" / "drift_of_digits.svg"
    parser.add_argument("--figure", type=Path, default=figure, help="where to write the figure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # small matrices; and the numbers do not depend on the machine's threads
    start = time.perf_counter()
    for perfect, published in ((True, 0.133), (False, 0.138)):
        kind = "exact converters" if perfect else "8-bit converters, output noise 0.04"
        print(f"relative error of a 512 x 512 product at 1 s, {kind}: {product_error(perfect):.4f} ({published})")
    digital, tables = drift_tables(arguments.chips, arguments.epochs)
    print(f"\ndigital LeNet: accuracy {digital:.4f}")
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    draw(arguments.figure, digital, tables)
    direct, trained = tables["direct, compensated"], tables["hardware-aware, compensated"]
    month = TIMES.index(2592000.0)
    gain = trained.mean[month] - direct.mean[month]
    error = math.hypot(trained.standard_error[month], direct.standard_error[month])
    print(f"\none month, compensated: hardware-aware wins by {gain:.4f} = {gain / error:.1f} combined standard errors")
    print(f"{time.perf_counter() - start:.0f} s")
    if gain <= 3.0 * error:
        raise SystemExit("hardware-aware training does not win by three combined standard errors")


if __name__ == "__main__":
    main()
