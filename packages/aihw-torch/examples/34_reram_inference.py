"""Products with a 64 x 64 array of conductive-metal-oxide ReRAM over time, with IR drop along its columns.

Two acceptance ranges of the programming loop: a tight one takes longer to program, and the error that it saves is soon
that of the relaxation (`ReRamCMONoiseModel`, arXiv:2502.04524).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aihw_inference import ReRamCMONoiseModel
from aihw_torch.config import InferenceRPUConfig, IOParameters
from aihw_torch.experiments import command_line, format_table
from aihw_torch.inference import drift_analog_weights
from aihw_torch.nn import AnalogLinear

TIMES = (1.0, 3600.0, 86400.0, 2592000.0, 31536000.0)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Program, print the relative error over time, and return the rows."""
    options = command_line(__doc__, arguments, chips=5, inputs=100)

    weight, x = torch.empty(64, 64).uniform_(-1.0, 1.0), torch.empty(options.inputs, 64).uniform_(-1.0, 1.0)
    exact = x @ weight.T
    forward = IOParameters(inp_res=62, out_res=254, out_bound=20.0, out_noise=0.02, ir_drop=1.0)
    rows = [{"t (s)": t} for t in TIMES]
    for acceptance in (0.002, 0.02):
        model = ReRamCMONoiseModel(acceptance_range=acceptance)
        config = InferenceRPUConfig(forward=forward, noise_model=model, drift_compensation=None)
        errors = torch.zeros(len(TIMES))
        for _ in range(options.chips):
            layer = AnalogLinear(64, 64, bias=False, rpu_config=config).eval()
            layer.set_weights(weight)
            for number, t in enumerate(TIMES):
                drift_analog_weights(layer, t)
                with torch.no_grad():
                    errors[number] += (layer(x) - exact).norm() / exact.norm() / options.chips
        for row, error in zip(rows, errors.tolist(), strict=True):
            row[f"accepted within {acceptance:.1%}"] = error
    print(format_table(rows))
    return rows


if __name__ == "__main__":
    main()
