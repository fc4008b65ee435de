"""A search for the best programming curves of a weight distribution, devices and times.

`WeightProgrammingOptimizer` looks for the curves that turn weights into conductances of two devices such that the
weights are right at given times (doi:10.1038/s41467-022-31405-1). The weights are random with the heavy tails of trained
ones; those of any layer can be passed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from aihw_inference import GlobalDriftCompensation, PCMLikeNoiseModel, SinglePairConductanceConverter
from aihw_torch.config import InferenceRPUConfig
from aihw_torch.experiments import format_table
from aihw_torch.inference import WeightProgrammingOptimizer


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Search, print the curves, and return the losses of the usual curves and of those found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=4096)
    parser.add_argument("--bins", type=int, default=4, help="nodes of a curve")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    weights = torch.distributions.StudentT(5.0).sample((options.weights,)).clamp(-4.0, 4.0)
    baseline = SinglePairConductanceConverter(g_max=25.0)
    config = InferenceRPUConfig(
        noise_model=PCMLikeNoiseModel(g_converter=baseline), drift_compensation=GlobalDriftCompensation()
    )
    optimizer = WeightProgrammingOptimizer(
        weights, [1.0], config, [1.0, 86400.0, 2592000.0], baseline, nbins=options.bins, test_in_features=64
    )
    converter, success = optimizer.run_optimizer()
    result = optimizer.result
    plus, minus = converter.g_lst
    places = torch.linspace(-1.0, 1.0, len(plus)).tolist()
    rows = [
        {"weight / largest": w, "g+ (uS)": float(p), "g- (uS)": float(m)}
        for w, p, m in zip(places, plus, minus, strict=True)
    ]
    print(format_table(rows))
    print(f"loss {result.baseline_loss:.4g} -> {result.loss:.4g}, beats the usual curves by the margin: {success}")
    return result.baseline_loss, result.loss


if __name__ == "__main__":
    main()
