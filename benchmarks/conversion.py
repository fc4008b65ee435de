"""Converting a ResNet-18 in place, in a fresh process: `python -m benchmarks.conversion CONFIG`; prints JSON.

Seconds of the clock given, those of a deep copy of the model beside it, and memory in bytes: what the digital model
takes, what the process holds after the conversion, and the most that it ever held.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import sys
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import ConstantStepDevice, InferenceRPUConfig, SingleRPUConfig, SoftBoundsDevice
from aihw_torch.nn import convert_to_analog
from benchmarks.footprint import forget_peak, memory
from benchmarks.interleave import CLOCKS

CONFIGS: dict[str, Any] = {
    "constant": lambda: SingleRPUConfig(device=ConstantStepDevice()),
    "soft": lambda: SingleRPUConfig(device=SoftBoundsDevice()),
    "inference": InferenceRPUConfig,
}
RUNS = 3


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al., doi:10.1109/CVPR.2016.90)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.norm2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18() -> nn.Sequential:
    """The network of 11.7 M weights, of which 11.68 M are in the 21 layers with a matrix."""
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = (64, 64, 128, 256, 512)
    blocks = [
        block
        for n_in, n_out in pairwise(widths)
        for block in (Block(n_in, n_out, 1 if n_in == n_out else 2), Block(n_out, n_out, 1))
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def measure(config: Any, clock: str) -> dict[str, float]:
    """Convert several times; the least times, because the machine may be busy."""
    now = CLOCKS[clock]
    convert_to_analog(nn.Linear(3, 3), config)  # the thread pool and the code pages count for no model
    copies, conversions = list[float](), list[float]()
    for run in range(1 + RUNS):
        gc.collect()
        empty, _ = memory()
        model: nn.Module = resnet18()
        if run == 0:
            before = memory()[0] - empty
            forget_peak()
        start = now()
        if run > 0:
            copy.deepcopy(model)
        middle = now()
        model = convert_to_analog(model, config, inplace=True)
        end = now()
        if run == 0:  # memory that was used and given back hides what a later run takes
            held, most = (bytes_ - empty for bytes_ in memory())
        else:
            copies.append(middle - start)
            conversions.append(end - middle)
        del model
    seconds = {"seconds": min(conversions), "copy": min(copies)}
    return {**seconds, "model": before, "held": held, "peak": most}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", choices=CONFIGS)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    json.dump(measure(CONFIGS[arguments.config](), arguments.clock), sys.stdout)


if __name__ == "__main__":
    main()
