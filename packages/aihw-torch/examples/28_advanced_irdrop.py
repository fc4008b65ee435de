"""IR drop resolved in time: inputs are pulse durations, and the wire's resistance is felt while they last.

Three ways to send an input: one pass, two passes for the upper and lower bits, one pass per bit. The error is that of a
product with a full-size array against the exact one, without noise, so that only the wire and the bits remain.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aihw_torch.config import AnalogMVType, InferenceRPUConfig, IOParametersIRDropT, NoiseManagementType
from aihw_torch.experiments import command_line, format_table
from aihw_torch.nn import AnalogLinear


def relative_error(mode: AnalogMVType, resistance: float, size: int, seed: int) -> float:
    """Relative L2 error of products with one array."""
    torch.manual_seed(seed)
    forward = IOParametersIRDropT(
        mv_type=mode,
        ir_drop_rs=resistance,
        inp_res=254,  # 8 bits
        out_noise=0.0,
        out_res=-1.0,
        out_bound=0.0,
        noise_management=NoiseManagementType.ABS_MAX,
        adc_quantization=False,
    )
    layer = AnalogLinear(size, 32, bias=False, rpu_config=InferenceRPUConfig(forward=forward)).eval()
    weight, x = torch.empty(32, size).uniform_(-1.0, 1.0), torch.empty(20, size).uniform_(-1.0, 1.0)
    layer.set_weights(weight)
    exact = x @ weight.T
    with torch.no_grad():
        return float((layer(x) - exact).norm() / exact.norm())


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float | str]]:
    """Compute all of them, print a table, and return the rows."""
    options = command_line(
        __doc__,
        arguments,
        size=(256, "inputs of the array, a multiple of 8"),
        resistances=([0.0, 0.15, 0.5], "Ohm per cell"),
    )

    rows: list[dict[str, float | str]] = []
    for mode in (AnalogMVType.ONE_PASS, AnalogMVType.SPLIT_MODE, AnalogMVType.BIT_WISE):
        errors = {f"{r:g} Ohm": relative_error(mode, r, options.size, options.seed) for r in options.resistances}
        rows.append({"mode": mode.name, **errors})
    print(format_table(rows))
    return rows


if __name__ == "__main__":
    main()
