"""Weight-programming optimisation with the arguments of the established toolkit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aihw_inference import (
    BaseConductanceConverter,
    CustomPairConductanceConverter,
    ProgrammingResult,
    optimize_programming,
)
from aihw_torch.config import InferenceRPUConfig

_CURVES = ("f_min", "f_max", "g_err")


class WeightProgrammingOptimizer:
    """Searches conductance curves for the weights, noise model and compensation of a configuration.

    `aihw_inference.optimize_programming` does the work and says what the options mean.

    Args:
        weights: trained weights of any shape.
        f_lst: significance factor of each pair of devices, None to optimise it.
        rpu_config: its noise model and compensation count; neither it nor they are changed.
        t_steps: seconds after programming at which the weights should be right.
        g_converter_baseline: converter to beat, whose conductance range is used.
        symmetric: the curves of negative weights mirror those of positive ones.
        **kwargs: nbins (6), f_min (0.1), f_max (5.0), g_err (0.0), use_max_kw (False), loss_margin (0.125),
            test_out_features (16), test_in_features (256), seed (100), minimize.

    Attributes:
        result: of the last run, with losses; None before.
    """

    def __init__(
        self,
        weights: Any,
        f_lst: Sequence[float | None],
        rpu_config: InferenceRPUConfig,
        t_steps: Sequence[float],
        g_converter_baseline: BaseConductanceConverter,
        symmetric: bool = True,
        **kwargs: Any,
    ) -> None:
        options = dict(kwargs)
        self._arguments: dict[str, Any] = {
            "weights": weights,
            "noise_model": rpu_config.noise_model,
            "t_steps": t_steps,
            "f_lst": f_lst,
            "baseline": g_converter_baseline,
            "compensation": rpu_config.drift_compensation,
            "symmetric": symmetric,
            "n_bins": options.pop("nbins", 6),
            "use_max": bool(options.pop("use_max_kw", False)),
            "loss_margin": options.pop("loss_margin", 0.125),
            "test_shape": (options.pop("test_out_features", 16), options.pop("test_in_features", 256)),
            "rng": options.pop("seed", 100),
            "minimize": options.pop("minimize", None),
            **{name: options.pop(name) for name in _CURVES if name in options},
        }
        if options:
            raise TypeError(f"WeightProgrammingOptimizer has no option {', '.join(sorted(options))}")
        self.result: ProgrammingResult | None = None

    def run_optimizer(self) -> tuple[CustomPairConductanceConverter, bool]:
        """Search; return the best converter and whether it beats the baseline by the margin."""
        self.result = optimize_programming(**self._arguments)
        return self.result.converter, self.result.success
