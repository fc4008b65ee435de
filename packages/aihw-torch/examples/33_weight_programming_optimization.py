"""A search for the best programming curves of a weight distribution, devices and times.

`WeightProgrammingOptimizer` looks for the curves that turn weights into conductances of two pairs of devices such that
the weights are right at given times (doi:10.1038/s41467-022-31405-1), and for the significance of the second pair; the
usual straight curves of one pair are to be beaten. The weights are random with the heavy tails of trained ones; those
of any layer can be passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import differential_evolution

from aihw_inference import GlobalDriftCompensation, PCMLikeNoiseModel, SinglePairConductanceConverter
from aihw_torch.config import InferenceRPUConfig
from aihw_torch.experiments import command_line, format_table
from aihw_torch.inference import WeightProgrammingOptimizer


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Search, print the curves, and return the losses of the usual curves and of those found."""
    options = command_line(
        __doc__, arguments, weights=4096, bins=(4, "nodes of a curve"), iterations=(20, "of differential evolution")
    )

    def minimize(objective: Callable[[np.ndarray], float], dimension: int, target: float) -> np.ndarray:
        bounds = [(0.0, 1.0)] * dimension
        found = differential_evolution(objective, bounds, maxiter=options.iterations, popsize=4, rng=options.seed)
        return found.x

    weights = torch.distributions.StudentT(5.0).sample((options.weights,)).clamp(-4.0, 4.0)
    baseline = SinglePairConductanceConverter(g_max=25.0)
    config = InferenceRPUConfig(
        noise_model=PCMLikeNoiseModel(g_converter=baseline), drift_compensation=GlobalDriftCompensation()
    )
    size = {"test_out_features": 8, "test_in_features": 64}
    optimizer = WeightProgrammingOptimizer(
        weights, [1.0, None], config, [1.0, 2592000.0], baseline, nbins=options.bins, minimize=minimize, **size
    )
    converter, success = optimizer.run_optimizer()
    result = optimizer.result
    places = np.linspace(-1.0, 1.0, len(converter.g_lst[0]))
    names = ("weight / largest", "g1+ (uS)", "g1- (uS)", "g2+ (uS)", "g2- (uS)")
    rows = [dict(zip(names, map(float, node), strict=True)) for node in zip(places, *converter.g_lst, strict=True)]
    print(format_table(rows))
    print(f"significance of the pairs: {converter.f_lst}; {result.evaluations} evaluations")
    print(f"loss {result.baseline_loss:.4g} -> {result.loss:.4g}, beats the usual curves by the margin: {success}")
    return result.baseline_loss, result.loss


if __name__ == "__main__":
    main()
